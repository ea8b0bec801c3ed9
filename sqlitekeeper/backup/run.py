"""A backup run, from the live databases to confirmed snapshots at every destination.

The listing of each destination comes first, the pipeline brings the databases
there, and in the end goes what the retention rules let go. What a destination
held before comes from keeper's own record (previous.py), and losses against it
are an alarm (loss.py). A database is locked against other keeper runs from its
snapshot to its record.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import apsw

from sqlitekeeper.backup.batch import Dispatch
from sqlitekeeper.backup.loss_alarm import LossAlarm
from sqlitekeeper.backup.model import Delivered, Parcel, Taken
from sqlitekeeper.backup.pipeline import Job, run_pipeline
from sqlitekeeper.backup.previous_manifests import Previous, previous_manifests
from sqlitekeeper.backup.prune import prune_after_backup
from sqlitekeeper.backup.publish import failed
from sqlitekeeper.backup.result import BackupResult, BackupRun
from sqlitekeeper.backup.snapshot import Stage
from sqlitekeeper.backup.upload import Shipper
from sqlitekeeper.backup.vanished import vanished
from sqlitekeeper.database.check import CheckKind
from sqlitekeeper.database.files import sidecar, size_of
from sqlitekeeper.database.snapshot.snapshot import SPARE_BYTES, Source
from sqlitekeeper.destination.destination import Destination, list_destination, require_one_answers
from sqlitekeeper.destination.layout import random_token
from sqlitekeeper.destination.manifest import Versions
from sqlitekeeper.destination.retention import Policy
from sqlitekeeper.errors import KeeperError, as_keeper_error
from sqlitekeeper.events import Level, Listener, Note, ignore
from sqlitekeeper.filesystem.disks import free_bytes
from sqlitekeeper.filesystem.private_folder import remove_staging_litter, staging_folder
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.remote_name import is_local
from sqlitekeeper.state.folder import prepare_state_folder
from sqlitekeeper.state.history import History, Seen, Shipment, remembered_drills
from sqlitekeeper.state.locks import database_lock
from sqlitekeeper.workers import Place, one_at_a_time, result_of, worker_pool


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """Where to, how proven, how long kept, and what surrounds the run.

    Without a `policy` nothing is ever deleted. `jobs` is how many databases are
    read at once, of large ones two at the most. `loss_alarm` is the share of its
    rows that a table may lose, but not in the databases of `accept_loss`.
    `configured` are the names of all databases that there are, so that one that
    has vanished is told; None tells of none.
    """

    to: tuple[str, ...]
    rclone: Rclone
    state: Path
    host: str
    keeper_version: str
    clock: Callable[[], datetime]
    staging: Path = Path("/var/tmp")  # noqa: S108 (a private folder is made in it)
    check: CheckKind = "integrity"
    force: bool = False
    lock_wait_seconds: float = 60.0
    policy: Policy | None = None
    loss_alarm: float = 0.5
    accept_loss: frozenset[str] = frozenset()
    jobs: int = os.cpu_count() or 1
    configured: frozenset[str] | None = None
    token: Callable[[], str] = random_token


def back_up(jobs: Sequence[Job], options: BackupOptions, on_event: Listener = ignore) -> BackupRun:
    """Back up some databases; one that fails does not stop the others.

    Raises:
        KeeperError: nothing can be done at all: no rclone, no destination that
            answers, no staging folder, no state folder.
    """
    began = time.monotonic()
    on_event = one_at_a_time(on_event)
    # The staging folder may be the same.
    prepare_state_folder(options.state)
    for litter in remove_staging_litter(options.staging):
        on_event(Note("", f"removed {litter}, left by a run that was killed"))
    versions = Versions(options.keeper_version, apsw.sqlite_lib_version(), _rclone_version(options))
    destinations = _list_destinations(options, on_event)
    shipments, seen = _remembered(options.state, jobs, on_event)
    _report_vanished(shipments, options, on_event)
    names = [job.name for job in jobs]
    previous = previous_manifests(options.rclone, destinations, shipments, names, on_event)
    with (
        staging_folder(options.staging) as folder,
        worker_pool(1) as prover,
        ExitStack() as crews,
    ):
        stage = Stage(
            folder=folder,
            destinations=destinations,
            shipments=shipments,
            check=options.check,
            force=options.force,
            host=options.host,
            versions=versions,
            clock=options.clock,
            watch=LossAlarm(options.loss_alarm, options.accept_loss, previous.manifests),
            seen=seen,
            token=options.token,
        )
        shipper = Shipper(options.rclone, folder)
        readers = {to: crews.enter_context(worker_pool(1)) for to in options.to}
        dispatch = Dispatch(stage, shipper, options.clock, on_event, prover, readers)
        run = _Run(options, stage, previous, dispatch, on_event)
        run_pipeline(run, deque(run.present(jobs)), options.jobs, on_event)
    pruned = run.prune()
    uploaded_bytes = sum(
        shipped.bytes
        for result in run.results.values()
        for shipped in result.shipped
        if shipped.outcome == "uploaded"
    )
    return BackupRun(
        tuple(run.results[job.path] for job in jobs),
        uploaded_bytes,
        round(time.monotonic() - began, 3),
        pruned,
        options.rclone.calls,
        options.rclone.uncounted_uploads,
        run.sources,
    )


def _rclone_version(options: BackupOptions) -> str:
    """rclone's version, for the manifests; folders of this host need none."""
    return "none" if all(map(is_local, options.to)) else options.rclone.version()


