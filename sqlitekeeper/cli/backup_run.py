"""One run of `keeper backup`, once it is known what is to be done."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from sqlitekeeper import __version__
from sqlitekeeper.backup.result import BackupResult, BackupRun
from sqlitekeeper.backup.run import BackupOptions, back_up
from sqlitekeeper.cli.destinations import retention_policy
from sqlitekeeper.cli.extra_files import finish_and_write, metrics_file
from sqlitekeeper.cli.history import remember
from sqlitekeeper.cli.session import Session, run_each
from sqlitekeeper.config import Config, Database
from sqlitekeeper.config.names import this_host
from sqlitekeeper.database.files import sidecar, size_of
from sqlitekeeper.database.measure import measure
from sqlitekeeper.database.snapshot.snapshot import Source
from sqlitekeeper.errors import KeeperError
from sqlitekeeper.filesystem.atomic import write_whole
from sqlitekeeper.output.backup import show_backup, show_backup_total
from sqlitekeeper.output.prometheus import backup_metrics
from sqlitekeeper.output.terminal import Console
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.state.history import Sizes
from sqlitekeeper.wording import size


def run_backup(
    session: Session,
    config: Config,
    databases: Sequence[Database],
    destinations: tuple[str, ...],
    rclone: Rclone,
    *,
    force: bool,
    accept_loss: Iterable[str],
    lock_wait_seconds: float,
    jobs: int,
    prometheus: Path | None,
    is_all: bool,
) -> int:
    """Back up databases, `is_all` that there are or some; the exit status."""
    try:
        options = BackupOptions(
            to=destinations,
            rclone=rclone,
            state=config.state,
            host=this_host(),
            keeper_version=__version__,
            clock=partial(datetime.now, UTC),
            staging=config.backup.staging,
            check=config.backup.check,
            store=config.backup.store,
            force=force,
            lock_wait_seconds=lock_wait_seconds,
            policy=retention_policy(config) if config.backup.prune else None,
            loss_alarm=config.backup.loss_alarm,
            accept_loss=frozenset(accept_loss),
            jobs=jobs,
            configured=frozenset(one.name for one in config.databases) if is_all else None,
        )
        done = back_up(databases, options, session.on_event)
    except KeeperError as error:
        if prometheus:
            _write_failure(prometheus, databases, error)
        raise
    return _finish(session, config, done, prometheus)


def _finish(session: Session, config: Config, done: BackupRun, prometheus: Path | None) -> int:
    """Remember and show what came of it; the exit status."""
    sources = done.sources.items()
    remember(session, config.state, [(path, _sizes(one)) for path, one in sources])
    return finish_and_write(
        session,
        done.databases,
        partial(_show, done),
        metrics_file(prometheus, backup_metrics, done.databases),
        uploaded_bytes=done.uploaded_bytes,
        pruned=list(done.pruned),
        api_calls=done.api_calls,
        uncounted_uploads=done.uncounted_uploads,
        seconds=done.seconds,
    )


def _sizes(source: Source | None) -> Sizes | None:
    if source is None:
        return None
    wal_bytes = size_of(sidecar(source.path, "-wal"))
    return Sizes(source.bytes, source.free_pages * source.page_size, wal_bytes)


def _show(done: BackupRun, console: Console, results: Sequence[BackupResult]) -> None:
    show_backup(console, results)
    show_backup_total(console, results, done)


def rehearse(session: Session, databases: Sequence[Database], destinations: Sequence[str]) -> int:
    """What a run would do, as far as that can be said without doing it; the exit status."""

    def work(database: Database) -> BackupResult:
        found = measure(database.path)
        where = ", ".join(destinations)
        text = f"dry run: would ship about {size(found.live_bytes)} to {where}, if it has changed"
        return BackupResult(database.name, database.path, "skipped", text, found.live_bytes)

    return session.finish(
        run_each(databases, work, BackupResult),
        show_backup,
        dry_run=True,
        uploaded_bytes=0,
        pruned=[],
        api_calls={},
        uncounted_uploads=0,
    )


def _write_failure(prometheus: Path, databases: Sequence[Database], error: KeeperError) -> None:
    """When no database could be worked on, say so in the file of the metrics too."""
    code = error.exit_code
    failed = [BackupResult(one.name, one.path, "failed", exit_code=code) for one in databases]
    with suppress(KeeperError):
        for extra in metrics_file(prometheus, backup_metrics, failed):
            write_whole(extra.file, extra.text, extra.mode)
