"""Downloads of a manifest and its snapshot, which is unpacked if it is stored otherwise."""

from pathlib import Path

from sqlitekeeper.destination.catalog import Snapshot
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.layout import SUFFIXES, manifest_object, stem_of
from sqlitekeeper.destination.manifest import Manifest
from sqlitekeeper.destination.metadata import fetch_manifests
from sqlitekeeper.errors import CheckError, KeeperError
from sqlitekeeper.events import Listener, Tick, ignore
from sqlitekeeper.filesystem.checksum import sha256_of
from sqlitekeeper.filesystem.disks import require_room
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.store.base import BaseFile
from sqlitekeeper.store.library import StoreError, zstd_library
from sqlitekeeper.store.restore import restore_delta, restore_whole

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


def base_problem(destination: Destination, manifest: Manifest) -> str | None:
    """What is wrong with the base of a delta, as far as the listing tells."""
    base = manifest.stored.base if manifest.stored else None
    if base is None:
        return None
    found = (destination.listing or {}).get(base.object)
    if found is None:
        return f"its base {base.object} is missing"
    if found.bytes != base.bytes:
        return f"its base {base.object} has {found.bytes} bytes, its manifest says {base.bytes}"
    return None


def fetch_snapshot(
    rclone: Rclone,
    to: str,
    snapshot: Snapshot,
    folder: Path,
    on_event: Listener = ignore,
    *,
    manifest: Manifest | None = None,
    what: str = "the snapshot",
    beside: Path | None = None,
    hint: str | None = None,
) -> Path:
    """Download a snapshot into a private folder: its plain file, which is all that is left there.

    A compressed one is unpacked, of a delta the base is downloaded too; that takes its
    `manifest`. `beside` is the folder that a person knows, which has the room for `what` or
    has not; otherwise the one that `folder` is in. `hint` says what to do where it has not.

    Raises:
        RcloneError: it did not come.
        NoRoomError: there is no room for it, or what there was is gone.
        CheckError: it came damaged, or rclone reported success and it is not there; or it is
            not what the manifest says, as far as it is not plain.
        ConfigError: this Python has no zstd library, and it takes one.
    """
    stored = manifest.stored if manifest else None
    if snapshot.encoding == "delta" and not stored:
        raise CheckError(f"{snapshot.object}: without its manifest a delta says nothing")
    objects = {snapshot.object: snapshot.bytes}
    if stored and stored.base:
        objects[stored.base.object] = stored.base.bytes
    name, total = snapshot.database, sum(objects.values())
    shown = beside or folder.parent
    unpacked = manifest.bytes if manifest and stored else 0
    require_room(what, total + unpacked + SPARE_BYTES, folder, shown=shown, hint=hint)
    report = rclone.fetch(
        to,
        list(objects),
        folder,
        lambda done: on_event(Tick(name, "download", done, total)),
    )
    if report.error:
        if "space" in report.error.message:
            require_room(what, total, folder, shown=shown, hint=hint)
        if any(sign in report.error.message for sign in _DAMAGED):
            raise CheckError(report.error.message)
        raise report.error
    for key in objects:
        if not (folder / key).is_file() or (folder / key).is_symlink():
            raise CheckError(f"{to}/{key}: rclone reported success, but it is not there")
    if snapshot.encoding == "plain":
        return folder / snapshot.object
    return _unpack(snapshot.object, folder, manifest)


def _unpack(key: str, folder: Path, manifest: Manifest | None) -> Path:
    """Make the plain file of an object that lies below a folder, as its base does; they go.

    Without a manifest only of a whole snapshot, and what comes out is anything.

    Raises:
        CheckError: one of them is not what the manifest says, or damaged.
        ConfigError: this Python has no zstd library.
        NoRoomError: there is no room for the plain file.
        OSError: it cannot be written.
    """
    zstd_library()
    stored = manifest.stored if manifest else None
    file, target = folder / key, folder / f"{stem_of(key)}{SUFFIXES['plain']}"
    if stored:
        _verify(file, stored.bytes, stored.sha256)
    try:
        if stored and stored.base:
            base = folder / stored.base.object
            _verify(base, stored.base.bytes, stored.base.sha256)
            with BaseFile(base) as opened:
                restore_delta(file, opened, stored.pieces, target)
            base.unlink()
        else:
            with BaseFile(file) as opened:
                size = manifest.bytes if manifest else opened.bytes
                require_room("the plain file of the snapshot", size, folder, shown=folder.parent)
                restore_whole(opened, target, size)
    except StoreError as error:
        raise CheckError(error.message.replace(f"{folder}/", "")) from None
    file.unlink()
    return target


def _verify(file: Path, size: int, sha256: str) -> None:
    """Refuse what is not as it was stored.

    Raises:
        CheckError: its size or sha256 is another.
    """
    if (came := file.stat().st_size) != size:
        raise CheckError(f"{file.name}: {came} bytes came, the manifest says {size}")
    if (found := sha256_of(file)) != sha256:
        text = f"{file.name}: its sha256 is {found[:12]}..., the manifest says {sha256[:12]}..."
        raise CheckError(text)
