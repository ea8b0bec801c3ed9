"""What a drill leaves at the destination: `.proven.json` or `.failed.json` beside the snapshot."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlitekeeper.backups.catalog import Mark, Snapshot
from sqlitekeeper.backups.manifest import timestamp
from sqlitekeeper.backups.rclone import RemoteObject
from sqlitekeeper.errors import KeeperError
from sqlitekeeper.events import Level, Listener, Note
from sqlitekeeper.state.history import DrillRecord, History

FORMAT = 1
KINDS: tuple[Mark, ...] = ("proven", "failed")
# Clocks of hosts differ; what claims to be from further ahead is not believed.
CLOCK_SKEW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Drilled:
    """The last drill of a snapshot; `at` is None where its mark cannot be read or believed."""

    object: str
    at: datetime | None
    outcome: Mark


def mark_text(snapshot: str, at: datetime, outcome: Mark, host: str, reason: str | None) -> bytes:
    """The mark of a drill as the bytes of a file."""
    value: dict[str, Any] = {
        "format": FORMAT,
        "object": snapshot,
        "at": timestamp(at),
        "host": host,
        "outcome": outcome,
        "reason": reason,
    }
    return (json.dumps(value, indent=2) + "\n").encode()


def marks_of(snapshots: Iterable[Snapshot]) -> list[RemoteObject]:
    """The marks that lie beside some snapshots."""
    return [paper for snapshot in snapshots for paper in snapshot.papers if _kind(paper)]


def last_drills(
    snapshots: Iterable[Snapshot],
    contents: Mapping[str, bytes],
    remembered: Mapping[str, DrillRecord],
    now: datetime,
) -> dict[str, Drilled]:
    """The last drill of each snapshot that has had one, by object.

    `contents` has the marks that were read, by path; `remembered` what only
    this host knows.
    """
    found = {}
    for snapshot in snapshots:
        last, own = last_drill(snapshot, contents, now), remembered.get(snapshot.object)
        marked_at = last.at if last else None
        if own and not is_ahead(own.at, now) and (marked_at is None or marked_at < own.at):
            last = Drilled(own.object, own.at, own.outcome)
        if last:
            found[snapshot.object] = last
    return found


def last_drill(snapshot: Snapshot, contents: Mapping[str, bytes], now: datetime) -> Drilled | None:
    """The last drill of a snapshot by its marks; `contents` has them, by path.

    Of two the younger one counts, and failed where one of them cannot be read.
    """
    found = []
    for paper in snapshot.papers:
        if kind := _kind(paper):
            at = _time_of(contents.get(paper.path, b""), snapshot.object, kind, now)
            found.append(Drilled(snapshot.object, at, kind))
    times = [one.at for one in found if one.at is not None]
    if len(times) < len(found):
        return min(found, key=lambda one: one.outcome)
    pairs = zip(times, found, strict=True)
    return max(pairs, key=lambda pair: (pair[0], pair[1].outcome == "failed"))[1] if found else None


def _kind(paper: RemoteObject) -> Mark | None:
    for kind in KINDS:
        if paper.path.endswith(f".{kind}.json"):
            return kind
    return None


def is_ahead(moment: datetime, now: datetime) -> bool:
    """Whether a time is further in the future than clocks differ."""
    return moment > now + CLOCK_SKEW


def _time_of(text: bytes, snapshot: str, kind: Mark, now: datetime) -> datetime | None:
    """When the drill was, as a mark that anyone may have written says it; None if it makes none."""
    try:
        value = json.loads(text)
        at = datetime.fromisoformat(value["at"])
        if value["format"] != FORMAT or value["object"] != snapshot or value["outcome"] != kind:
            return None
        moment = at.astimezone(UTC)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return None if at.tzinfo is None or is_ahead(moment, now) else moment


def remembered_drills(state: Path, to: str, listen: Listener) -> dict[str, DrillRecord]:
    """Drills that only this host knows of; trouble with its memory is told, and no more."""
    try:
        return History(state).drills(to)
    except (KeeperError, OSError, ValueError) as error:
        listen(Note("", f"no history: {error}", Level.WARNING))
        return {}
