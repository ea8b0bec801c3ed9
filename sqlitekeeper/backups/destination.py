"""One place that snapshots are shipped to, and what its listing says."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlitekeeper.backups.local_folder import is_local
from sqlitekeeper.backups.loss import HOLD
from sqlitekeeper.backups.manifest import encode
from sqlitekeeper.backups.naming import (
    TOKEN_LENGTH,
    ObjectName,
    manifest_object,
    mark_object,
    parse_object,
)
from sqlitekeeper.backups.rclone import Rclone, RcloneError, RemoteObject
from sqlitekeeper.database.flushing import sync
from sqlitekeeper.database.proof import CheckKind
from sqlitekeeper.state.history import Shipment

_OLD = len("-20261123T030000Z.sqlite3")
_REST = {_OLD, _OLD + len("-") + TOKEN_LENGTH}
_STRENGTH: dict[str, int] = {"none": 0, "quick": 1, "integrity": 2}


@dataclass(frozen=True, slots=True)
class Destination:
    """A destination as it was listed at the start of the run.

    `listing` is None where there is nothing yet, `error` set where it could
    not be listed.
    """

    to: str
    listing: dict[str, RemoteObject] | None
    error: RcloneError | None = None

    @property
    def folder(self) -> Path | None:
        """The local folder that this destination is, or None for a remote."""
        return Path(self.to) if is_local(self.to) else None

    def has(self, path: str) -> bool:
        """Whether the listing knows an object."""
        return self.listing is not None and path in self.listing

    def lost(self, shipment: Shipment | None) -> bool:
        """Whether a snapshot that was shipped here is not whole here any more.

        One that failed its drill is not, whatever its size.
        """
        if shipment is None:
            return False
        found = (self.listing or {}).get(shipment.object)
        if found is None or found.bytes != shipment.manifest["snapshot"]["bytes"]:
            return True
        manifest = (self.listing or {}).get(manifest_object(found.path))
        # The record is latest.json's text: the manifest, and when it was last confirmed. A
        # hold that was lifted since, or told since, is in one of the two only.
        text = {k: v for k, v in shipment.manifest.items() if k not in ("confirmed_at", HOLD)}
        if manifest is None or manifest.bytes < len(encode(text)):
            return True
        return self.has(mark_object(found.path, "failed"))

    def holds(self, shipment: Shipment | None, sha256: str, kind: CheckKind) -> bool:
        """Whether exactly this content lies here already, checked at least as well as asked."""
        if shipment is None or self.lost(shipment):
            return False
        manifest = shipment.manifest
        proven = _STRENGTH[manifest["checks"]["kind"]] >= _STRENGTH[kind]
        return proven and bool(manifest["snapshot"]["sha256"] == sha256)


def look(rclone: Rclone, to: str) -> Destination:
    """List a destination, once for the whole run."""
    try:
        return Destination(to, rclone.list_objects(to))
    except RcloneError as error:
        return Destination(to, None, error)


def look_at(rclone: Rclone, destinations: Sequence[str]) -> list[Destination]:
    """List every destination once; one that does not answer has its `error` set.

    Raises:
        RcloneError: none of them answers.
    """
    found = [look(rclone, to) for to in destinations]
    refuse_silence(found)
    return found


def refuse_silence(destinations: Sequence[Destination]) -> list[RcloneError]:
    """Why destinations could not be listed, those that could not.

    Raises:
        RcloneError: none of them could; it says why of each.
    """
    errors = [destination.error for destination in destinations if destination.error]
    if errors and len(errors) == len(destinations):
        raise together(errors)
    return errors


def together(errors: Sequence[RcloneError]) -> RcloneError:
    """Several destinations' errors as one."""
    if len(errors) == 1:
        return errors[0]
    return RcloneError("; ".join(dict.fromkeys(error.full_text for error in errors)))


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


def sync_to_disk(folder: Path, paths: list[str]) -> None:
    """Flush files of a local destination, and the folders that name them.

    rclone's local backend does not, so a power cut could take back a snapshot
    that was reported as shipped.
    """
    names = {folder / path for path in paths}
    for path in sorted(names) + sorted({name.parent for name in names} | {folder}):
        sync(path)
    # What is above the destination may belong to someone else, closed to us.
    with suppress(PermissionError):
        sync(folder.parent)
