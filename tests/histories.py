"""Destinations that have been shipped to for a long time: real snapshots under other times."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import apsw

from sqlitekeeper.database.check import check_snapshot
from sqlitekeeper.database.snapshot.snapshot import take_snapshot
from sqlitekeeper.destination.layout import (
    drill_record_object,
    latest_object,
    manifest_object,
    snapshot_object,
)
from sqlitekeeper.destination.manifest import Versions, build_manifest, encode, timestamp
from sqlitekeeper.filesystem.checksum import sha256_of
from sqlitekeeper.state.thinning import RULES

NOW = datetime.now(UTC).replace(microsecond=0)


def days_ago(days: float) -> datetime:
    """A time before the tests began."""
    return NOW - timedelta(days=days)


@cache
def _real_snapshot() -> tuple[Path, dict[str, Any]]:
    """A snapshot of ten rows as keeper makes it, and its manifest."""
    folder = Path(mkdtemp(prefix="keeper-tests-"))
    source, file = folder / "source.sqlite3", folder / "snapshot.sqlite3"
    connection = apsw.Connection(str(source))
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)").fetchall()
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10)"
        " INSERT INTO t (body) SELECT randomblob(90) FROM n"
    ).fetchall()
    connection.close()
    taken = take_snapshot(source, file, lambda event: None, "source")
    checked = check_snapshot(file, sha256_of(file), "integrity")
    versions = Versions("0", "3", "v1")
    key = snapshot_object("source", NOW)
    return file, build_manifest("source", "host", NOW, taken, key, checked, versions).raw


def add_history(
    to: Path, database: str, times: Iterable[datetime], *, latest: dict[str, Any] | None = None
) -> list[str]:
    """Put snapshots with their manifests into a folder, and latest.json; their objects, as given.

    `latest` has keys to add to the newest manifest and to latest.json.
    """
    file, manifest = _real_snapshot()
    taken = list(times)
    objects = []
    for at in taken:
        key = snapshot_object(database, at)
        (to / key).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, to / key)
        own = manifest | {"database": database, "taken_at": timestamp(at)}
        own["snapshot"] = manifest["snapshot"] | {"object": key}
        # Of which file it was is left open: any database of that name may have been it.
        own["source"] = {name: value for name, value in own["source"].items() if name != "path"}
        if at == max(taken):
            own |= latest or {}
            confirmed = own | {"confirmed_at": timestamp(at)}
            (to / latest_object(database)).write_bytes(encode(confirmed))
        (to / manifest_object(key)).write_bytes(encode(own))
        objects.append(key)
    return objects


def add_mark(to: Path, snapshot: str, mark: Any, at: datetime = NOW) -> str:
    """Leave the mark of a drill beside a snapshot."""
    path = drill_record_object(snapshot, mark)
    value = {"format": 1, "object": snapshot, "at": timestamp(at), "outcome": mark}
    (to / path).write_text(json.dumps(value))
    return path


def files_below(folder: Path) -> set[str]:
    """The paths of all files below a folder."""
    return {
        str((Path(parent) / name).relative_to(folder))
        for parent, _, names in os.walk(folder)
        for name in names
    }


def whole(objects: Iterable[str]) -> set[str]:
    """Snapshots with their manifests."""
    return {path for key in objects for path in (key, manifest_object(key))}


def put(folder: Path, to: str) -> None:
    """Copy a folder to a destination with rclone, so that a server that caches knows."""
    rclone = Path(sys.executable).with_name("rclone")
    subprocess.run([rclone, "copy", folder, to], check=True, capture_output=True)


def kept(times_ms: Iterable[int], now_ms: int) -> list[int]:
    """Those of the times (milliseconds since 1970) that the rules of thinning keep, sorted."""
    times = sorted(set(times_ms))
    for rule in RULES:
        horizon = rule.horizon(now_ms)
        last = {time // rule.period_ms: time for time in times if time < horizon}
        times = [*last.values(), *(time for time in times if time >= horizon)]
    return times
