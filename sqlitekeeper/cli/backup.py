"""`keeper backup`: the daily work."""

import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click

from sqlitekeeper import __version__
from sqlitekeeper.backups.pipeline import Job
from sqlitekeeper.backups.results import BackupResult, BackupRun
from sqlitekeeper.backups.run import BackupOptions, back_up
from sqlitekeeper.cli.completion import complete_folders, complete_names
from sqlitekeeper.cli.destinations import chosen, make_rclone, retention_policy
from sqlitekeeper.cli.memory import measured, remember
from sqlitekeeper.cli.outputs import (
    finish_and_write,
    metrics_file,
    metrics_on_failure,
    prometheus_option,
    refuse_rehearsal,
)
from sqlitekeeper.cli.session import Session, common_options, database_arguments, each, jobs_option
from sqlitekeeper.config import (
    Config,
    Database,
    refuse_claimed_names,
    refuse_place_of_files,
    select_databases,
)
from sqlitekeeper.database.measure import measure
from sqlitekeeper.errors import ConfigError
from sqlitekeeper.output.lines import show_backup, show_backup_total
from sqlitekeeper.output.prometheus import backup_metrics
from sqlitekeeper.output.terminal import Console
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
    help="Wait this long for another keeper run.",
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
        rehearsed = _rehearse(databases, destinations)
        return session.finish(
            rehearsed,
            show_backup,
            dry_run=True,
            uploaded_bytes=0,
            pruned=[],
            api_calls={},
            uncounted_uploads=0,
        )

    def all_failed(code: int) -> list[BackupResult]:
        return [BackupResult(d.name, d.path, "failed", exit_code=code) for d in databases]

    with metrics_on_failure(prometheus, backup_metrics, all_failed):
        options = BackupOptions(
            to=destinations,
            rclone=make_rclone(session, config),
            state=config.state,
            host=socket.gethostname(),
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
        run = back_up([Job(d.name, d.path, d.optional) for d in databases], options, session.listen)
    paths = (r.path for r in run.databases if r.outcome in ("shipped", "unchanged"))
    remember(session, config.state, measured(paths))
    return finish_and_write(
        session,
        run.databases,
        partial(_show, run),
        metrics_file(prometheus, backup_metrics, run.databases),
        uploaded_bytes=run.uploaded_bytes,
        pruned=list(run.pruned),
        api_calls=run.api_calls,
        uncounted_uploads=run.uncounted_uploads,
        seconds=run.seconds,
    )


def _show(run: BackupRun, console: Console, results: Sequence[BackupResult]) -> None:
    show_backup(console, results)
    show_backup_total(console, results, run)


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


def _rehearse(databases: Sequence[Database], destinations: Sequence[str]) -> list[BackupResult]:
    """What a run would do, as far as that can be said without doing it."""

    def work(database: Database) -> BackupResult:
        found = measure(database.path)
        where = ", ".join(destinations)
        text = f"dry run: would ship about {size(found.live_bytes)} to {where}, if it has changed"
        return BackupResult(database.name, database.path, "skipped", text, found.live_bytes)

    def otherwise(database: Database, outcome: str, reason: str, code: int) -> BackupResult:
        skipped = outcome == "skipped"
        return BackupResult(
            database.name,
            database.path,
            "skipped" if skipped else "failed",
            reason,
            exit_code=code,
        )

    return each(databases, work, otherwise)
