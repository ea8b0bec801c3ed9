"""What `keeper backup` does when its arguments are known to be good.

Apart from the command because it takes a while to import: see there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from sqlitekeeper import __version__
from sqlitekeeper.backups.pipeline import Job
from sqlitekeeper.backups.rclone import Rclone
from sqlitekeeper.backups.results import BackupResult, BackupRun
from sqlitekeeper.backups.run import BackupOptions, back_up
from sqlitekeeper.cli.destinations import retention_policy
from sqlitekeeper.cli.memory import measured, remember
from sqlitekeeper.cli.outputs import finish_and_write, metrics_file
from sqlitekeeper.cli.session import Session, each
from sqlitekeeper.config import Config, Database
from sqlitekeeper.config.names import this_host
from sqlitekeeper.database.measure import measure
from sqlitekeeper.output.lines import show_backup, show_backup_total
from sqlitekeeper.output.prometheus import backup_metrics
from sqlitekeeper.output.terminal import Console
from sqlitekeeper.wording import size


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """What the command line asks for; `whole` is whether it is all that is configured."""

    databases: Sequence[Database]
    destinations: tuple[str, ...]
    whole: bool
    force: bool
    accept_loss: frozenset[str]
    lock_wait_seconds: float
    jobs: int


def run(session: Session, config: Config, request: BackupRequest, rclone: Rclone) -> BackupRun:
    """Back up what was asked for.

    Raises:
        KeeperError: see `back_up`.
    """
    options = BackupOptions(
        to=request.destinations,
        rclone=rclone,
        state=config.state,
        host=this_host(),
        keeper_version=__version__,
        clock=partial(datetime.now, UTC),
        staging=config.backup.staging,
        check=config.backup.check,
        force=request.force,
        lock_wait_seconds=request.lock_wait_seconds,
        policy=retention_policy(config) if config.backup.prune else None,
        loss_alarm=config.backup.loss_alarm,
        accept_loss=request.accept_loss,
        jobs=request.jobs,
        configured=frozenset(one.name for one in config.databases) if request.whole else None,
    )
    jobs = [Job(one.name, one.path, one.optional) for one in request.databases]
    return back_up(jobs, options, session.listen)


def tell(session: Session, config: Config, done: BackupRun, prometheus: Path | None) -> int:
    """Remember and show what came of it; the exit status."""
    paths = (one.path for one in done.databases if one.outcome in ("shipped", "unchanged"))
    remember(session, config.state, measured(paths))
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

    def otherwise(database: Database, outcome: str, reason: str, code: int) -> BackupResult:
        skipped = outcome == "skipped"
        return BackupResult(
            database.name,
            database.path,
            "skipped" if skipped else "failed",
            reason,
            exit_code=code,
        )

    return session.finish(
        each(databases, work, otherwise),
        show_backup,
        dry_run=True,
        uploaded_bytes=0,
        pruned=[],
        api_calls={},
        uncounted_uploads=0,
    )
