"""One database's way from the live file to a proven snapshot in the staging folder."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlitekeeper import wording
from sqlitekeeper.backups.checking import check_snapshot, sha256_of
from sqlitekeeper.backups.destination import Destination
from sqlitekeeper.backups.loss import LossWatch, hold_of, on_hold
from sqlitekeeper.backups.manifest import Versions, build_manifest
from sqlitekeeper.backups.naming import parse_object, snapshot_object
from sqlitekeeper.backups.results import Seconds
from sqlitekeeper.backups.shipping import SNAPSHOTS, Parcel
from sqlitekeeper.database.proof import CheckKind
from sqlitekeeper.database.snapshot import take_snapshot
from sqlitekeeper.events import Level, Listener, Note
from sqlitekeeper.state.history import Shipment


@dataclass(frozen=True, slots=True)
class Staged:
    """A database that is ready to be shipped: one parcel for each destination, by `to`.

    `alarm` says what it has lost since the snapshot before.
    """

    name: str
    path: Path
    object: str
    sha256: str
    bytes: int
    manifest: dict[str, Any]
    parcels: dict[str, Parcel]
    seconds: Seconds
    alarm: str | None = None

    @property
    def unchanged(self) -> bool:
        """Whether every destination holds this content already."""
        return not any(parcel.upload for parcel in self.parcels.values())


@dataclass(frozen=True, slots=True)
class Stage:
    """What staging needs to know of the run: where to, what was shipped before, who we are."""

    folder: Path
    destinations: tuple[Destination, ...]
    shipments: dict[tuple[str, str], Shipment]
    check: CheckKind
    force: bool
    host: str
    versions: Versions
    clock: Callable[[], datetime]
    listen: Listener
    watch: LossWatch = field(default_factory=LossWatch)
    overtaken: set[tuple[str, str]] = field(default_factory=set)

    def prepare(self, name: str, path: Path) -> Staged:
        """Snapshot, hash and, where it is not at every destination already, check.

        Raises:
            KeeperError: no snapshot could be made; nothing of it is left.
            CheckError: the snapshot is not sound; nothing of it is left.
        """
        taken_at, key = self._free_name(name)
        file = self.folder / SNAPSHOTS / key
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._prepare(name, path, file, taken_at, key)
        except BaseException:
            file.unlink(missing_ok=True)
            raise

    def _prepare(self, name: str, path: Path, file: Path, taken_at: datetime, key: str) -> Staged:
        began = time.monotonic()
        source = take_snapshot(path, file, self.listen, name)
        snapshot_seconds = time.monotonic() - began
        began = time.monotonic()
        sha256, size = sha256_of(file), file.stat().st_size
        held = {d.to: self._held(d, name, sha256) for d in self.destinations}
        fresh: dict[str, Any] | None = None
        if not all(held.values()):
            checked = check_snapshot(file, sha256, self.check)
            fresh = build_manifest(name, self.host, taken_at, source, key, checked, self.versions)
            self._tell(name, size, snapshot_seconds, checked.foreign_key_violations)
        seconds = Seconds(round(snapshot_seconds, 3), round(time.monotonic() - began, 3))
        parcels = {}
        lost: dict[str, tuple[int, int]] = {}
        for to, shipment in held.items():
            if shipment:
                manifest = self.watch.carried(to, shipment.manifest)
                parcels[to] = Parcel(name, shipment.object, size, manifest, upload=False)
            elif fresh:
                judged = self.watch.judge(to, fresh)
                lost |= judged.lost
                parcels[to] = Parcel(name, key, size, judged.manifest, upload=True)
        if fresh is None:
            file.unlink()
        manifest = fresh or next(iter(parcels.values())).manifest
        alarm = on_hold(name, lost) if lost else None
        if alarm is None:
            self._tell_hold(name, parcels)
        return Staged(name, path, key, sha256, size, manifest, parcels, seconds, alarm)

    def _held(self, destination: Destination, name: str, sha256: str) -> Shipment | None:
        """The shipment that makes an upload to this destination unnecessary."""
        shipment = self.shipments.get((destination.to, name))
        if (destination.to, name) in self.overtaken:
            # Shipped by another run since the listing was made, which knows nothing of it.
            return None
        if destination.error is None and destination.lost(shipment):
            text = f"the last snapshot is not whole at {destination.to} any more; shipping again"
            self.listen(Note(name, text, Level.WARNING))
        if self.force or not destination.holds(shipment, sha256, self.check):
            return None
        return shipment

    def _free_name(self, name: str) -> tuple[datetime, str]:
        """The time of the snapshot and its object, which neither staging nor a destination has."""
        taken_at = max([self.clock(), *self._after_others(name)])
        while self._is_taken(key := snapshot_object(name, taken_at)):
            taken_at += timedelta(seconds=1)
        return taken_at, key

    def _after_others(self, name: str) -> Iterator[datetime]:
        """The first moments that are later than what other runs have shipped meanwhile.

        Only their last is known, and those before it took the seconds before it.
        """
        for key in self.overtaken:
            shipped = parse_object(self.shipments[key].object)
            if key[1] == name and shipped:
                yield shipped.taken_at + timedelta(seconds=1)

    def _is_taken(self, key: str) -> bool:
        staged = (self.folder / SNAPSHOTS / key).exists()
        shipped = any(shipment.object == key for shipment in self.shipments.values())
        return staged or shipped or any(d.has(key) for d in self.destinations)

    def learn(self, shipments: dict[tuple[str, str], Shipment]) -> None:
        """Take note of what other runs have shipped since this one began."""
        for key, shipment in shipments.items():
            if self.shipments.get(key) != shipment:
                self.shipments[key] = shipment
                self.overtaken.add(key)

    def _tell(self, name: str, size: int, seconds: float, violations: int | None) -> None:
        said = "not checked" if self.check == "none" else f"{self.check} ok"
        self.listen(Note(name, f"snapshot {wording.size(size)} in {seconds:.1f} s, {said}"))
        if violations:
            counted = wording.counted(violations, "foreign-key violation")
            text = f"{counted} (see PRAGMA foreign_key_check)"
            self.listen(Note(name, text, Level.WARNING))
        elif violations is None:
            text = "foreign keys could not be checked: one refers to columns that are not unique"
            self.listen(Note(name, text, Level.WARNING))

    def _tell_hold(self, name: str, parcels: dict[str, Parcel]) -> None:
        """Remind of a loss that nobody has accepted yet."""
        holds = filter(None, (hold_of(parcel.manifest) for parcel in parcels.values()))
        for text in dict.fromkeys(on_hold(name, hold.tables) for hold in holds):
            self.listen(Note(name, text, Level.WARNING))
