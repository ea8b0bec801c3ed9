"""The snapshots of a destination, from its listing alone."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from sqlitekeeper.destination.layout import (
    TOKEN_LENGTH,
    ObjectName,
    is_database_name,
    latest_object,
    parse_object,
)
from sqlitekeeper.rclone.listing import RemoteObject

_OLD = len("-20261123T030000Z.sqlite3")
_REST = {_OLD, _OLD + len("-") + TOKEN_LENGTH}
DrillOutcome = Literal["proven", "failed"]
# What there is of snapshots, by the time and path of each, then by kind.
_Kinds = dict[tuple[datetime, str], dict[str, RemoteObject]]


def newest_snapshots(paths: Iterable[str]) -> dict[str, ObjectName]:
    """The newest snapshot of each database in a listing.

    Only one path of each is read closely, for the sake of listings of 100,000.
    """
    newest: dict[str, str] = {}
    for path in paths:
        name, _, file = path.partition("/")
        like = file.startswith(f"{name}-2") and file.endswith(".sqlite3")
        if like and len(file) - len(name) in _REST and path > newest.get(name, ""):
            newest[name] = path
    parsed = {name: parse_object(path) for name, path in newest.items()}
    return {name: found for name, found in parsed.items() if found}


@dataclass(frozen=True, slots=True)
class Subject:
    """A database as a destination knows it; `path` is None where nothing here says where it is."""

    name: str
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot with its manifest; `drill_outcome` is what the last drill of it left.

    `metadata` are the objects beside it: its manifest, then the drill records.
    """

    database: str
    to: str
    object: str
    taken_at: datetime
    bytes: int
    drill_outcome: DrillOutcome | None = None
    metadata: tuple[RemoteObject, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class DatabaseCatalog:
    """What a destination holds of one database; snapshots newest first, those of one
    second by name.

    `orphans` are objects of keeper's naming without a counterpart: a snapshot
    whose manifest never came, a manifest or drill record whose snapshot is gone, or what
    rclone had of either when it was killed.
    """

    database: str
    snapshots: tuple[Snapshot, ...]
    orphans: tuple[RemoteObject, ...]
    latest: RemoteObject | None

    @property
    def newest(self) -> Snapshot | None:
        """The youngest snapshot, or None."""
        return self.snapshots[0] if self.snapshots else None

    @property
    def newest_metadata(self) -> tuple[RemoteObject, ...]:
        """What tells of the youngest snapshot: its own manifest, and latest.json."""
        own = self.newest.metadata[:1] if self.newest else ()
        return (*own, self.latest) if self.latest else own


def read_catalog(to: str, objects: Iterable[RemoteObject]) -> dict[str, DatabaseCatalog]:
    """Sort the listing of a destination by database; objects of others are left out."""
    found: dict[str, _Kinds] = defaultdict(dict)
    latest: dict[str, RemoteObject] = {}
    for item in objects:
        name = parse_object(item.path)
        if name is not None:
            found[name.database].setdefault((name.taken_at, name.snapshot), {})[name.kind] = item
        else:
            folder, _, _ = item.path.partition("/")
            if item.path == latest_object(folder) and is_database_name(folder):
                latest[folder] = item
    return {
        database: _catalog(to, database, found.get(database, {}), latest.get(database))
        for database in sorted(found.keys() | latest.keys())
    }


def _catalog(
    to: str,
    database: str,
    by_snapshot: _Kinds,
    latest: RemoteObject | None,
) -> DatabaseCatalog:
    snapshots: list[Snapshot] = []
    orphans: list[RemoteObject] = []
    for taken_at, path in sorted(by_snapshot, reverse=True):
        kinds = by_snapshot[taken_at, path]
        if "sqlite3" in kinds and "json" in kinds:
            item = kinds["sqlite3"]
            drill_outcome: DrillOutcome | None = (
                "failed" if "failed.json" in kinds else "proven" if "proven.json" in kinds else None
            )
            metadata = tuple(
                kinds[kind] for kind in ("json", "proven.json", "failed.json") if kind in kinds
            )
            snapshots.append(
                Snapshot(database, to, path, taken_at, item.bytes, drill_outcome, metadata)
            )
            orphans += (kinds[kind] for kind in kinds if kind.endswith(".partial"))
        else:
            orphans += kinds.values()
    return DatabaseCatalog(database, tuple(snapshots), tuple(orphans), latest)
