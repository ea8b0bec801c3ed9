"""Downloads of a manifest and its snapshot."""

from pathlib import Path

from sqlitekeeper.destination.catalog import Snapshot
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.layout import manifest_object
from sqlitekeeper.destination.manifest import Manifest
from sqlitekeeper.destination.metadata import fetch_manifests
from sqlitekeeper.errors import CheckError, KeeperError
from sqlitekeeper.events import Listener, Tick, ignore
from sqlitekeeper.filesystem.disks import require_room
from sqlitekeeper.rclone.client import Rclone

# For the file system's own bookkeeping.
SPARE_BYTES = 2**20
# What rclone says of an object that came, but is not what was once stored.
_DAMAGED = (
    "corrupted on transfer",
    "authenticate decrypted block",
    "bad magic string",
    "too short to be encrypted",
    "truncated block header",
)


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
    on_event: Listener = ignore,
    *,
    what: str = "the snapshot",
    beside: Path | None = None,
    hint: str | None = None,
) -> Path:
    """Download a snapshot into a private folder.

    `beside` is the folder that a person knows, which has the room for `what` or has not;
    otherwise the one that `folder` is in. `hint` says what to do where it has not.

    Raises:
        RcloneError: it did not come.
        NoRoomError: there is no room for it, or what there was is gone.
        CheckError: it came damaged, or rclone reported success and it is not there.
    """
    name, total = snapshot.database, snapshot.bytes
    shown = beside or folder.parent
    require_room(what, total + SPARE_BYTES, folder, shown=shown, hint=hint)
    report = rclone.fetch(
        to,
        [snapshot.object],
        folder,
        lambda done: on_event(Tick(name, "download", done, total)),
    )
    file = folder / snapshot.object
    if report.error:
        if "space" in report.error.message:
            require_room(what, total, folder, shown=shown, hint=hint)
        if any(sign in report.error.message for sign in _DAMAGED):
            raise CheckError(report.error.message)
        raise report.error
    if not file.is_file() or file.is_symlink():
        raise CheckError(f"{to}/{snapshot.object}: rclone reported success, but it is not there")
    return file
