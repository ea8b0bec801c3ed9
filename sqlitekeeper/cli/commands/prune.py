"""`keeper prune`: the retention rules, applied now."""

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from sqlitekeeper.cli.destinations import chosen, make_rclone, retention_policy
from sqlitekeeper.cli.options import common_options, database_arguments, from_option
from sqlitekeeper.cli.selection import missing, unanswered, wanted_databases
from sqlitekeeper.cli.session import Session
from sqlitekeeper.destination.catalog import Subject
from sqlitekeeper.destination.destination import list_destinations
from sqlitekeeper.destination.prune import (
    DatabasePruned,
    KeptSnapshot,
    PruneResult,
    prune_destination,
    with_drills,
)
from sqlitekeeper.errors import ConfigError
from sqlitekeeper.output.snapshots import show_prune
from sqlitekeeper.state.history import remembered_drills

HELP = """Delete the snapshots that no retention rule keeps.

A backup does it by itself, unless prune = false. The newest snapshot always
stays, and so does the last one that a drill has proven. Databases on hold
after a loss of rows are left alone.

\b
  keeper prune --dry-run
"""


@click.command("prune", help=HELP)
@database_arguments
@click.option("--dry-run", is_flag=True, help="Say what would go and why the rest stays.")
@from_option
@common_options
def command(session: Session, names: tuple[str, ...], dry_run: bool, froms: tuple[str, ...]) -> int:
    """Plan from one listing of each destination, and carry it out."""
    config = session.config()
    policy, now = retention_policy(config), datetime.now(UTC)
    if policy.keeps_nothing:
        raise ConfigError(
            "every keep_* is 0, so that only the newest snapshot would stay",
            hint="set keep_daily or another rule in [backup] of keeper.toml",
        )
    destinations = chosen(config, froms)
    rclone = make_rclone(session, config)
    listed = list_destinations(rclone, destinations)
    wanted = wanted_databases(config, names, froms, listed)
    pruned: list[DatabasePruned] = []
    for destination in listed:
        remembered = remembered_drills(config.state, destination.to, session.on_event)
        held = destination.catalogs_of(one.name for one in wanted)
        catalogs = [with_drills(catalog, remembered) for catalog in held]
        pruned += prune_destination(
            rclone,
            destination.to,
            catalogs,
            policy,
            now,
            deltas=config.backup.store == "delta",
            dry_run=dry_run,
            on_event=session.on_event,
        )
    results = []
    for one in wanted:
        parts = [part for part in pruned if part.plan.database == one.name]
        results.append(
            _result(one, parts, dry_run=dry_run) if parts else missing(one, listed, PruneResult)
        )
    results += unanswered(listed, PruneResult)
    return session.finish(
        results,
        show_prune,
        pruned=[path for one in pruned for path in one.deleted],
        dry_run=dry_run,
    )


def _result(wanted: Subject, parts: Sequence[DatabasePruned], *, dry_run: bool) -> PruneResult:
    """One database's result out of those of its destinations."""
    blocks = [part.block for part in parts if part.block]
    errors = [block.error for block in blocks if block.error]
    would = [path for part in parts if not part.block for path in part.plan.objects]
    return PruneResult(
        wanted.name,
        wanted.path,
        "failed" if errors else "skipped" if blocks or dry_run else "done",
        "; ".join(dict.fromkeys(block.reason for block in blocks)) or None,
        deleted=tuple(path for part in parts for path in part.deleted),
        would_delete=tuple(would) if dry_run else (),
        kept=tuple(kept for part in parts for kept in _kept(part)),
        dry_run=dry_run,
        exit_code=max((error.exit_code for error in errors), default=0),
    )


def _kept(part: DatabasePruned) -> list[KeptSnapshot]:
    plan = part.plan
    kept = [KeptSnapshot(plan.to, snapshot.object, why) for snapshot, why in plan.kept]
    if part.block:
        rest = (s.object for s in plan.gone if s.object not in part.deleted)
        kept += [KeptSnapshot(plan.to, path, (part.block.keeps,)) for path in rest]
    return kept
