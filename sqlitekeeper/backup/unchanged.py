"""Destinations that hold a content already, so that nothing is uploaded again."""

from sqlitekeeper.database.check import CheckKind
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.hold import HOLD
from sqlitekeeper.destination.layout import drill_record_object, manifest_object
from sqlitekeeper.destination.manifest import encode
from sqlitekeeper.state.history import Shipment

_STRENGTH: dict[str, int] = {"none": 0, "quick": 1, "integrity": 2}


def is_lost(shipment: Shipment | None, destination: Destination) -> bool:
    """Whether a snapshot that was shipped to a destination is not whole there any more.

    One that failed its drill is not, whatever its size.
    """
    if shipment is None:
        return False
    listing = destination.listing or {}
    found = listing.get(shipment.object)
    if found is None or found.bytes != shipment.manifest["snapshot"]["bytes"]:
        return True
    manifest = listing.get(manifest_object(found.path))
    # The record is latest.json's text: the manifest, and when it was last confirmed. A
    # hold that was lifted since, or told since, is in one of the two only.
    text = {k: v for k, v in shipment.manifest.items() if k not in ("confirmed_at", HOLD)}
    if manifest is None or manifest.bytes < len(encode(text)):
        return True
    return destination.has(drill_record_object(found.path, "failed"))


def is_held(
    shipment: Shipment | None, destination: Destination, sha256: str, kind: CheckKind
) -> bool:
    """Whether a destination holds exactly this content, checked at least as well as asked."""
    if shipment is None or is_lost(shipment, destination):
        return False
    manifest = shipment.manifest
    proven = _STRENGTH[manifest["checks"]["kind"]] >= _STRENGTH[kind]
    return proven and bool(manifest["snapshot"]["sha256"] == sha256)
