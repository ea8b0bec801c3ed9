"""Drill records: `.proven.json` or `.failed.json` beside the snapshot."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlitekeeper.destination.catalog import DrillOutcome, Snapshot
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.layout import drill_record_object, is_ahead
from sqlitekeeper.destination.manifest import timestamp
from sqlitekeeper.destination.metadata import store_metadata
from sqlitekeeper.events import Level, Listener, Note, ignore
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.listing import RemoteObject

FORMAT = 1
KINDS: tuple[DrillOutcome, ...] = ("proven", "failed")


@dataclass(frozen=True, slots=True)
class DrillRecord:
    """What a drill found of a snapshot, and why it failed if it did.

    `at` is None where the record at the destination cannot be read or believed.
    """

    object: str
    at: datetime | None
    outcome: DrillOutcome
    reason: str | None = None

    @property
    def path(self) -> str:
        """The path of the record at the destination."""
        return drill_record_object(self.object, self.outcome)

    def text(self, host: str) -> bytes:
        """The record as the bytes of a file."""
        value: dict[str, Any] = {
            "format": FORMAT,
            "object": self.object,
            "at": timestamp(self.at) if self.at else None,
            "host": host,
            "outcome": self.outcome,
            "reason": self.reason,
        }
        return (json.dumps(value, indent=2) + "\n").encode()


def write_drill_records(
    rclone: Rclone,
    destination: Destination,
    records: Sequence[DrillRecord],
    host: str,
    on_event: Listener = ignore,
) -> list[DrillRecord]:
    """Upload drill records, in one rclone run, and delete what they contradict, in another.

    Returns those that the destination did not take; that, and what it does not
    delete, is told as a warning.
    """
    problems = store_metadata(rclone, destination, {one.path: one.text(host) for one in records})
    opposite = [
        path
        for one in records
        if one.path not in problems
        for path in (drill_record_object(one.object, kind) for kind in KINDS if kind != one.outcome)
        if destination.has(path)
    ]
    error = rclone.delete(destination.to, opposite).error if opposite else None
    if error:
        text = f"{destination.to}: records of earlier drills stay: {error.full_text}"
        on_event(Note("", text, Level.WARNING))
    if problems:
        said = "; ".join(dict.fromkeys(problems.values()))
        text = (
            f"{destination.to}: takes no drill records; only this host remembers the drill: {said}"
        )
        on_event(Note("", text, Level.WARNING))
    return [one for one in records if one.path in problems]


def drill_records_of(snapshots: Iterable[Snapshot]) -> list[RemoteObject]:
    """The drill records that lie beside some snapshots."""
    return [entry for snapshot in snapshots for entry in snapshot.metadata if _kind(entry)]


def last_drills(
    snapshots: Iterable[Snapshot],
    contents: Mapping[str, bytes],
    remembered: Mapping[str, DrillRecord],
    now: datetime,
) -> dict[str, DrillRecord]:
    """The last drill of each snapshot that has had one, by object.

    `contents` has the drill records that were read, by path; `remembered` what only
    this host knows.
    """
    found = {}
    for snapshot in snapshots:
        last, own = last_drill(snapshot, contents, now), remembered.get(snapshot.object)
        recorded_at = last.at if last else None
        at = own.at if own and own.at and not is_ahead(own.at, now) else None
        if at and (recorded_at is None or recorded_at < at):
            last = own
        if last:
            found[snapshot.object] = last
    return found


def last_drill(
    snapshot: Snapshot, contents: Mapping[str, bytes], now: datetime
) -> DrillRecord | None:
    """The last drill of a snapshot by its drill records; `contents` has them, by path.

    Of two the younger one counts, and failed where one of them cannot be read.
    """
    found = []
    for entry in snapshot.metadata:
        if kind := _kind(entry):
            at = _time_of(contents.get(entry.path, b""), snapshot.object, kind, now)
            found.append(DrillRecord(snapshot.object, at, kind))
    times = [one.at for one in found if one.at is not None]
    if len(times) < len(found):
        return min(found, key=lambda one: one.outcome)
    pairs = zip(times, found, strict=True)
    return max(pairs, key=lambda pair: (pair[0], pair[1].outcome == "failed"))[1] if found else None


def _kind(entry: RemoteObject) -> DrillOutcome | None:
    for kind in KINDS:
        if entry.path.endswith(f".{kind}.json"):
            return kind
    return None


def _time_of(text: bytes, snapshot: str, kind: DrillOutcome, now: datetime) -> datetime | None:
    """When the drill was, by a record that anyone may have written; None if that makes no sense."""
    try:
        value = json.loads(text)
        at = datetime.fromisoformat(value["at"])
        if value["format"] != FORMAT or value["object"] != snapshot or value["outcome"] != kind:
            return None
        moment = at.astimezone(UTC)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return None if at.tzinfo is None or is_ahead(moment, now) else moment
