"""The two files that are compared: a copy of the live database, and snapshots as they were stored.

Both lie in a private folder. The copy is of one moment, and no lock outlasts its making.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from sqlitekeeper.database.snapshot.snapshot import take_snapshot
from sqlitekeeper.destination.catalog import Snapshot
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.download import base_problem, fetch_manifest, fetch_snapshot
from sqlitekeeper.destination.hold import hold_of
from sqlitekeeper.destination.manifest import Manifest, timestamp
from sqlitekeeper.errors import CheckError, KeeperError
from sqlitekeeper.events import Level, Listener, Note
from sqlitekeeper.filesystem.checksum import sha256_of
from sqlitekeeper.rclone.client import Rclone

_ROOM = "point backup.staging in keeper.toml at a larger file system"


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: where it is from, and of when; `file` is keeper's own copy."""

    kind: Literal["live", "snapshot"]
    file: Path
    taken_at: str
    path: Path | None = None
    to: str | None = None
    object: str | None = None

    @property
    def label(self) -> str:
        """What a person knows it as."""
        if self.object:
            return f"{self.object} at {self.to}"
        return f"{self.path} as it is now"


def copy_live(name: str, path: Path, folder: Path, now: datetime, on_event: Listener) -> Side:
    """Copy the live database as `backup` does.

    Raises:
        KeeperError: it is not there or not readable, or there is no room.
        BusyError: it stayed locked.
        CheckError: it is damaged.
    """
    file = folder / "live"
    take_snapshot(path, file, on_event, name)
    return Side("live", file, timestamp(now), path=path)


def fetch(
    candidates: Sequence[tuple[Destination, Snapshot]],
    folder: Path,
    rclone: Rclone,
    on_event: Listener,
) -> Side:
    """Download the same snapshot from the first destination whose copy is what was stored.

    Raises:
        CheckError: no copy is what its manifest says.
        KeeperError: it could not be fetched, or there is no room.
    """
    errors: list[KeeperError] = []
    for destination, snapshot in candidates:
        try:
            return _fetch(destination, snapshot, folder, rclone, on_event)
        except KeeperError as error:
            errors.append(error)
            if len(errors) < len(candidates):
                on_event(Note(snapshot.database, error.full_text, Level.WARNING))
    # One that could not be fetched may be sound, so another's damage is not the last word.
    raise next((e for e in reversed(errors) if not isinstance(e, CheckError)), errors[-1])


def _fetch(
    destination: Destination, snapshot: Snapshot, folder: Path, rclone: Rclone, on_event: Listener
) -> Side:
    manifest = fetch_manifest(rclone, destination, snapshot)
    if manifest is None:
        raise KeeperError(f"{snapshot.object}: {destination.to} has no manifest of it")
    if manifest.object != snapshot.object:
        raise CheckError(f"{snapshot.object}: its manifest belongs to {manifest.object}")
    report_hold(manifest, on_event)
    if lack := base_problem(destination, manifest):
        raise CheckError(f"{snapshot.object}: {lack}")
    file = fetch_snapshot(
        rclone, destination.to, snapshot, folder, on_event, manifest=manifest, hint=_ROOM
    )
    if (sha256 := sha256_of(file)) != manifest.sha256:
        raise CheckError(
            f"{snapshot.object}: its sha256 is {sha256[:12]}..., its manifest says"
            f" {manifest.sha256[:12]}...",
            hint="keeper snapshots shows the others; --at takes one",
        )
    at = timestamp(manifest.taken_at)
    return Side("snapshot", file, at, to=destination.to, object=snapshot.object)


def report_hold(manifest: Manifest, on_event: Listener) -> None:
    """Whoever looks for lost rows has to know that they were lost before this snapshot."""
    if hold := hold_of(manifest.raw):
        tables = ", ".join(
            f"{table} from {before:,} to {after:,} rows"
            for table, (before, after) in list(hold.tables.items())[:5]
        )
        fell = f": {tables}" if tables else ""
        text = f"{manifest.object} is from after a loss that nobody has accepted{fell}"
        hint = f"; --at with a time before {hold.since} takes one from before it"
        on_event(Note(manifest.database, text + hint, Level.WARNING))
