"""keeper's own database: a sample of each database's size for every run, and what was shipped.

Trouble with it never stops the work: a command goes on without its memory and
says so.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import apsw

from sqlitekeeper.database.measure import Measurement
from sqlitekeeper.errors import BusyError, KeeperError
from sqlitekeeper.events import Level, Listener, Note
from sqlitekeeper.state.history_file import HistoryFile, immediately, path_key
from sqlitekeeper.state.thinning import DAY_MS, thin

if TYPE_CHECKING:
    from sqlitekeeper.destination.drill_records import DrillRecord
    from sqlitekeeper.destination.manifest import Manifest

THIN_EVERY_MS = DAY_MS
# The newest samples come back whole, so that what happened run by run can be seen.
NEWEST = 24


def remembered_drills(state: Path, to: str, on_event: Listener) -> "dict[str, DrillRecord]":
    """Drills that only this host knows of; trouble with its memory is told, and no more."""
    try:
        return History(state).drills(to)
    except (KeeperError, OSError, ValueError) as error:
        on_event(Note("", f"no history: {error}", Level.WARNING))
        return {}


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """An earlier measurement; `at` is ISO 8601 UTC, sizes in bytes."""

    at: str
    bytes: int
    free_bytes: int
    wal_bytes: int

    @property
    def seconds(self) -> float:
        """The time as seconds since 1970."""
        return datetime.fromisoformat(self.at).timestamp()


class Sizes(NamedTuple):
    """What is remembered of a measurement, in bytes: the file, its free pages, its WAL."""

    bytes: int
    reclaimable_bytes: int
    wal_bytes: int


@dataclass(frozen=True, slots=True)
class Shipment:
    """The newest snapshot of a database that a destination was seen to hold."""

    destination: str
    database: str
    object: str
    manifest: "Manifest"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a database's file looked like when a snapshot with this sha256 was taken of it."""

    path: Path
    fingerprint: str
    sha256: str


