"""A backup run, from the live databases to confirmed snapshots at every destination.

    for each batch:   database -> snapshot -> sha256 -> check     (stage.py, one by one)
                                    |
                                    v
                      staging folder, at most BATCH_BYTES and one large snapshot
                                    |
                                    v
    for each destination:  snapshots -> manifests -> latest.json  (shipping.py, all at once)
                                    |
                                    v
                      keeper's own record, so that an unchanged day costs nothing
                                    |
                                    v
    for each destination:  what the retention rules let go        (prune.py, all at once)

What a destination held before comes from that record (previous.py), and losses
against it are an alarm (loss.py). A database is locked against other keeper runs
from its snapshot to its record.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import apsw

from sqlitekeeper.backups.destination import Destination, look
from sqlitekeeper.backups.loss import LossWatch
from sqlitekeeper.backups.manifest import Versions, timestamp
from sqlitekeeper.backups.marks import remembered_drills
from sqlitekeeper.backups.previous import Previous, previous_manifests
from sqlitekeeper.backups.prune import prune_after_backup
from sqlitekeeper.backups.rclone import Rclone
from sqlitekeeper.backups.results import BackupResult, BackupRun, Outcome, Seconds, Shipped
from sqlitekeeper.backups.retention import Policy
from sqlitekeeper.backups.shipping import SNAPSHOTS, Parcel, Shipper
from sqlitekeeper.backups.stage import Stage, Staged
from sqlitekeeper.backups.staging import remove_litter, staging_folder
from sqlitekeeper.database.proof import CheckKind
from sqlitekeeper.errors import (
    CheckError,
    KeeperError,
    LockedError,
    as_keeper_error,
)
from sqlitekeeper.events import Level, Listener, Note, Tick, ignore
from sqlitekeeper.state.history import History, Shipment
from sqlitekeeper.state.locks import database_lock

# A batch is shipped when it has grown to either; larger snapshots go alone.
BATCH_BYTES = 64 * 2**20
BATCH_DATABASES = 100


@dataclass(frozen=True, slots=True)
class Job:
    """One database to back up; an `optional` one may be absent."""

    name: str
    path: Path
    optional: bool = False


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """Where to, how proven, how long kept, and what surrounds the run.

    Without a `policy` nothing is ever deleted. `loss_alarm` is the share of its
    rows that a table may lose, but not in the databases of `accept_loss`.
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


def back_up(jobs: Sequence[Job], options: BackupOptions, listen: Listener = ignore) -> BackupRun:
    """Back up some databases; one that fails does not stop the others.

    Raises:
        KeeperError: nothing can be done at all: no rclone, no destination that
            answers, no staging folder, no state folder.
    """
    began = time.monotonic()
    for litter in remove_litter(options.staging):
        listen(Note("", f"removed {litter}, left by a run that was killed"))
    versions = Versions(options.keeper_version, apsw.sqlite_lib_version(), options.rclone.version())
    destinations = _look_at(options, listen)
    token = History(options.state).token()
    shipments = _remembered(options.state, listen)
    names = [job.name for job in jobs]
    previous = previous_manifests(options.rclone, destinations, shipments, names, listen)
    with staging_folder(options.staging) as folder:
        stage = Stage(
            folder=folder,
            destinations=destinations,
            shipments=shipments,
            check=options.check,
            force=options.force,
            host=options.host,
            versions=versions,
            clock=options.clock,
            listen=listen,
            watch=LossWatch(options.loss_alarm, options.accept_loss, previous.manifests),
        )
        run = _Run(options, stage, previous, Shipper(options.rclone, folder), listen, token)
        queue = deque(jobs)
        while queue:
            with ExitStack() as locks:
                run.ship(run.stage_batch(queue, locks))
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
    )


def _look_at(options: BackupOptions, listen: Listener) -> tuple[Destination, ...]:
    destinations = tuple(look(options.rclone, to) for to in options.to)
    errors = [destination.error for destination in destinations if destination.error]
    if len(errors) == len(destinations):
        raise errors[0]
    for error in errors:
        listen(Note("", str(error), Level.WARNING))
    return destinations


def _remembered(state: Path, listen: Listener) -> dict[tuple[str, str], Shipment]:
    try:
        return History(state).shipments()
    except KeeperError as error:
        listen(Note("", f"{error}; everything is shipped again", Level.WARNING))
        return {}


