"""Drills: download snapshots, prove that they restore, and leave the result beside them.

    listing -> choice of a snapshot -> manifests (one rclone run) -> snapshots, one by one
            -> proof -> drill records at the destination (one rclone run for each batch)

Nothing here looks at a live database.
"""

import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from sqlitekeeper.destination.catalog import (
    DatabaseCatalog,
    DrillOutcome,
    Snapshot,
    Subject,
)
from sqlitekeeper.destination.choose import LATEST, choose, longest_undrilled, promised_snapshots
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.download import base_problem, fetch_snapshot
from sqlitekeeper.destination.drill_records import (
    DrillRecord,
    drill_records_of,
    last_drills,
    write_drill_records,
)
from sqlitekeeper.destination.layout import latest_object, manifest_object, parse_object
from sqlitekeeper.destination.manifest import Manifest, ManifestError, NewerFormatError, timestamp
from sqlitekeeper.destination.metadata import read_manifest, try_metadata
from sqlitekeeper.errors import CheckError, KeeperError, as_keeper_error
from sqlitekeeper.events import Level, Listener, Note, ignore
from sqlitekeeper.filesystem.private_folder import remove_staging_litter, staging_folder
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.errors import RcloneError
from sqlitekeeper.rclone.listing import RemoteObject
from sqlitekeeper.restore.verify import Verification, contradiction, verify
from sqlitekeeper.result import Result
from sqlitekeeper.state.history import History, remembered_drills

# An interrupted run of many drills keeps the drill records of all but the last few.
BATCH = 50


@dataclass(frozen=True, slots=True)
class DrillOptions:
    """Which snapshot, and what surrounds the run.

    `at` is what `choose` takes; with `rotate` it is the snapshot whose last
    drill is the longest ago instead, never drilled ones first, the oldest of
    them first.
    """

    rclone: Rclone
    staging: Path
    state: Path
    host: str
    clock: Callable[[], datetime]
    at: str = LATEST
    rotate: bool = False


@dataclass(frozen=True, slots=True)
class DrillResult(Result):
    """One snapshot's drill; None where it ended before it came to that."""

    outcome: Literal["proven", "failed", "skipped"]
    to: str | None = None
    object: str | None = None
    taken_at: str | None = None
    bytes: int = 0
    sha256_ok: bool | None = None
    check: Literal["ok", "failed"] | None = None
    rows_ok: bool | None = None
    check_remarks: tuple[str, ...] = ()
    seconds: float = 0.0


def drill(
    subjects: Sequence[Subject],
    destinations: Sequence[Destination],
    options: DrillOptions,
    on_event: Listener = ignore,
) -> list[DrillResult]:
    """Drill every database at every destination; one that fails does not stop the others.

    Raises:
        KeeperError: there is no staging folder.
    """
    for litter in remove_staging_litter(options.staging):
        on_event(Note("", f"removed {litter}, left by a run that was killed"))
    results: dict[tuple[str, str], DrillResult] = {}
    with staging_folder(options.staging) as folder:
        for destination in destinations:
            work = _AtDestination(destination, options, folder, on_event)
            for result in work.drill(subjects):
                results[result.name, destination.to] = result
    return [results[subject.name, d.to] for subject in subjects for d in destinations]


