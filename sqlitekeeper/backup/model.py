"""The shapes of a database on its way: staged, checked, uploaded."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlitekeeper.backup.result import BackupResult, Seconds
from sqlitekeeper.database.snapshot.snapshot import Source
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.errors import KeeperError
from sqlitekeeper.state.history import Seen, Shipment

# What went wrong, by destination and database.
Errors = dict[tuple[str, str], str]
SNAPSHOTS = "snapshots"


@dataclass(frozen=True, slots=True)
class Parcel:
    """One database's part of a batch; without `upload` only latest.json is refreshed."""

    database: str
    object: str
    bytes: int
    manifest: dict[str, Any]
    upload: bool


@dataclass(frozen=True, slots=True)
class Upload:
    """A snapshot in the staging folder that has to be brought somewhere."""

    database: str
    object: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Taken:
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
    def unchanged(self) -> bool:
        """Whether every destination holds this content already."""
        return all(self.held.values())

    @property
    def upload(self) -> Upload:
        """What destinations without this content get."""
        return Upload(self.name, self.object, self.bytes, self.sha256)

    @property
    def seen(self) -> Seen | None:
        """What to remember of the file, where there is something new to remember."""
        if self.source is None or self.fingerprint is None or not self.source.settled:
            return None
        return Seen(self.path, self.fingerprint, self.sha256)


@dataclass(frozen=True, slots=True)
class Staged:
    """A database that was proven: one parcel for each destination, by `to`.

    `alarm` says what it has lost since the snapshot before.
    """

    taken: Taken
    manifest: dict[str, Any]
    parcels: dict[str, Parcel]
    seconds: Seconds
    alarm: str | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """A batch that was uploaded, and what its check has found, in the same order.

    Only at the `last` destination it still has to be announced; what is not there
    as it was sent, by database, is being found out.
    """

    batch: list[Taken]
    proven: list[Staged | KeeperError]
    errors: Errors
    confirmed_at: str
    last: Destination
    confirming: Future[dict[str, str]]
    seconds: float

    @property
    def staged(self) -> list[Staged]:
        """What passed its check."""
        return [one for one in self.proven if isinstance(one, Staged)]

    @property
    def unsound(self) -> list[Taken]:
        """What failed it."""
        pairs = zip(self.batch, self.proven, strict=True)
        return [taken for taken, one in pairs if isinstance(one, KeeperError)]


@dataclass(frozen=True, slots=True)
class Finished:
    """What has come of a database, and the parcels that its destinations have confirmed."""

    taken: Taken
    result: BackupResult
    confirmed: dict[str, Parcel]
    confirmed_at: str