class History(HistoryFile):
    """What keeper remembers: sizes, shipments, drills."""

    def add_samples(
        self, measured: Sequence[tuple[Path, Measurement | Sizes | None]], now: datetime
    ) -> None:
        """Remember the sizes of some databases at `now`; once a day, thin the older ones.

        None stands for the sizes that were remembered last.

        Raises:
            KeeperError: the history cannot be written.
        """
        now_ms = _milliseconds(now)
        rows = [
            (now_ms, m.bytes, m.reclaimable_bytes, m.wal_bytes, path_key(path))
            for path, m in measured
            if m
        ]
        untouched = [(now_ms, path_key(path)) for path, m in measured if not m]
        with self.open() as connection, immediately(connection):
            connection.executemany(
                "INSERT OR IGNORE INTO watched (path) VALUES (?)", ((row[-1],) for row in rows)
            )
            connection.executemany(
                "INSERT OR REPLACE INTO sample SELECT id, ?, ?, ?, ? FROM watched WHERE path = ?",
                rows,
            )
            connection.executemany(
                "INSERT OR REPLACE INTO sample SELECT database, ?, bytes, free_bytes, wal_bytes"
                " FROM sample JOIN watched ON id = database WHERE path = ?"
                " ORDER BY at DESC LIMIT 1",
                untouched,
            )
            thinned = self._thin(connection, now_ms)
        if thinned:
            # Late: it takes a while to import, and this is once a day.
            from sqlitekeeper.database.maintain.vacuum import VacuumOptions, vacuum

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
        with self.open() as connection:
            return {path: _points(connection, path_key(path), since_ms, most) for path in paths}

    def add_shipments(self, shipments: Iterable[Shipment], seen: Iterable[Seen] = ()) -> None:
        """Remember what destinations were seen to hold, and the files that it was taken of.

        Raises:
            KeeperError: the history cannot be written.
        """
        with self.open() as connection, immediately(connection):
            connection.executemany(
                "INSERT OR REPLACE INTO shipment VALUES (?, ?, ?, ?)",
                (
                    (s.destination, s.database, s.object, json.dumps(s.manifest.raw))
                    for s in shipments
                ),
            )
            connection.executemany(
                "INSERT OR REPLACE INTO seen VALUES (?, ?, ?)",
                ((path_key(one.path), one.fingerprint, one.sha256) for one in seen),
            )

    def shipments(
        self, databases: Collection[str] | None = None
    ) -> dict[tuple[str, str], Shipment]:
        """The newest shipment for each pair of destination and database name, or of some names.

        Raises:
            KeeperError: the history cannot be read.
        """
        # Late: most users of the history do not need it.
        from sqlitekeeper.destination.manifest import Manifest, ManifestError

        if not self.path.exists():
            return {}
        names = None if databases is None else json.dumps(list(databases))
        with self.open() as connection:
            rows = connection.execute(
                "SELECT destination, database, object, manifest FROM shipment"
                " WHERE :names IS NULL OR database IN (SELECT value FROM json_each(:names))",
                {"names": names},
            ).fetchall()
        shipments = []
        for to, database, name, text in rows:
            # Of what cannot be read nothing is known: it is shipped again.
            with suppress(ManifestError):
                manifest = Manifest.from_json(str(text).encode(), "a shipment")
                shipments.append(Shipment(str(to), str(database), str(name), manifest))
        found = {(one.destination, one.database): one for one in shipments}
        # What was shipped to "b2:bucket/" lies at "b2:bucket", as that is called now.
        for one in shipments:
            if one.destination.endswith("/") and not one.destination.endswith(":/"):
                to = one.destination.removesuffix("/")
                found.setdefault((to, one.database), replace(one, destination=to))
        return found

    def seen(self, paths: Iterable[Path]) -> dict[Path, Seen]:
        """What some databases' files looked like when their last snapshots were taken.

        Raises:
            KeeperError: the history cannot be read.
        """
        if not self.path.exists():
            return {}
        with self.open() as connection:
            rows = connection.execute("SELECT path, fingerprint, sha256 FROM seen").fetchall()
        known = {path: (str(text), str(sha256)) for path, text, sha256 in rows}
        keys = ((path, path_key(path)) for path in paths)
        return {path: Seen(path, *known[key]) for path, key in keys if key in known}

    def add_drills(
        self, destination: str, drills: "Sequence[DrillRecord]", present: Collection[str]
    ) -> None:
        """Remember drills whose records a destination did not take.

        `present` are the objects that it has: what is known of others is forgotten.

        Raises:
            KeeperError: the history cannot be written.
        """
        with self.open() as connection, immediately(connection):
            known = connection.execute(
                "SELECT object FROM drill WHERE destination = ?", (destination,)
            ).fetchall()
            connection.executemany(
                "DELETE FROM drill WHERE destination = ? AND object = ?",
                ((destination, name) for (name,) in known if name not in present),
            )
            connection.executemany(
                "INSERT OR REPLACE INTO drill VALUES (?, ?, ?, ?)",
                ((destination, d.object, d.at.isoformat(), d.outcome) for d in drills if d.at),
            )

    def drills(self, destination: str) -> "dict[str, DrillRecord]":
        """The drills whose records a destination did not take, by object.

        Raises:
            KeeperError: the history cannot be read.
        """
        # Late: it loads what runs rclone, which most users of the history do not need.
        from sqlitekeeper.destination.drill_records import DrillRecord

        if not self.path.exists():
            return {}
        with self.open() as connection:
            # "b2:bucket" was called "b2:bucket/" by some; what is known under the name of now wins.
            rows = connection.execute(
                "SELECT object, at, outcome FROM drill WHERE destination IN (?, ?)"
                " ORDER BY destination DESC",
                (destination, f"{destination}/"),
            ).fetchall()
        return {
            str(name): DrillRecord(str(name), datetime.fromisoformat(str(at)), _outcome(outcome))
            for name, at, outcome in rows
        }


def _outcome(value: object) -> Literal["proven", "failed"]:
    return "proven" if value == "proven" else "failed"


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
