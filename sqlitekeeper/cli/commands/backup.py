"""`keeper backup`: the daily work."""

from collections.abc import Sequence
from pathlib import Path

import click

from sqlitekeeper.cli.completion import complete_folders, complete_names
from sqlitekeeper.cli.destinations import chosen, make_rclone
from sqlitekeeper.cli.extra_files import refuse_rehearsal
from sqlitekeeper.cli.options import (
    common_options,
    database_arguments,
    jobs_option,
    prometheus_option,
)
from sqlitekeeper.cli.session import Session
from sqlitekeeper.config import (
    Config,
    Database,
    refuse_claimed_names,
    refuse_place_of_files,
    select_databases,
)
from sqlitekeeper.errors import ConfigError
from sqlitekeeper.store.library import zstd_library

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
    help="Confirm what this database has lost: no alarm, and prune it again.",
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
    if config.backup.store != "plain":
        zstd_library()
    rclone = make_rclone(session, config)
    with rclone.listing_ahead(() if dry_run else destinations):
        # Late: it takes as long to load as rclone to start.
        from sqlitekeeper.cli.backup_run import rehearse, run_backup

        if dry_run:
            return rehearse(session, databases, destinations)
        return run_backup(
            session,
            config,
            databases,
            destinations,
            rclone,
            force=force,
            accept_loss=accept_loss,
            lock_wait_seconds=lock_wait,
            jobs=jobs,
            prometheus=prometheus,
            is_all=not names,
        )


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
