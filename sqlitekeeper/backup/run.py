"""A backup run, from the live databases to confirmed snapshots at every destination.

The listing of each destination comes first, the pipeline brings the databases
there, and in the end goes what the retention rules let go.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import apsw

from sqlitekeeper.backup.batch import batch_queues
from sqlitekeeper.backup.check import Checker
from sqlitekeeper.backup.encode import Encoder
from sqlitekeeper.backup.loss_alarm import LossAlarm
from sqlitekeeper.backup.model import Key
from sqlitekeeper.backup.pipeline import Pipeline
from sqlitekeeper.backup.previous_manifests import previous_manifests
from sqlitekeeper.backup.prune import Pruner
from sqlitekeeper.backup.publish import leave_restore_text
from sqlitekeeper.backup.record import RunRecord
from sqlitekeeper.backup.result import BackupRun
from sqlitekeeper.backup.snapshot import Staging
from sqlitekeeper.backup.unchanged import EarlierSnapshots
from sqlitekeeper.backup.upload import Uploader
from sqlitekeeper.backup.vanished import vanished
from sqlitekeeper.config.settings import Database, Store
from sqlitekeeper.database.check import CheckKind
from sqlitekeeper.destination.destination import Destination, list_destination, require_one_answers
from sqlitekeeper.destination.layout import random_token
from sqlitekeeper.destination.manifest import Versions
from sqlitekeeper.destination.retention import Policy
from sqlitekeeper.errors import KeeperError
from sqlitekeeper.events import Level, Listener, Note, ignore
from sqlitekeeper.filesystem.private_folder import remove_staging_litter, staging_folder
from sqlitekeeper.lock_wait import LockWait
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.remote_name import is_local
from sqlitekeeper.state.bases import Bases
from sqlitekeeper.state.folder import prepare_state_folder
from sqlitekeeper.state.history import History, Seen, Shipment
from sqlitekeeper.workers import one_at_a_time, result_of, worker_pool


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """Where to, how proven, how long kept, and what surrounds the run.

    Without a `policy` nothing is ever deleted. `jobs` is how many small databases
    are read at once. `loss_alarm` is the share of its
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
    store: Store = "plain"
    force: bool = False
    lock_wait_seconds: float = 60.0
    policy: Policy | None = None
    loss_alarm: float = 0.5
    accept_loss: frozenset[str] = frozenset()
    jobs: int = os.cpu_count() or 1
    configured: frozenset[str] | None = None
    token: Callable[[], str] = random_token


def back_up(
    databases: Sequence[Database], options: BackupOptions, on_event: Listener = ignore
) -> BackupRun:
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
    shipments, seen = _remembered(options.state, databases, on_event)
    _report_vanished(shipments, options, on_event)
    paths = {one.name: one.path for one in databases}
    previous = previous_manifests(options.rclone, destinations, shipments, paths, on_event)
    earlier = EarlierSnapshots(
        destinations,
        shipments,
        options.check,
        options.force,
        options.clock,
        options.token,
        previous.manifests,
    )

    record = RunRecord(options.state, on_event)
    with staging_folder(options.staging) as folder:
        staging = Staging(folder, earlier, seen)
        alarm = LossAlarm(options.loss_alarm, options.accept_loss, previous.manifests)
        checker = Checker(staging, options.check, options.host, versions, alarm)
        encoder = Encoder(staging, options.store, Bases(options.state), destinations, on_event)
        uploaders = [Uploader(options.rclone, folder, one) for one in destinations]
        with batch_queues(checker, encoder, uploaders, record, options.clock, on_event) as queues:
            Pipeline(
                staging,
                queues,
                record,
                options.state,
                options.jobs,
                LockWait(options.lock_wait_seconds),
                on_event,
            ).run(databases)

    for destination in destinations:
        leave_restore_text(options.rclone, destination, record.confirmed, on_event)
    pruned: tuple[str, ...] = ()
    if options.policy is not None:
        pruned = Pruner(
            options.rclone,
            options.policy,
            options.state,
            previous,
            record.confirmed,
            paths,
            options.clock(),
            on_event,
            options.store == "delta",
        ).prune(destinations)
    results = tuple(record.results[one.path] for one in databases)
    return BackupRun(
        results,
        sum(result.uploaded_bytes for result in results),
        round(time.monotonic() - began, 3),
        pruned,
        options.rclone.calls,
        options.rclone.uncounted_uploads,
        record.sources,
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
    shipments: Mapping[Key, Shipment], options: BackupOptions, on_event: Listener
) -> None:
    if options.configured is not None:
        gone = vanished(shipments, options.to, options.configured, options.clock())
        for name, text in gone.items():
            on_event(Note(name, text, Level.WARNING))


def _remembered(
    state: Path, databases: Sequence[Database], on_event: Listener
) -> tuple[dict[Key, Shipment], dict[Path, Seen]]:
    try:
        history = History(state)
        return history.shipments(), history.seen(one.path for one in databases)
    except KeeperError as error:
        on_event(Note("", f"{error}; everything is shipped again", Level.WARNING))
        return {}, {}
