"""One place that snapshots are shipped to, and what its listing says."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlitekeeper.backup.unchanged import _STRENGTH
from sqlitekeeper.database.check import CheckKind
from sqlitekeeper.destination.hold import HOLD
from sqlitekeeper.destination.layout import manifest_object, mark_object
from sqlitekeeper.destination.manifest import encode
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.errors import RcloneError
from sqlitekeeper.rclone.listing import RemoteObject
from sqlitekeeper.rclone.local_folder import is_local
from sqlitekeeper.state.history import Shipment


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
