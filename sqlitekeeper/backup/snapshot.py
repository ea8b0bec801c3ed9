"""One database's way from the live file to a proven snapshot in the staging folder.

In two steps, so that one database can be proven while the next is read: `take`
makes the snapshot and knows by its sha256 where it has to go, `prove` checks it
and writes its manifest.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlitekeeper import wording
from sqlitekeeper.backup.check import report_hold
from sqlitekeeper.backup.loss_alarm import LossAlarm
from sqlitekeeper.backup.model import SNAPSHOTS, Parcel, Staged, Taken
from sqlitekeeper.backup.result import Seconds
from sqlitekeeper.backup.unchanged import is_held, is_lost
from sqlitekeeper.database.check import Checked, CheckKind, check_snapshot
from sqlitekeeper.database.snapshot.fingerprint import fingerprint
from sqlitekeeper.database.snapshot.snapshot import take_snapshot
from sqlitekeeper.destination.catalog import newest_snapshots
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.hold import on_hold
from sqlitekeeper.destination.layout import (
    ObjectName,
    is_ahead,
    parse_object,
    random_token,
    snapshot_object,
)
from sqlitekeeper.destination.manifest import Versions, build_manifest, refuse_large
from sqlitekeeper.events import Level, Listener, Note, Tick, ignore
from sqlitekeeper.filesystem.checksum import sha256_of
from sqlitekeeper.state.history import Seen, Shipment


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
    watch: LossAlarm = field(default_factory=LossAlarm)
    seen: dict[Path, Seen] = field(default_factory=dict)
    overtaken: set[tuple[str, str]] = field(default_factory=set)
    token: Callable[[], str] = random_token
    newest: dict[str, dict[str, ObjectName]] = field(init=False)

    def __post_init__(self) -> None:
        newest = {d.to: newest_snapshots(d.listing or ()) for d in self.destinations}
        object.__setattr__(self, "newest", newest)

    def file_of(self, taken: Taken) -> Path:
        """Where a snapshot lies."""
        return self.folder / SNAPSHOTS / taken.object

    def take(self, name: str, path: Path, on_event: Listener = ignore) -> Taken:
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
        taken_at, key = self._new_name(name)
        file = self.folder / SNAPSHOTS / key
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            began = time.monotonic()
            source = take_snapshot(path, file, on_event, name)
            on_event(Tick(name, "snapshot", 1, 1))
            seconds = time.monotonic() - began
            sha256, size = sha256_of(file), file.stat().st_size
            held = {d.to: self._held(d, name, sha256, on_event) for d in self.destinations}
            taken = Taken(name, path, taken_at, key, sha256, size, held, source, seconds, before)
            if taken.unchanged:
                file.unlink()
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        return taken

    def is_untouched(self, name: str, path: Path) -> bool:
        """Whether `take` would find that the database has not changed without reading it."""
        return self._untouched(name, path, fingerprint(path, time.time_ns())) is not None

    def _untouched(self, name: str, path: Path, now: str | None) -> Taken | None:
        """The last snapshot once more, if nobody has written to the database since."""
        seen = self.seen.get(path)
        if now is None or seen is None or seen.fingerprint != now:
            return None
        held = {d.to: self._held(d, name, seen.sha256, ignore) for d in self.destinations}
        shipment = next(iter(held.values()), None)
        if shipment is None or not all(held.values()):
            return None
        size = shipment.manifest["snapshot"]["bytes"]
        return Taken(
            name, path, self.clock(), shipment.object, seen.sha256, size, held, None, 0.0, now
        )

    def prove(self, taken: Taken, on_event: Listener = ignore) -> Staged:
        """Check a snapshot where it is not at every destination already; write its manifests.

        Raises:
            CheckError: the snapshot is not sound.
            KeeperError: its manifest would be too large to be read again.
        """
        began = time.monotonic()
        fresh: dict[str, Any] | None = None
        if taken.source and not taken.unchanged:
            checked = check_snapshot(
                self.file_of(taken),
                taken.sha256,
                self.check,
                lambda done: on_event(Tick(taken.name, "check", done, taken.bytes)),
            )
            on_event(Tick(taken.name, "check", 1, 1))
            fresh = build_manifest(
                taken.name,
                self.host,
                taken.taken_at,
                taken.source,
                taken.object,
                checked,
                self.versions,
            )
            refuse_large(fresh)
            self._tell(taken, checked, on_event)
        seconds = Seconds(round(taken.seconds, 3), round(time.monotonic() - began, 3))
        parcels = {}
        lost: dict[str, tuple[int, int]] = {}
        for to, shipment in taken.held.items():
            if shipment:
                manifest = self.watch.carried(to, shipment.manifest)
                size = manifest["snapshot"]["bytes"]
                parcels[to] = Parcel(taken.name, shipment.object, size, manifest, upload=False)
            elif fresh:
                judged = self.watch.judge(to, fresh)
                lost |= judged.lost
                parcels[to] = Parcel(
                    taken.name, taken.object, taken.bytes, judged.manifest, upload=True
                )
        manifest = fresh or next(iter(parcels.values())).manifest
        alarm = on_hold(taken.name, lost) if lost else None
        if alarm is None:
            report_hold(taken.name, parcels, on_event)
        return Staged(taken, manifest, parcels, seconds, alarm)

    def _held(
        self, destination: Destination, name: str, sha256: str, on_event: Listener
    ) -> Shipment | None:
        """The shipment that makes an upload to this destination unnecessary."""
        shipment = self.shipments.get((destination.to, name))
        if (destination.to, name) in self.overtaken:
            # Shipped by another run since the listing was made, which knows nothing of it.
            return None
        if destination.error is None and is_lost(shipment, destination):
            text = f"the last snapshot is not whole at {destination.to} any more; shipping again"
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
        manifest = self.watch.before.get((destination.to, name), {})
        if not manifest or manifest["snapshot"]["object"] != newest.snapshot:
            return None
        if newest.snapshot == snapshot_object(name, newest.taken_at):
            return None
        return Shipment(destination.to, name, newest.snapshot, dict(manifest))

    def _new_name(self, name: str) -> tuple[datetime, str]:
        """The time of the snapshot and its object, whose token nobody else has.

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

    def learn(self, shipments: Mapping[tuple[str, str], Shipment]) -> None:
        """Take note of what other runs have shipped since this one began."""
        for key, shipment in shipments.items():
            if self.shipments.get(key) != shipment:
                self.shipments[key] = shipment
                self.overtaken.add(key)

    def _tell(self, taken: Taken, checked: Checked, on_event: Listener) -> None:
        violations = checked.foreign_key_violations
        said = "not checked" if self.check == "none" else f"{self.check} ok"
        size = wording.size(taken.bytes)
        on_event(Note(taken.name, f"snapshot {size} in {taken.seconds:.1f} s, {said}"))
        if violations:
            counted = wording.counted(violations, "foreign-key violation")
            text = f"{counted} (see PRAGMA foreign_key_check)"
            on_event(Note(taken.name, text, Level.WARNING))
        elif violations is None:
            text = "foreign keys could not be checked: one refers to columns that are not unique"
            on_event(Note(taken.name, text, Level.WARNING))
        for sentence in checked.unchecked:
            # What only the application has is no fault; anything else may be damage.
            level = Level.STEP if "no such" in sentence else Level.WARNING
            on_event(Note(taken.name, sentence, level))
