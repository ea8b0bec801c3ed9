"""keeper's own database: a sample of each database's size for every run, and what was shipped.

Trouble with it never stops the work: a command goes on without its memory and
says so.
"""

import json
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import apsw

from sqlitekeeper.database.connection import open_database, pragma_int, sqlite_errors
from sqlitekeeper.database.create import create_database
from sqlitekeeper.database.measure import Measurement
from sqlitekeeper.errors import KeeperError
from sqlitekeeper.state.folder import prepare_state_folder
from sqlitekeeper.state.report import HistoryPoint

FORMAT = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS sample (
    path TEXT NOT NULL,
    at TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    free_bytes INTEGER NOT NULL,
    wal_bytes INTEGER NOT NULL,
    PRIMARY KEY (path, at)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shipment (
    destination TEXT NOT NULL,
    database TEXT NOT NULL,
    object TEXT NOT NULL,
    manifest TEXT NOT NULL,
    PRIMARY KEY (destination, database)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS drill (
    destination TEXT NOT NULL,
    object TEXT NOT NULL,
    at TEXT NOT NULL,
    outcome TEXT NOT NULL,
    PRIMARY KEY (destination, object)
) STRICT, WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Shipment:
    """The newest snapshot of a database that a destination was seen to hold."""

    destination: str
    database: str
    object: str
    manifest: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DrillRecord:
    """The last drill of a snapshot at a destination that does not take marks."""

    object: str
    at: datetime
    outcome: Literal["proven", "failed"]


class History:
    """keeper's own database in the state folder, made the first time it is needed."""

    def __init__(self, state: Path) -> None:
        self.path = state / "history.sqlite3"

    @contextmanager
    def _open(self) -> Iterator[apsw.Connection]:
        prepare_state_folder(self.path.parent)
        if not self.path.exists():
            # A second run may make it at the same time; either is fine.
            previous = os.umask(0o077)
            try:
                create_database(self.path, exist_ok=True)
            finally:
                os.umask(previous)
        with sqlite_errors(self.path), open_database(self.path, write=True) as connection:
            version = pragma_int(connection, "user_version")
            if version > FORMAT:
                raise KeeperError(
                    f"{self.path}: written by a newer keeper (format {version})",
                    hint="upgrade keeper, or move the file away to start a new history",
                )
            if version < FORMAT:
                with connection:
                    connection.execute(SCHEMA).fetchall()
                    connection.pragma("user_version", FORMAT)
            yield connection

    def add_samples(self, measured: Sequence[tuple[Path, Measurement]], now: datetime) -> None:
        """Remember the sizes of some databases at `now`.

        Raises:
            KeeperError: the history cannot be written.
        """
        at = now.isoformat(timespec="milliseconds")
        rows = [
            (os.path.realpath(path), at, m.bytes, m.reclaimable_bytes, m.wal_bytes)
            for path, m in measured
        ]
        with self._open() as connection, connection:
            connection.executemany("INSERT OR REPLACE INTO sample VALUES (?, ?, ?, ?, ?)", rows)

    def points(self, paths: list[Path]) -> dict[Path, tuple[HistoryPoint, ...]]:
        """What was measured of some databases before, oldest first.

        Raises:
            KeeperError: the history cannot be read.
        """
        if not self.path.exists():
            return {}
        query = "SELECT at, bytes, free_bytes, wal_bytes FROM sample WHERE path = ? ORDER BY at"
        with self._open() as connection:
            return {
                path: tuple(
                    HistoryPoint(str(at), _int(size), _int(free), _int(wal))
                    for at, size, free, wal in connection.execute(query, (os.path.realpath(path),))
                )
                for path in paths
            }

    def add_shipments(self, shipments: list[Shipment]) -> None:
        """Remember what destinations were seen to hold.

        Raises:
            KeeperError: the history cannot be written.
        """
        with self._open() as connection, connection:
            connection.executemany(
                "INSERT OR REPLACE INTO shipment VALUES (?, ?, ?, ?)",
                ((s.destination, s.database, s.object, json.dumps(s.manifest)) for s in shipments),
            )

    def shipments(self) -> dict[tuple[str, str], Shipment]:
        """The newest shipment for each pair of destination and database name."""
        if not self.path.exists():
            return {}
        with self._open() as connection:
            rows = connection.execute(
                "SELECT destination, database, object, manifest FROM shipment"
            ).fetchall()
        shipments = (
            Shipment(str(to), str(db), str(o), json.loads(str(m))) for to, db, o, m in rows
        )
        return {(one.destination, one.database): one for one in shipments}

    def add_drills(
        self, destination: str, drills: Sequence[DrillRecord], present: Collection[str]
    ) -> None:
        """Remember drills whose marks a destination did not take.

        `present` are the objects that it has: what is known of others is forgotten.

        Raises:
            KeeperError: the history cannot be written.
        """
        with self._open() as connection, connection:
            known = connection.execute(
                "SELECT object FROM drill WHERE destination = ?", (destination,)
            ).fetchall()
            connection.executemany(
                "DELETE FROM drill WHERE destination = ? AND object = ?",
                ((destination, name) for (name,) in known if name not in present),
            )
            connection.executemany(
                "INSERT OR REPLACE INTO drill VALUES (?, ?, ?, ?)",
                ((destination, d.object, d.at.isoformat(), d.outcome) for d in drills),
            )

    def drills(self, destination: str) -> dict[str, DrillRecord]:
        """The drills whose marks a destination did not take, by object.

        Raises:
            KeeperError: the history cannot be read.
        """
        if not self.path.exists():
            return {}
        with self._open() as connection:
            rows = connection.execute(
                "SELECT object, at, outcome FROM drill WHERE destination = ?", (destination,)
            ).fetchall()
        return {
            str(name): DrillRecord(str(name), datetime.fromisoformat(str(at)), _outcome(outcome))
            for name, at, outcome in rows
        }


def _outcome(value: object) -> Literal["proven", "failed"]:
    return "proven" if value == "proven" else "failed"


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise KeeperError(f"the history holds {value!r} where a size belongs")
    return value
