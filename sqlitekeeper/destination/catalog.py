"""The snapshots of a destination, from its listing alone."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from sqlitekeeper.destination.layout import (
    SUFFIXES,
    TOKEN_LENGTH,
    ObjectName,
    encoding_of,
    is_database_name,
    latest_object,
    parse_object,
)
from sqlitekeeper.rclone.listing import RemoteObject

_STAMP = len("-20261123T030000Z")
_REST = {
    _STAMP + tokens * (len("-") + TOKEN_LENGTH) + len(suffix)
    for suffix in SUFFIXES.values()
    for tokens in range(3)
}
BASE_LACKS = "the base that it needs is gone, or failed its drill"
DrillOutcome = Literal["proven", "failed"]
# The objects of one snapshot, by kind; those of a database, by the snapshot's time and stem.
_Kinds = dict[str, RemoteObject]
_ByStem = dict[tuple[datetime, str], _Kinds]
_STORED = tuple(suffix.removeprefix(".") for suffix in SUFFIXES.values())


def newest_snapshots(paths: Iterable[str]) -> dict[str, ObjectName]:
    """The newest snapshot of each database in a listing.

    Only one path of each is read closely, for the sake of listings of 100,000.
    """
    newest: dict[str, str] = {}
    for path in paths:
        name, _, file = path.partition("/")
        like = file.startswith(f"{name}-2") and file.endswith(tuple(SUFFIXES.values()))
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

    `bytes` are those that are stored, `metadata` the objects beside it: its manifest, then the
    drill records. `is_whole` is not so of a delta whose base is gone or failed its drill.
    """

    database: str
    to: str
    object: str
    taken_at: datetime
    bytes: int
    drill_outcome: DrillOutcome | None = None
    metadata: tuple[RemoteObject, ...] = field(default=(), compare=False)
    is_whole: bool = field(default=True, compare=False)

    @property
    def encoding(self) -> str:
        """How it is stored: "plain", "zstd" or "delta"."""
        return encoding_of(self.object)


@dataclass(frozen=True, slots=True)
class DatabaseCatalog:
    """What a destination holds of one database; snapshots newest first, those of one
    second by name.

    `orphans` are objects of keeper's naming without a counterpart: a snapshot
    whose manifest never came, a manifest or drill record whose snapshot is gone, or what
    rclone had of either when it was killed. `bases` are the objects that deltas can need, by
    their tokens, whether or not they have manifests.
    """

    database: str
    snapshots: tuple[Snapshot, ...]
    orphans: tuple[RemoteObject, ...]
    latest: RemoteObject | None
    bases: dict[str, list[RemoteObject]] = field(default_factory=dict, compare=False)

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
    found: dict[str, _ByStem] = defaultdict(dict)
    latest: dict[str, RemoteObject] = {}
    for item in objects:
        name = parse_object(item.path)
        if name is not None:
            found[name.database].setdefault((name.taken_at, name.stem), {})[name.kind] = item
        else:
            folder, _, _ = item.path.partition("/")
            if item.path == latest_object(folder) and is_database_name(folder):
                latest[folder] = item
    return {
        database: _catalog(to, database, found.get(database, {}), latest.get(database))
        for database in sorted(found.keys() | latest.keys())
    }


def _catalog(
    to: str, database: str, by_stem: _ByStem, latest: RemoteObject | None
) -> DatabaseCatalog:
    snapshots: list[Snapshot] = []
    orphans: list[RemoteObject] = []
    bases: dict[str, list[RemoteObject]] = defaultdict(list)
    broken: set[str] = set()
    # The oldest first: a base is older than its deltas.
    for taken_at, stem in sorted(by_stem):
        kinds = by_stem[taken_at, stem]
        stored = next((kind for kind in _STORED if kind in kinds), None)
        name = parse_object(kinds[stored].path) if stored else None
        if name and stored == "sqlite3.zst" and name.token:
            bases[name.token].append(kinds[stored])
            broken |= {name.token} if "failed.json" in kinds else set()
        if stored is None or name is None or "json" not in kinds:
            orphans += kinds.values()
            continue
        is_whole = not name.base or (name.base in bases and name.base not in broken)
        snapshots.append(_snapshot(to, database, taken_at, kinds, stored, is_whole))
        known = (stored, "json", "proven.json", "failed.json")
        orphans += (item for kind, item in kinds.items() if kind not in known)
    snapshots.reverse()
    return DatabaseCatalog(database, tuple(snapshots), tuple(orphans), latest, dict(bases))


def _snapshot(
    to: str, database: str, taken_at: datetime, kinds: _Kinds, stored: str, is_whole: bool
) -> Snapshot:
    drill_outcome: DrillOutcome | None = (
        "failed" if "failed.json" in kinds else "proven" if "proven.json" in kinds else None
    )
    metadata = tuple(
        kinds[kind] for kind in ("json", "proven.json", "failed.json") if kind in kinds
    )
    item = kinds[stored]
    return Snapshot(
        database, to, item.path, taken_at, item.bytes, drill_outcome, metadata, is_whole
    )
