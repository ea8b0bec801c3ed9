"""A snapshot of one database in the staging folder, unless nobody has written to it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlitekeeper.backup.model import StagedSnapshot
from sqlitekeeper.backup.unchanged import EarlierSnapshots
from sqlitekeeper.database.files import sidecar, size_of
from sqlitekeeper.database.snapshot.fingerprint import fingerprint
from sqlitekeeper.database.snapshot.snapshot import take_snapshot
from sqlitekeeper.events import Level, Listener, Note, Tick, ignore
from sqlitekeeper.filesystem.checksum import sha256_of
from sqlitekeeper.state.history import Seen

SNAPSHOTS = "snapshots"


@dataclass(frozen=True, slots=True)
class Staging:
    """A run's private folder, in which it makes snapshots.

    `seen` is what databases' files looked like when their last snapshots were taken.
    """

    folder: Path
    earlier: EarlierSnapshots
    seen: Mapping[Path, Seen] = field(default_factory=dict)

    def file_of(self, snapshot: StagedSnapshot) -> Path:
        """Where a snapshot lies."""
        return self.path_of(snapshot.object)

    def path_of(self, key: str) -> Path:
        """Where what is to have this name at the destination lies."""
        return self.folder / SNAPSHOTS / key

    def take(self, name: str, path: Path, on_event: Listener = ignore) -> StagedSnapshot:
        """Snapshot and hash a database, unless it is plain that it has not changed.

        Raises:
            KeeperError: no snapshot could be made; nothing of it is left.
            NoRoomError: the staging folder is too small; nothing of it is left.
        """
        before = fingerprint(path, time.time_ns())
        if untouched := self._untouched(name, path, before):
            text = "not read: nobody has written to it since its last snapshot"
            on_event(Note(name, text, Level.DETAIL))
            return untouched
        taken_at, key = self.earlier.new_name(name)
        file = self.path_of(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            began = time.monotonic()
            source = take_snapshot(path, file, on_event, name)
            on_event(Tick(name, "snapshot", 1, 1))
            seconds = time.monotonic() - began
            sha256, size = sha256_of(file), file.stat().st_size
            held = self.earlier.that_hold(name, sha256, on_event)
            snapshot = StagedSnapshot(
                name, path, taken_at, key, sha256, size, held, source, seconds, before
            )
            if snapshot.is_unchanged:
                file.unlink()
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        return snapshot

    def expected_bytes(self, name: str, path: Path) -> int:
        """The size of a database with its WAL, or 0 if it has to be read by nobody."""
        if self._untouched(name, path, fingerprint(path, time.time_ns())):
            return 0
        try:
            return size_of(path) + size_of(sidecar(path, "-wal"))
        except OSError:
            return 0  # taking its snapshot will say why it cannot be reached

    def _untouched(self, name: str, path: Path, now: str | None) -> StagedSnapshot | None:
        """The last snapshot once more, if nobody has written to the database since."""
        seen = self.seen.get(path)
        if now is None or seen is None or seen.fingerprint != now:
            return None
        held = self.earlier.that_hold(name, seen.sha256, ignore)
        shipment = next(iter(held.values()), None)
        if shipment is None or not all(held.values()):
            return None
        key, size = shipment.object, shipment.manifest.bytes
        taken_at = self.earlier.clock()
        return StagedSnapshot(name, path, taken_at, key, seen.sha256, size, held, None, 0.0, now)