@dataclass(slots=True)
class _AtDestination:
    destination: Destination
    options: DrillOptions
    folder: Path
    on_event: Listener
    metadata: dict[str, bytes] = field(default_factory=dict)
    metadata_error: RcloneError | None = None
    unwritten: list[DrillRecord] = field(default_factory=list)

    @property
    def to(self) -> str:
        return self.destination.to

    @property
    def listing(self) -> dict[str, RemoteObject]:
        return self.destination.listing or {}

    def drill(self, subjects: Sequence[Subject]) -> list[DrillResult]:
        if self.destination.error:
            return [self._failed(one, None, self.destination.error) for one in subjects]
        chosen = self._choose(subjects, self.destination.catalog)
        found = [one for one in chosen.values() if isinstance(one, Snapshot)]
        self._fetch_metadata(found)
        results = []
        for subject in subjects:
            choice = chosen[subject.name]
            if isinstance(choice, KeeperError):
                results.append(self._failed(subject, None, choice))
            else:
                results.append(self._one(subject, choice))
            if len(self.unwritten) >= BATCH:
                self._write_drill_records()
        self._write_drill_records()
        return results

    def _choose(
        self, subjects: Iterable[Subject], catalogs: dict[str, DatabaseCatalog]
    ) -> dict[str, Snapshot | KeeperError]:
        promised = {
            s.name: promised_snapshots(self.to, catalogs[s.name]) if s.name in catalogs else []
            for s in subjects
        }
        last = self._last_drills(promised.values()) if self.options.rotate else {}
        chosen: dict[str, Snapshot | KeeperError] = {}
        for name, snapshots in promised.items():
            try:
                if not snapshots:
                    raise CheckError(f"no snapshot at {self.to}")
                chosen[name] = (
                    longest_undrilled(snapshots, last)
                    if self.options.rotate
                    else choose(snapshots, self.options.at, self.options.clock())
                )
            except KeeperError as error:
                chosen[name] = error
        return chosen

    def _last_drills(self, catalogs: Iterable[list[Snapshot]]) -> dict[str, datetime]:
        """When snapshots were last drilled, by object, as far as that is known."""
        snapshots = [snapshot for catalog in catalogs for snapshot in catalog]
        contents, error = try_metadata(self.options.rclone, self.to, drill_records_of(snapshots))
        if error:
            self._warn("", f"some records of earlier drills cannot be read: {error.full_text}")
        remembered = remembered_drills(self.options.state, self.to, self.on_event)
        found = last_drills(snapshots, contents, remembered, self.options.clock())
        return {name: last.at for name, last in found.items() if last.at}

    def _fetch_metadata(self, snapshots: Sequence[Snapshot]) -> None:
        """The manifests of what was chosen and, where it matters, each latest.json."""
        paths = [manifest_object(snapshot.object) for snapshot in snapshots]
        if self._newest_is_asked:
            paths += [latest_object(snapshot.database) for snapshot in snapshots]
        objects = [self.listing[path] for path in paths if path in self.listing]
        self.metadata, self.metadata_error = try_metadata(self.options.rclone, self.to, objects)

    @property
    def _newest_is_asked(self) -> bool:
        return not self.options.rotate and self.options.at == LATEST

    def _one(self, subject: Subject, snapshot: Snapshot) -> DrillResult:
        began = time.monotonic()
        try:
            snapshot = self._newer_by_latest(snapshot)
            verification = self._verify(snapshot)
        except (KeeperError, OSError) as error:
            trouble = as_keeper_error(error)
            if not isinstance(trouble, CheckError):
                return self._failed(subject, snapshot, trouble)
            verification = Verification(problem=trouble.full_text)
        finally:
            shutil.rmtree(self.folder / snapshot.database, ignore_errors=True)
        for remark in verification.remarks:
            self._warn(subject.name, remark)
        reason = (
            f"{snapshot.object} at {self.to}: {verification.problem}"
            if verification.problem
            else None
        )
        outcome: DrillOutcome = "failed" if reason else "proven"
        record = DrillRecord(snapshot.object, self.options.clock(), outcome, verification.problem)
        self.unwritten.append(record)
        seconds = round(time.monotonic() - began, 3)
        if not reason:
            text = f"{snapshot.object} at {self.to} proven in {seconds:.1f} s"
            self.on_event(Note(subject.name, text))
        return DrillResult(
            subject.name,
            subject.path,
            outcome,
            reason,
            to=self.to,
            object=snapshot.object,
            taken_at=timestamp(snapshot.taken_at),
            bytes=snapshot.bytes,
            sha256_ok=verification.sha256_ok,
            check=verification.check,
            rows_ok=verification.rows_ok,
            check_remarks=verification.check_remarks,
            seconds=seconds,
            exit_code=CheckError.exit_code if reason else 0,
        )

    def _newer_by_latest(self, snapshot: Snapshot) -> Snapshot:
        """What latest.json names as the newest, where that is not there any more.

        It may be younger than the listing; so the destination is asked again.
        """
        path = latest_object(snapshot.database)
        if not self._newest_is_asked or path not in self.listing:
            return snapshot
        latest = read_manifest(self.listing[path], self.metadata, self.to)
        if isinstance(latest, ManifestError):
            self._warn(snapshot.database, latest.full_text)
            return snapshot
        named = parse_object(latest.object)
        if (
            named is None
            or named.database != snapshot.database
            or (named.taken_at, latest.object) <= (snapshot.taken_at, snapshot.object)
            or self.options.rclone.confirm(self.to, [latest.object])
        ):
            return snapshot
        return Snapshot(snapshot.database, self.to, latest.object, named.taken_at, 0)

    def _verify(self, snapshot: Snapshot) -> Verification:
        """Fetch a snapshot and prove it.

        Raises:
            CheckError: it is not there, or not what was once stored.
            KeeperError: nothing can be said of it.
        """
        if snapshot.object not in self.listing:
            raise CheckError("is missing, although its manifest or latest.json lists it")
        manifest = self._manifest(snapshot)
        if found := contradiction(snapshot, manifest):
            return found
        if lack := base_problem(self.destination, manifest):
            raise CheckError(lack)
        file = fetch_snapshot(
            self.options.rclone,
            self.to,
            snapshot,
            self.folder,
            self.on_event,
            manifest=manifest,
            what="the drill",
            hint="point backup.staging in keeper.toml at a larger file system",
        )
        return verify(file, manifest, self.on_event)

    def _manifest(self, snapshot: Snapshot) -> Manifest:
        item = self.listing[manifest_object(snapshot.object)]
        manifest = read_manifest(item, self.metadata, self.to)
        if isinstance(manifest, Manifest):
            return manifest
        if isinstance(manifest, NewerFormatError):
            raise manifest
        if item.path not in self.metadata and self.metadata_error:
            raise self.metadata_error
        raise CheckError(manifest.message)

    def _write_drill_records(self) -> None:
        records, self.unwritten = self.unwritten, []
        refused = write_drill_records(
            self.options.rclone, self.destination, records, self.options.host, self.on_event
        )
        try:
            if refused:
                History(self.options.state).add_drills(self.to, refused, self.listing.keys())
        except (KeeperError, OSError) as error:
            self._warn("", f"the drill is not remembered: {error}")

    def _failed(
        self, subject: Subject, snapshot: Snapshot | None, error: KeeperError
    ) -> DrillResult:
        """A drill that did not come to a proof, so that nothing is known of the snapshot."""
        return DrillResult(
            subject.name,
            subject.path,
            "failed",
            error.full_text,
            to=self.to,
            object=snapshot.object if snapshot else None,
            taken_at=timestamp(snapshot.taken_at) if snapshot else None,
            bytes=snapshot.bytes if snapshot else 0,
            exit_code=error.exit_code,
        )

    def _warn(self, name: str, text: str) -> None:
        self.on_event(Note(name, text, Level.WARNING))
