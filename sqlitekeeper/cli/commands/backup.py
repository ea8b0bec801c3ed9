"""`keeper backup`: the daily work."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click

from sqlitekeeper import __version__
from sqlitekeeper.backup.result import BackupResult, BackupRun
from sqlitekeeper.backup.run import BackupOptions, back_up
from sqlitekeeper.cli.completion import complete_folders, complete_names
from sqlitekeeper.cli.destinations import chosen, make_rclone, retention_policy
from sqlitekeeper.cli.extra_files import finish_and_write, metrics_file, refuse_rehearsal
from sqlitekeeper.cli.history import remember
from sqlitekeeper.cli.options import (
    common_options,
    database_arguments,
    jobs_option,
    prometheus_option,
)
from sqlitekeeper.cli.session import Session, run_each
from sqlitekeeper.config import (
    Config,
    Database,
    refuse_claimed_names,
    refuse_place_of_files,
    select_databases,
)
from sqlitekeeper.config.names import this_host
from sqlitekeeper.database.files import sidecar, size_of
from sqlitekeeper.database.measure import measure
from sqlitekeeper.database.snapshot.snapshot import Source
from sqlitekeeper.errors import ConfigError, KeeperError
from sqlitekeeper.filesystem.atomic import write_whole
from sqlitekeeper.output.backup import show_backup, show_backup_total
from sqlitekeeper.output.prometheus import backup_metrics
from sqlitekeeper.output.terminal import Console
from sqlitekeeper.state.history import Sizes
from sqlitekeeper.wording import size

HELP = """Take snapshots, prove them, and ship them with rclone.

Each database is copied with VACUUM INTO while the application goes on, checked
(integrity, foreign keys, row counts, sha256) and uploaded; it counts as shipped
when the destination itself says so. What has not changed is not uploaded again.
Then those snapshots go that no retention rule keeps.

A table that is gone, or has lost more than half of its rows, is an alarm (exit
status 12), and nothing of that database is pruned until --accept-loss.

\b
  keeper backup storage/production.sqlite3 --to b2:my-bucket/web1
"""


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


def _rehearse(session: Session, databases: Sequence[Database], destinations: Sequence[str]) -> int:
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


@click.command("backup", help=HELP)
@database_arguments
@click.option(
    "--to",
    "to",
    multiple=True,
    metavar="REMOTE",
    shell_complete=complete_folders,
    help="An rclone path or a local folder; repeat it for several.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, change nothing.")
@click.option("--force", is_flag=True, help="Also ship what has not changed.")
@click.option(
    "--accept-loss",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_names,
    help="What this database has lost is well: no alarm, and prune it again.",
)
@click.option(
    "--lock-wait",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Wait this long for other keeper runs, in all.",
)
@jobs_option
@prometheus_option
@common_options
def command(
    session: Session,
    names: tuple[str, ...],
    to: tuple[str, ...],
    dry_run: bool,
    force: bool,
    accept_loss: tuple[str, ...],
    lock_wait: float,
    jobs: int,
    prometheus: Path | None,
) -> int:
    """Back up each database, and say where it is now."""
    config = session.config()
    refuse_rehearsal(prometheus, dry_run)
    databases = _wanted(config, names)
    _refuse_unknown(accept_loss, databases)
    destinations = chosen(config, to, "--to")
    refuse_place_of_files(config.files, destinations, "--to")
    if dry_run:
        return _rehearse(session, databases, destinations)

    try:
        options = BackupOptions(
            to=destinations,
            rclone=make_rclone(session, config),
            state=config.state,
            host=this_host(),
            keeper_version=__version__,
            clock=partial(datetime.now, UTC),
            staging=config.backup.staging,
            check=config.backup.check,
            force=force,
            lock_wait_seconds=lock_wait,
            policy=retention_policy(config) if config.backup.prune else None,
            loss_alarm=config.backup.loss_alarm,
            accept_loss=frozenset(accept_loss),
            jobs=jobs,
            configured=None if names else frozenset(one.name for one in config.databases),
        )
        done = back_up(databases, options, session.on_event)
    except KeeperError as error:
        if prometheus:
            _write_failure(prometheus, databases, error)
        raise
    return _finish(session, config, done, prometheus)


def _write_failure(prometheus: Path, databases: list[Database], error: KeeperError) -> None:
    """When no database could be worked on, say so in the file of the metrics too."""
    code = error.exit_code
    failed = [BackupResult(one.name, one.path, "failed", exit_code=code) for one in databases]
    with suppress(KeeperError):
        for extra in metrics_file(prometheus, backup_metrics, failed):
            write_whole(extra.file, extra.text, extra.mode)


def _wanted(config: Config, names: tuple[str, ...]) -> list[Database]:
    """Those that were named, or all that are configured to be backed up."""
    databases = select_databases(config, names)
    if not names:
        databases = tuple(database for database in databases if database.backup)
        if not databases:
            raise ConfigError(
                f"{config.file}: every database has backup = false",
                hint="name one to back it up all the same",
            )
    refuse_claimed_names(config, databases)
    return list(databases)


def _refuse_unknown(accepted: tuple[str, ...], databases: Sequence[Database]) -> None:
    names = [database.name for database in databases]
    for name in accepted:
        if name not in names:
            raise ConfigError(
                f"--accept-loss {name}: no database of this run has this name",
                hint=f"there are: {', '.join(names[:20])}",
            )