def _list_destinations(options: BackupOptions, on_event: Listener) -> tuple[Destination, ...]:
    with worker_pool(len(options.to)) as listers:
        listings = [listers.submit(list_destination, options.rclone, to) for to in options.to]
        destinations = tuple(map(result_of, listings))
    for error in require_one_answers(destinations):
        on_event(Note("", error.full_text, Level.WARNING))
    return destinations


def _report_vanished(
    shipments: Mapping[tuple[str, str], Shipment], options: BackupOptions, on_event: Listener
) -> None:
    if options.configured is not None:
        gone = vanished(shipments, options.to, options.configured, options.clock())
        for name, text in gone.items():
            on_event(Note(name, text, Level.WARNING))


def _remembered(
    state: Path, jobs: Sequence[Job], on_event: Listener
) -> tuple[dict[tuple[str, str], Shipment], dict[Path, Seen]]:
    try:
        history = History(state)
        return history.shipments(), history.seen(job.path for job in jobs)
    except KeeperError as error:
        on_event(Note("", f"{error}; everything is shipped again", Level.WARNING))
        return {}, {}


@dataclass(slots=True)
class _Run:
    """The stations of the pipeline, and what has come of each database."""

    options: BackupOptions
    stage: Stage
    previous: Previous
    dispatch: Dispatch
    on_event: Listener
    confirmed: dict[tuple[str, str], Parcel] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    results: dict[Path, BackupResult] = field(default_factory=dict)
    sources: dict[Path, Source | None] = field(default_factory=dict)
    waited_seconds: float = 0.0

    def present(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs without those whose database is not there, and need not be."""
        found = []
        for job in jobs:
            try:
                if job.optional and not job.path.exists():
                    reason = f"{job.path}: no such file, and it is optional"
                    self.results[job.path] = BackupResult(job.name, job.path, "skipped", reason)
                else:
                    found.append(job)
            except OSError as error:
                self.fail(job, as_keeper_error(error))
        return found

    def expected_bytes(self, job: Job) -> int:
        """The size of the database with its WAL, or 0 if it has to be read by nobody."""
        if self.stage.is_untouched(job.name, job.path):
            return 0
        try:
            return size_of(job.path) + size_of(sidecar(job.path, "-wal"))
        except OSError:
            return 0  # taking its snapshot will say why it cannot be reached

    def has_room(self, size: int) -> bool:
        """Whether two snapshots of so many bytes together fit into the staging folder now."""
        return free_bytes(self.stage.folder) >= size + 2 * SPARE_BYTES

    def lock(self, job: Job, *, wait: bool) -> ExitStack:
        """Lock a database against other keeper runs.

        All waiting of the run together is bounded: one that hangs with a hundred locks
        must not keep this one for a hundred times as long.
        """
        seconds = max(0.0, self.options.lock_wait_seconds - self.waited_seconds) if wait else 0.0
        began = time.monotonic()
        try:
            with ExitStack() as lock:
                state = self.options.state
                lock.enter_context(database_lock(state, job.path, wait_seconds=seconds))
                return lock.pop_all()
        finally:
            self.waited_seconds += time.monotonic() - began

    def prepare(self, jobs: list[Job]) -> None:
        """Learn what other runs had shipped before they gave the locks up."""
        try:
            self.stage.learn(History(self.options.state).shipments([job.name for job in jobs]))
        except KeeperError as error:
            self.on_event(Note("", f"{error}; everything is shipped again", Level.WARNING))

    def take(self, job: Job, on_event: Listener) -> Taken:
        """Make a snapshot."""
        return self.stage.take(job.name, job.path, on_event)

    def fail(self, job: Job, error: KeeperError) -> None:
        """Note why a database is not backed up."""
        self.results[job.path] = failed(job.name, job.path, error)

    def deliver(self, batch: list[Taken], place: Place) -> Delivered:
        """Prove and upload a batch."""
        return self.dispatch.deliver(batch, place)

    def finish(self, batches: Sequence[Delivered]) -> None:
        """Announce batches, and remember what was confirmed."""
        finished = self.dispatch.announce(batches)
        shipments = []
        for one in finished:
            self.results[one.result.path] = one.result
            self.paths[one.result.name] = one.result.path
            self.sources[one.result.path] = one.taken.source
            for to, parcel in one.confirmed.items():
                self.confirmed[to, parcel.database] = parcel
                entry = parcel.manifest | {"confirmed_at": one.confirmed_at}
                shipments.append(Shipment(to, parcel.database, parcel.object, entry))
        seen = [one.taken.seen for one in finished if one.taken.seen and one.confirmed]
        try:
            History(self.options.state).add_shipments(shipments, seen)
        except KeeperError as error:
            text = f"{error}; the next run ships everything again"
            self.on_event(Note("", text, Level.WARNING))

    def prune(self) -> tuple[str, ...]:
        """Apply the retention rules to what this run has confirmed; the deleted objects."""
        if self.options.policy is None:
            return ()
        deleted: list[str] = []
        for destination in self.stage.destinations:
            parcels = [
                parcel
                for key, parcel in self.confirmed.items()
                if key[0] == destination.to
                and key not in self.previous.unread
                and not self._is_shared(key)
            ]
            deleted += prune_after_backup(
                self.options.rclone,
                destination,
                parcels,
                self.options.policy,
                remembered_drills(self.options.state, destination.to, self.on_event),
                self.options.clock(),
                self.on_event,
            ).deleted
        return tuple(deleted)

    def _is_shared(self, key: tuple[str, str]) -> bool:
        """Whether another database was shipped there under this name, which is told."""
        to, name = key
        source = self.previous.manifests.get(key, {}).get("source", {})
        path = source.get("path") if isinstance(source, dict) else None
        if path is not None and path != str(self.paths[name]):
            others = f"of {path}"
            way_out = "unless it was moved, give one of the two another name in keeper.toml"
        elif host := self.previous.others.get(key):
            others = f"from {host}"
            way_out = "have each host ship to a place of its own, such as one with {hostname} in it"
        else:
            return False
        text = f"{to} has snapshots {others} under this name too, so nothing is pruned there"
        self.on_event(Note(name, f"{text}; {way_out}", Level.WARNING))
        return True
