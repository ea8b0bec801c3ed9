"""`keeper vacuum`: the hourly work."""

from dataclasses import replace
from pathlib import Path

import click

from sqlitekeeper.cli.extra_files import finish_and_write, metrics_file, refuse_rehearsal
from sqlitekeeper.cli.history import remember
from sqlitekeeper.cli.options import (
    common_options,
    database_arguments,
    jobs_option,
    prometheus_option,
)
from sqlitekeeper.cli.session import Session, each_at_once
from sqlitekeeper.config import Database, select_databases
from sqlitekeeper.database.maintain.checkpoint import CheckpointMode
from sqlitekeeper.database.maintain.pointer_map import fault_behind
from sqlitekeeper.database.maintain.vacuum import VacuumOptions, VacuumResult, vacuum
from sqlitekeeper.errors import CheckError, LockedError
from sqlitekeeper.events import Listener
from sqlitekeeper.output.maintenance import show_vacuum
from sqlitekeeper.output.prometheus import vacuum_metrics
from sqlitekeeper.state.history import Sizes
from sqlitekeeper.state.locks import database_lock
from sqlitekeeper.state.pointer_maps import remember_map, wrong_map

HELP = """Free some pages and truncate the WAL, without holding the application up.

Frees at most 1,000 pages of each database in short transactions, then
checkpoints. Databases that cannot be vacuumed (read-only, without auto-vacuum)
are skipped with a word.

\b
  keeper vacuum storage/production.sqlite3
"""


@click.command("vacuum", help=HELP)
@database_arguments
@click.option("--pages", type=click.IntRange(min=0), help="Free at most this many; 0: all.")
@click.option("--all", "everything", is_flag=True, help="Free all free pages, in small batches.")
@click.option(
    "--budget",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Start no further batch after this long, for each database.",
)
@click.option(
    "--max-lock-ms",
    type=click.IntRange(min=1),
    help="The longest that one write transaction should last.",
)
@click.option(
    "--keep-free-pages",
    type=click.IntRange(min=0),
    help="Leave this many free pages for the application to reuse.",
)
@click.option(
    "--checkpoint",
    "mode",
    type=click.Choice(["truncate", "passive", "none"]),
    help="What becomes of the WAL; passive makes no writer wait.",
)
@click.option("--no-checkpoint", is_flag=True, help="Leave the WAL as it is: --checkpoint none.")
@click.option("--optimize", is_flag=True, help="Also run PRAGMA optimize.")
@click.option("--dry-run", is_flag=True, help="Say what would be freed, change nothing.")
@jobs_option
@prometheus_option
@common_options
def command(
    session: Session,
    names: tuple[str, ...],
    pages: int | None,
    everything: bool,
    budget: float | None,
    max_lock_ms: int | None,
    keep_free_pages: int | None,
    mode: CheckpointMode | None,
    no_checkpoint: bool,
    optimize: bool,
    dry_run: bool,
    jobs: int,
    prometheus: Path | None,
) -> int:
    """Vacuum each database, and remember its size."""
    config = session.config()
    if everything and pages is not None:
        raise click.UsageError("--all and --pages contradict each other")
    if no_checkpoint and mode not in (None, "none"):
        raise click.UsageError(f"--no-checkpoint and --checkpoint {mode} contradict each other")
    refuse_rehearsal(prometheus, dry_run)
    settings = config.vacuum
    options = VacuumOptions(
        pages=_first(0 if everything else pages, settings.pages),
        max_lock_ms=_first(max_lock_ms, settings.max_lock_ms),
        keep_free_pages=_first(keep_free_pages, settings.keep_free_pages),
        optimize=optimize or settings.optimize,
        budget_seconds=budget,
        checkpoint="none" if no_checkpoint else mode or settings.checkpoint,
        dry_run=dry_run,
    )

    def work(database: Database, on_event: Listener) -> VacuumResult:
        try:
            with database_lock(config.state, database.path):
                known = replace(options, wrong_map=wrong_map(config.state, database.path))
                try:
                    done = vacuum(database.path, known, name=database.name, on_event=on_event)
                except CheckError:
                    if known.wrong_map or not (wrong := fault_behind(database.path)):
                        raise
                    again = replace(options, wrong_map=wrong)
                    done = vacuum(database.path, again, name=database.name, on_event=on_event)
                if done.wrong_map and not known.wrong_map:
                    remember_map(config.state, database.path, done.wrong_map)
                return done
        except LockedError as error:
            return VacuumResult(database.name, database.path, "skipped", error.message)

    databases = select_databases(config, names)
    results = each_at_once(databases, work, VacuumResult, session, jobs, busy="busy")
    if not dry_run:
        remember(session, config.state, [(r.path, _sizes(r)) for r in results if r.page_size])
    extras = metrics_file(prometheus, vacuum_metrics, results)
    return finish_and_write(session, results, show_vacuum, extras, dry_run=dry_run)


def _first(asked: int | None, configured: int) -> int:
    return configured if asked is None else asked


def _sizes(result: VacuumResult) -> Sizes:
    free_bytes = result.free_pages_left * result.page_size
    return Sizes(result.bytes_after, free_bytes, result.wal_bytes_after)
