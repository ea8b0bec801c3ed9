"""`keeper backup`: the daily work."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from sqlitekeeper.cli.completion import complete_folders, complete_names
from sqlitekeeper.cli.destinations import chosen, make_rclone
from sqlitekeeper.cli.outputs import metrics_file, prometheus_option, refuse_rehearsal
from sqlitekeeper.cli.session import Session, common_options, database_arguments, jobs_option
from sqlitekeeper.config import (
    Config,
    Database,
    refuse_claimed_names,
    refuse_place_of_files,
    select_databases,
)
from sqlitekeeper.errors import ConfigError, KeeperError
from sqlitekeeper.output.whole_file import write_whole
from sqlitekeeper.workers import crew

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
        from sqlitekeeper.cli.backup_run import rehearse

        return rehearse(session, databases, destinations)

    try:
        rclone = make_rclone(session, config)
        with crew(len(destinations)) as listers:
            for one in destinations:
                rclone.list_ahead(listers, one)
            # It takes about as long to load the rest of keeper as to list a destination.
            from sqlitekeeper.cli.backup_run import BackupRequest, run, tell

            request = BackupRequest(
                databases,
                destinations,
                whole=not names,
                force=force,
                accept_loss=frozenset(accept_loss),
                lock_wait_seconds=lock_wait,
                jobs=jobs,
            )
            done = run(session, config, request, rclone)
    except KeeperError as error:
        if prometheus:
            _write_failure(prometheus, databases, error)
        raise
    return tell(session, config, done, prometheus)


def _write_failure(prometheus: Path, databases: list[Database], error: KeeperError) -> None:
    """When no database could be worked on, say so in the file of the metrics too."""
    # Late, since it is loaded for nothing as a rule.
    from sqlitekeeper.backups.results import BackupResult
    from sqlitekeeper.output.prometheus import backup_metrics

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
