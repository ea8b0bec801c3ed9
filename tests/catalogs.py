"""Destinations in a local folder, changed as time, accidents and attackers change them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import apsw

from sqlitekeeper.destination.layout import manifest_object, parse_object, snapshot_object
from sqlitekeeper.destination.manifest import timestamp
from tests.conftest import REPOSITORY

# For `wrap_rclone(copy=...)`: uploads to a folder named dest fail, downloads from it do not.
REFUSES_WRITES = 'case "$to" in */dest/*) echo AccessDenied >&2; exit 1;; esac'


def newest(to: Path, name: str = "app") -> Path:
    """The newest snapshot of a database at a destination."""
    return max((to / name).glob("*.sqlite3"))


def manifest_beside(snapshot: Path) -> Path:
    """The manifest of a snapshot."""
    return Path(manifest_object(str(snapshot)))


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file in place."""
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value))


def set_back(to: Path, hours: float, name: str = "app", *, confirmed: bool = False) -> Path:
    """Make the newest snapshot older than it is, and its last confirmation unless `confirmed`."""
    snapshot = newest(to, name)
    known = parse_object(f"{name}/{snapshot.name}")
    assert known is not None
    taken_at = known.taken_at - timedelta(hours=hours)
    older = to / snapshot_object(name, taken_at)

    def change(manifest: dict[str, Any]) -> None:
        manifest["snapshot"]["object"] = snapshot_object(name, taken_at)
        manifest["taken_at"] = timestamp(taken_at)
        if "confirmed_at" in manifest and not confirmed:
            moment = datetime.fromisoformat(manifest["confirmed_at"]) - timedelta(hours=hours)
            manifest["confirmed_at"] = timestamp(moment)

    edit(manifest_beside(snapshot), change)
    edit(to / name / "latest.json", change)
    manifest_beside(snapshot).rename(manifest_beside(older))
    return snapshot.rename(older)


def flip_bit(file: Path, offset: int, bit: int = 0) -> None:
    """Change one bit of a file."""
    with file.open("r+b") as stream:
        stream.seek(offset)
        (byte,) = stream.read(1)
        stream.seek(offset)
        stream.write(bytes([byte ^ (1 << bit)]))


def ship_once(folder: Path, *names: str) -> Path:
    """Make databases of 40 rows in a folder, and ship them with `keeper backup` to its dest.

    `copied` gives each test its own.
    """
    for name in names:
        connection = apsw.Connection(str(folder / f"{name}.sqlite3"))
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)").fetchall()
        with connection:
            connection.executemany("INSERT INTO t (body) VALUES (randomblob(?))", [(900,)] * 40)
        connection.close()
    command = [sys.executable, "-m", "sqlitekeeper", "backup", "--to", "dest"]
    state = {"KEEPER_STATE": str(folder / "state"), "PYTHONPATH": str(REPOSITORY)}
    subprocess.run(
        [*command, *(f"./{name}.sqlite3" for name in names)],
        cwd=folder,
        env=os.environ | state,
        check=True,
        capture_output=True,
    )
    return folder


def copied(folder: Path, target: Path) -> Path:
    """A copy of what was shipped once, databases included, to do anything to; its destination."""
    for path in folder.glob("*.sqlite3"):
        shutil.copy(path, target)
    shutil.copytree(folder / "dest", target / "dest")
    return target / "dest"