@dataclass(slots=True)
class _Run:
    options: BackupOptions
    stage: Stage
    previous: Previous
    shipper: Shipper
    listen: Listener
    token: tuple[tuple[int, int], ...]
    confirmed: dict[tuple[str, str], Parcel] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    results: dict[Path, BackupResult] = field(default_factory=dict)

    def stage_batch(self, queue: deque[Job], locks: ExitStack) -> list[Staged]:
        """Take jobs off the queue until there is a batch of snapshots to ship."""
        staged: list[Staged] = []
        while queue and len(staged) < BATCH_DATABASES:
            if sum(one.bytes for one in staged if not one.unchanged) >= BATCH_BYTES:
                break
            job = queue[0]
            try:
                if job.optional and not job.path.exists():
                    self._skip(job, f"{job.path}: no such file, and it is optional")
                else:
                    with ExitStack() as lock:
                        # Nobody is waited for with locks in hand: what is staged is shipped first.
                        wait = 0.0 if staged else self.options.lock_wait_seconds
                        state = self.options.state
                        lock.enter_context(database_lock(state, job.path, wait_seconds=wait))
                        self._catch_up()
                        staged.append(self.stage.prepare(job.name, job.path))
                        locks.enter_context(lock.pop_all())
            except LockedError as error:
                if staged:
                    break
                self._fail(job, error)
            except (KeeperError, OSError) as error:
                self._fail(job, as_keeper_error(error))
            queue.popleft()
        return staged

    def _catch_up(self) -> None:
        """Learn what another run has shipped before it gave the lock up."""
        history = History(self.options.state)
        if (token := history.token()) != self.token:
            self.token = token
            self.stage.learn(_remembered(self.options.state, self.listen))

    def _skip(self, job: Job, reason: str) -> None:
        self.results[job.path] = BackupResult(job.name, job.path, "skipped", reason)

    def _fail(self, job: Job, error: KeeperError) -> None:
        self.results[job.path] = BackupResult(
            job.name,
            job.path,
            "failed",
            error.full_text,
            check="failed" if isinstance(error, CheckError) else None,
            exit_code=error.exit_code,
        )

    def ship(self, staged: list[Staged]) -> None:
        """Ship a batch to every destination, record what was confirmed, and note the results."""
        if not staged:
            return
        began = time.monotonic()
        confirmed_at = timestamp(self.options.clock())
        errors: dict[tuple[str, str], str] = {}
        for destination in self.stage.destinations:
            parcels = [one.parcels[destination.to] for one in staged]
            if destination.error:
                problems = dict.fromkeys((p.database for p in parcels), destination.error.full_text)
            else:
                problems = self.shipper.ship(
                    destination,
                    parcels,
                    confirmed_at,
                    self._progress(sum(parcel.bytes for parcel in parcels if parcel.upload)),
                )
            errors |= {(destination.to, name): text for name, text in problems.items()}
        seconds = time.monotonic() - began
        shipments = []
        for one in staged:
            self.paths[one.name] = one.path
            (self.stage.folder / SNAPSHOTS / one.object).unlink(missing_ok=True)
            for to, parcel in one.parcels.items():
                if (to, one.name) not in errors:
                    paper = parcel.manifest | {"confirmed_at": confirmed_at}
                    shipments.append(Shipment(to, one.name, parcel.object, paper))
                    self.confirmed[to, one.name] = parcel
            self.results[one.path] = self._result(one, errors, seconds)
        try:
            History(self.options.state).add_shipments(shipments)
        except KeeperError as error:
            text = f"{error}; the next run ships everything again"
            self.listen(Note("", text, Level.WARNING))

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
                remembered_drills(self.options.state, destination.to, self.listen),
                self.options.clock(),
                self.listen,
            ).deleted
        return tuple(deleted)

    def _is_shared(self, key: tuple[str, str]) -> bool:
        """Whether another database was shipped there under this name, which is told."""
        to, name = key
        source = self.previous.manifests.get(key, {}).get("source", {})
        other = source.get("path") if isinstance(source, dict) else None
        if other is None or other == str(self.paths[name]):
            return False
        text = f"{to} has snapshots of {other} under this name too, so nothing is pruned there"
        text += "; unless it was moved, give one of the two another name in keeper.toml"
        self.listen(Note(name, text, Level.WARNING))
        return True

    def _progress(self, total: int) -> Callable[[int], None]:
        return lambda done: self.listen(Tick("", "upload", done, total))

    def _result(
        self, one: Staged, errors: dict[tuple[str, str], str], ship_seconds: float
    ) -> BackupResult:
        """One database's result, told as a log line too."""
        shipped = []
        for to, parcel in one.parcels.items():
            failed = (to, one.name) in errors
            outcome: Outcome = "failed" if failed else "uploaded" if parcel.upload else "unchanged"
            shipped.append(Shipped(to, None if failed else parcel.object, outcome, parcel.bytes))
            if outcome == "uploaded":
                text = f"shipped to {to} as {parcel.object} in {ship_seconds:.1f} s"
                self.listen(Note(one.name, text))
            elif outcome == "unchanged":
                text = f"unchanged, {to} holds it as {parcel.object}"
                self.listen(Note(one.name, text))
        problems = [errors[key] for key in errors if key[1] == one.name]
        reasons = [*problems, one.alarm] if one.alarm else problems
        checks = one.manifest["checks"]
        return BackupResult(
            one.name,
            one.path,
            "failed" if problems else "unchanged" if one.unchanged else "shipped",
            "; ".join(dict.fromkeys(reasons)) or None,
            bytes=one.bytes,
            sha256=one.sha256,
            check="none" if checks["kind"] == "none" else "ok",
            foreign_key_violations=checks["foreign_key_violations"],
            tables=one.manifest["tables"],
            shipped=tuple(shipped),
            seconds=Seconds(one.seconds.snapshot, one.seconds.check, round(ship_seconds, 3)),
            exit_code=CheckError.exit_code if one.alarm else 1 if problems else 0,
        )
