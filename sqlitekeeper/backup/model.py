"""The shapes of a database on its way: a staged snapshot, then a checked one."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlitekeeper.backup.result import Seconds
from sqlitekeeper.database.snapshot.snapshot import Source
from sqlitekeeper.destination.layout import encoding_of
from sqlitekeeper.destination.manifest import Manifest
from sqlitekeeper.state.history import Seen, Shipment

# The name of a database at a destination: (destination, database).
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """What is uploaded of a snapshot, with its own size and sha256.

    `facts` is what a manifest has to say of it beside what it says of a plain file.
    """

    name: str
    object: str
    bytes: int
    sha256: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def encoding(self) -> str:
        """How it is stored: "plain", "zstd" or "delta"."""
        return encoding_of(self.object)


@dataclass(frozen=True, slots=True)
class StagedSnapshot:
    """A snapshot that was taken, and by destination the shipment that makes an upload needless.

    Without `source` there is no file: the database was found untouched since
    its last snapshot. `sha256` and `bytes` are the snapshot's.
    """

    name: str
    path: Path
    taken_at: datetime
    object: str
    sha256: str
    bytes: int
    held: Mapping[str, Shipment | None]
    source: Source | None
    seconds: float
    fingerprint: str | None

    @property
    def is_unchanged(self) -> bool:
        """Whether every destination holds this content already."""
        return all(self.held.values())

    @property
    def plain(self) -> StoredSnapshot:
        """The snapshot stored as it is."""
        return StoredSnapshot(self.name, self.object, self.bytes, self.sha256)

    @property
    def seen(self) -> Seen | None:
        """What to remember of the file, where there is something new to remember."""
        if self.source is None or self.fingerprint is None or not self.source.settled:
            return None
        return Seen(self.path, self.fingerprint, self.sha256)


@dataclass(frozen=True, slots=True)
class CheckedSnapshot:
    """A snapshot that is sound, and the manifest that each destination is to have of it.

    `alarm` says what the database has lost since the snapshot before.
    """

    staged: StagedSnapshot
    manifests: Mapping[str, Manifest]
    seconds: Seconds
    alarm: str | None = None

    def stored(self, encoded: Mapping[str, StoredSnapshot]) -> "CheckedSnapshot":
        """The same with manifests that say what is stored at each destination."""
        manifests = {
            to: manifest.with_stored(encoded[to].facts) if to in encoded else manifest
            for to, manifest in self.manifests.items()
        }
        return replace(self, manifests=manifests)

    @property
    def manifest(self) -> Manifest:
        """The one that tells most of this snapshot: that of where it is new, if it is."""
        held = self.staged.held
        return next(
            (self.manifests[to] for to in held if not held[to]), next(iter(self.manifests.values()))
        )
