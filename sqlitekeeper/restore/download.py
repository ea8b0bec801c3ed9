"""Downloads of a manifest and its snapshot."""

from pathlib import Path

from sqlitekeeper import wording
from sqlitekeeper.destination.catalog import Snapshot
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.layout import manifest_object
from sqlitekeeper.destination.manifest import Manifest
from sqlitekeeper.destination.metadata import fetch_manifests
from sqlitekeeper.errors import CheckError, KeeperError
from sqlitekeeper.events import Listener, Tick, ignore
from sqlitekeeper.filesystem.disks import free_bytes
from sqlitekeeper.rclone.client import Rclone

# For the file system's own bookkeeping.
SPARE_BYTES = 2**20


def fetch_manifest(rclone: Rclone, destination: Destination, snapshot: Snapshot) -> Manifest | None:
    """The manifest of a snapshot; None where the destination has none.

    Raises:
        ManifestError: it cannot be used.
        RcloneError: it could not be fetched.
    """
    key = manifest_object(snapshot.object)
    item = (destination.listing or {}).get(key)
    if item is None:
        return None
    manifest = fetch_manifests(rclone, destination.to, [item])[key]
    if isinstance(manifest, KeeperError):
        raise manifest
    return manifest


def fetch_snapshot(
    rclone: Rclone,
    to: str,
    snapshot: Snapshot,
    folder: Path,
    listen: Listener = ignore,
    *,
    beside: Path | None = None,
) -> Path:
    """Download a snapshot into a private folder.

    `beside` is the folder that a person knows, which has the room or has not; otherwise
    the one that `folder` is in.

    Raises:
        RcloneError: it did not come.
        KeeperError: the room that there was for it is gone.
        CheckError: rclone reported no error, and it is not there.
    """
    name, total = snapshot.database, snapshot.bytes
    report = rclone.fetch(
        to,
        [snapshot.object],
        folder,
        lambda done: listen(Tick(name, "download", done, total)),
    )
    file = folder / snapshot.object
    if report.error:
        free = free_bytes(folder)
        if "space" in report.error.message and free < total:
            raise KeeperError(
                f"the snapshot needs {wording.size(total)} in {beside or folder.parent},"
                f" which has {wording.size(free)} left"
            )
        raise report.error
    if not file.is_file() or file.is_symlink():
        raise CheckError(f"{to}/{snapshot.object}: rclone reported no error, but it did not come")
    return file
