"""Destinations that hold a content already, so that nothing is uploaded again."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlitekeeper.backup.model import Key
from sqlitekeeper.database.check import CheckKind
from sqlitekeeper.destination.catalog import newest_snapshots
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.layout import (
    ObjectName,
    drill_record_object,
    is_ahead,
    manifest_object,
    parse_object,
    random_token,
    snapshot_object,
)
from sqlitekeeper.destination.manifest import Manifest
from sqlitekeeper.events import Level, Listener, Note
from sqlitekeeper.state.history import Shipment

_STRENGTH: dict[str, int] = {"none": 0, "quick": 1, "integrity": 2}


@dataclass(frozen=True, slots=True)
class EarlierSnapshots:
    """What destinations held before this run: by their listings, and by keeper's own record.

    `manifests` are the newest there, by destination and database.
    """

    destinations: tuple[Destination, ...]
    shipments: dict[Key, Shipment]
    check: CheckKind
    force: bool
    clock: Callable[[], datetime]
    token: Callable[[], str] = random_token
    manifests: Mapping[Key, Manifest] = field(default_factory=dict)
    overtaken: set[Key] = field(default_factory=set)
    newest: dict[str, dict[str, ObjectName]] = field(init=False)

    def __post_init__(self) -> None:
        newest = {d.to: newest_snapshots(d.listing or ()) for d in self.destinations}
        object.__setattr__(self, "newest", newest)

    def learn(self, shipments: Mapping[Key, Shipment]) -> None:
        """Take note of what other runs have shipped since this one began."""
        for key, shipment in shipments.items():
            if self.shipments.get(key) != shipment:
                self.shipments[key] = shipment
                self.overtaken.add(key)

    def that_hold(self, name: str, sha256: str, on_event: Listener) -> dict[str, Shipment | None]:
        """By destination, the shipment that makes an upload of this content unnecessary."""
        return {d.to: self._held(d, name, sha256, on_event) for d in self.destinations}

    def _held(
        self, destination: Destination, name: str, sha256: str, on_event: Listener
    ) -> Shipment | None:
        shipment = self.shipments.get((destination.to, name))
        if (destination.to, name) in self.overtaken:
            # Shipped by another run since the listing was made, which knows nothing of it.
            return None
        if destination.error is None and is_lost(shipment, destination):
            text = f"the last snapshot {why_lost(shipment, destination)}; shipping again"
            on_event(Note(name, text, Level.WARNING))
        if self.force or not is_held(shipment, destination, sha256, self.check):
            return None
        dated = parse_object(shipment.object) if shipment else None
        if shipment and dated and is_ahead(dated.taken_at, self.clock()):
            text = f"{shipment.object} is dated in the future, where it counts for nothing"
            on_event(Note(name, f"{text}; shipping again", Level.WARNING))
            return None
        newest = self.newest[destination.to].get(name)
        if dated and newest and newest > dated and not is_ahead(newest.taken_at, self.clock()):
            theirs = self._shipped_by_others(destination, name, newest)
            if theirs and is_held(theirs, destination, sha256, self.check):
                return theirs
            # Whoever restores the latest would not get this content.
            text = f"{newest.snapshot} at {destination.to} is newer than what was"
            text += " shipped from here last"
            on_event(Note(name, f"{text}; shipping again", Level.WARNING))
            return None
        return shipment

    def _shipped_by_others(
        self, destination: Destination, name: str, newest: ObjectName
    ) -> Shipment | None:
        """The newest snapshot, where another state folder has shipped it.

        One without a token does not count: two may have shipped it, and the manifest may be
        of the one, the snapshot of the other.
        """
        manifest = self.manifests.get((destination.to, name))
        if manifest is None or manifest.object != newest.snapshot:
            return None
        if newest.snapshot == snapshot_object(name, newest.taken_at):
            return None
        return Shipment(destination.to, name, newest.snapshot, manifest)

    def new_name(self, name: str) -> tuple[datetime, str]:
        """The time of a snapshot and its object, whose token nobody else has.

        It is later than what there is already, even if the clock has been set
        back by a little: what is newer has to sort as newer. What is dated far
        ahead is left there, or every name after it would be wrong too.
        """
        now = self.clock()
        there = [found[name] for found in self.newest.values() if name in found]
        there += [known for s in self._shipments_of(name) if (known := parse_object(s.object))]
        times = [one.taken_at for one in there if not is_ahead(one.taken_at, now)]
        taken_at = max([now, *(time + timedelta(seconds=1) for time in times)])
        return taken_at, snapshot_object(name, taken_at, self.token())

    def _shipments_of(self, name: str) -> Iterator[Shipment]:
        for destination in self.destinations:
            if shipment := self.shipments.get((destination.to, name)):
                yield shipment


def is_lost(shipment: Shipment | None, destination: Destination) -> bool:
    """Whether a snapshot that was shipped to a destination does not count there any more.

    It is not whole, or it failed its drill.
    """
    if shipment is None:
        return False
    listing = destination.listing or {}
    found = listing.get(shipment.object)
    if found is None or found.bytes != shipment.manifest.stored_bytes:
        return True
    if _lacks_base(shipment, destination):
        return True
    manifest = listing.get(manifest_object(found.path))
    # The record is latest.json's text: the manifest, and when it was last confirmed. A
    # hold that was lifted since, or told since, is in one of the two only.
    least = len(shipment.manifest.beside_its_snapshot().to_json())
    if manifest is None or manifest.bytes < least:
        return True
    return destination.has(drill_record_object(found.path, "failed"))


def why_lost(shipment: Shipment | None, destination: Destination) -> str:
    """What is said of a snapshot that is lost: one that failed its drill may well be whole."""
    if shipment and destination.has(drill_record_object(shipment.object, "failed")):
        return f"failed its drill at {destination.to}"
    return f"is not whole at {destination.to} any more"


def _lacks_base(shipment: Shipment, destination: Destination) -> bool:
    """Whether a delta was shipped whose base is not whole any more."""
    stored = shipment.manifest.stored
    if stored is None or stored.base is None:
        return False
    base = (destination.listing or {}).get(stored.base.object)
    if base is None or base.bytes != stored.base.bytes:
        return True
    return destination.has(drill_record_object(base.path, "failed"))


def is_held(
    shipment: Shipment | None, destination: Destination, sha256: str, kind: CheckKind
) -> bool:
    """Whether a destination holds exactly this content, checked at least as well as asked."""
    if shipment is None or is_lost(shipment, destination):
        return False
    manifest = shipment.manifest
    # What another keeper calls its check proves nothing.
    proven = _STRENGTH.get(manifest.check, -1) >= _STRENGTH[kind]
    return proven and manifest.sha256 == sha256
