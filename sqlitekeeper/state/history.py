"""keeper's own database: a sample of each database's size for every run, and what was shipped.

Trouble with it never stops the work: a command goes on without its memory and
says so.
"""

import json
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import apsw

from sqlitekeeper.database.connection import open_database, pragma_int, scalar, sqlite_errors
from sqlitekeeper.database.create import create_database
from sqlitekeeper.database.files import SIDECARS, sidecar
from sqlitekeeper.database.measure import Measurement
from sqlitekeeper.database.vacuum import VacuumOptions, vacuum
from sqlitekeeper.errors import BusyError, CheckError, KeeperError, NotADatabaseError
from sqlitekeeper.state.folder import prepare_state_folder
from sqlitekeeper.state.report import HistoryPoint
from sqlitekeeper.state.thinning import DAY_MS, thin

FORMAT = 1
# Times are milliseconds since 1970: as text, with the path in each row, ten years took 10 MB.
SCHEMA = """
CREATE TABLE IF NOT EXISTS watched (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE IF NOT EXISTS sample (
    database INTEGER NOT NULL,
    at INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    free_bytes INTEGER NOT NULL,
    wal_bytes INTEGER NOT NULL,
    PRIMARY KEY (database, at)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS thinned (
    at INTEGER NOT NULL
) STRICT;
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
THIN_EVERY_MS = DAY_MS
# The newest samples come back whole, so that what happened run by run can be seen.
NEWEST = 24


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


class SetAsideError(KeeperError):
    """The history was damaged and lies under another name now; the next use starts a new one."""


class _UnusableError(Exception):
    """What is there is an SQLite database, but not keeper's history."""


class History:
    """keeper's own database in the state folder, made the first time it is needed.

    A damaged one is set aside under a timestamped name, and that is raised once;
    one that a newer keeper wrote is left alone.
    """

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
        inode = self.path.stat().st_ino
        try:
            with sqlite_errors(self.path), open_database(self.path, write=True) as connection:
                try:
                    self._bring_up_to_date(connection)
                    yield connection
                except apsw.SQLError as error:
                    raise _UnusableError(str(error)) from None
        except (NotADatabaseError, CheckError) as error:
            raise self._set_aside(error.message, inode) from None
        except _UnusableError as error:
            reason = f"{self.path}: is not keeper's history ({error})"
            raise self._set_aside(reason, inode) from None

    def _bring_up_to_date(self, connection: apsw.Connection) -> None:
        if pragma_int(connection, "user_version") == FORMAT:
            return
        with immediately(connection):
            version = pragma_int(connection, "user_version")
            if version > FORMAT:
                raise KeeperError(
                    f"{self.path}: written by a newer keeper (format {version})",
                    hint="upgrade keeper, or move the file away to start a new history",
                )
            if scalar(connection, "SELECT count(*) FROM sqlite_schema"):
                raise _UnusableError("it holds other tables")
            connection.execute(SCHEMA).fetchall()
            connection.pragma("user_version", FORMAT)

    def _set_aside(self, reason: str, inode: int) -> KeeperError:
        """Move the damaged file away with its sidecars, unless another run has done so."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        aside = self.path.with_name(f"{self.path.name}.damaged-{stamp}")
        try:
            if self.path.stat().st_ino == inode:
                for suffix in (*SIDECARS, ""):
                    if (self.path.parent / f"{self.path.name}{suffix}").exists():
                        Path(f"{self.path}{suffix}").rename(f"{aside}{suffix}")
        except OSError as error:
            return KeeperError(f"{reason}; it could not be set aside: {error.strerror}")
        return SetAsideError(f"{reason}; set aside as {aside.name}")

    def add_samples(self, measured: Sequence[tuple[Path, Measurement]], now: datetime) -> None:
        """Remember the sizes of some databases at `now`; once a day, thin the older ones.

        Raises:
            KeeperError: the history cannot be written.
        """
        now_ms = _milliseconds(now)
        rows = [
            (now_ms, m.bytes, m.reclaimable_bytes, m.wal_bytes, _key(path)) for path, m in measured
        ]
        with self._open() as connection, immediately(connection):
            connection.executemany(
                "INSERT OR IGNORE INTO watched (path) VALUES (?)", ((row[-1],) for row in rows)
            )
            connection.executemany(
                "INSERT OR REPLACE INTO sample SELECT id, ?, ?, ?, ? FROM watched WHERE path = ?",
                rows,
            )
            thinned = self._thin(connection, now_ms)
        if thinned:
            # What was freed is worth having, but not worth a warning when somebody else reads.
            with suppress(BusyError):
                vacuum(self.path, VacuumOptions(pages=0))

    def _thin(self, connection: apsw.Connection, now_ms: int) -> bool:
        thinned_ms = connection.execute("SELECT max(at) FROM thinned").get or 0
        if 0 <= now_ms - thinned_ms < THIN_EVERY_MS:
            return False
        thin(connection, now_ms, thinned_ms)
        connection.execute("DELETE FROM thinned").fetchall()
        connection.execute("INSERT INTO thinned VALUES (?)", (now_ms,)).fetchall()
        return True

    def points(
        self, paths: Sequence[Path], *, since: datetime | None = None, most: int = 300
    ) -> dict[Path, tuple[HistoryPoint, ...]]:
        """What was measured of some databases before, oldest first.

        About `most` of each at the most: of more, the newest, and of the others
        the last of each of equal spans of time.

        Raises:
            KeeperError: the history cannot be read.
        """
        if not self.path.exists():
            return {}
        since_ms = _milliseconds(since) if since else 0
        with self._open() as connection:
            return {path: _points(connection, _key(path), since_ms, most) for path in paths}

    def add_shipments(self, shipments: list[Shipment]) -> None:
        """Remember what destinations were seen to hold.

        Raises:
            KeeperError: the history cannot be written.
        """
        with self._open() as connection, immediately(connection):
            connection.executemany(
                "INSERT OR REPLACE INTO shipment VALUES (?, ?, ?, ?)",
                ((s.destination, s.database, s.object, json.dumps(s.manifest)) for s in shipments),
            )

    def token(self) -> tuple[tuple[int, int], ...]:
        """What changes whenever somebody writes to the history."""
        found = []
        for suffix in ("", "-wal"):
            with suppress(OSError):
                facts = sidecar(self.path, suffix).stat()
                found.append((facts.st_size, facts.st_mtime_ns))
        return tuple(found)

    def shipments(self) -> dict[tuple[str, str], Shipment]:
        """The newest shipment for each pair of destination and database name."""
        if not self.path.exists():
            return {}
        with self._open() as connection:
            rows = connection.execute(
                "SELECT destination, database, object, manifest FROM shipment"
            ).fetchall()
            try:
                shipments = [
                    Shipment(str(to), str(db), str(o), json.loads(str(m))) for to, db, o, m in rows
                ]
            except ValueError as error:
                raise _UnusableError(f"a shipment: {error}") from None
        return {(one.destination, one.database): one for one in shipments}

    def add_drills(
        self, destination: str, drills: Sequence[DrillRecord], present: Collection[str]
    ) -> None:
        """Remember drills whose marks a destination did not take.

        `present` are the objects that it has: what is known of others is forgotten.

        Raises:
            KeeperError: the history cannot be written.
        """
        with self._open() as connection, immediately(connection):
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


@contextmanager
def immediately(connection: apsw.Connection) -> Iterator[None]:
    """A write transaction from its start, so that no second run comes in between."""
    connection.execute("BEGIN IMMEDIATE").fetchall()
    try:
        yield
        connection.execute("COMMIT").fetchall()
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK").fetchall()
        raise


def _outcome(value: object) -> Literal["proven", "failed"]:
    return "proven" if value == "proven" else "failed"


def _key(path: Path) -> str:
    """A database's name in the history: its real path, as text that SQLite takes."""
    return os.fsencode(os.path.realpath(path)).decode("utf-8", "backslashreplace")


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _points(
    connection: apsw.Connection, key: str, since_ms: int, most: int
) -> tuple[HistoryPoint, ...]:
    wanted = (
        "FROM sample WHERE database = (SELECT id FROM watched WHERE path = :path) AND at >= :since"
    )
    values = {"path": key, "since": since_ms}
    found: Any = connection.execute(f"SELECT count(*), min(at), max(at) {wanted}", values).get
    count, first, last = found
    columns = "at, bytes, free_bytes, wal_bytes"
    if count <= most:
        rows: Any = connection.execute(f"SELECT {columns} {wanted} ORDER BY at", values).fetchall()
    else:
        recent = connection.execute(
            f"SELECT at {wanted} ORDER BY at DESC LIMIT 1 OFFSET {NEWEST - 1}", values
        ).get
        span = (last - first) // max(1, most - NEWEST) + 1
        # max(at) in a query makes SQLite take the other columns from that row.
        rows = connection.execute(
            f"SELECT max(at), bytes, free_bytes, wal_bytes {wanted}"
            " GROUP BY CASE WHEN at >= :recent THEN -at ELSE at / :span END ORDER BY 1",
            values | {"recent": recent, "span": span},
        ).fetchall()
    return tuple(HistoryPoint(_iso(at), *sizes) for at, *sizes in rows)


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
