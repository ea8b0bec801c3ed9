"""`keeper drill`: prove that snapshots restore."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import click

from sqlitekeeper.cli.destinations import chosen, make_rclone
from sqlitekeeper.cli.options import common_options, database_arguments, from_option
from sqlitekeeper.cli.selection import absent, subjects, unmatched
from sqlitekeeper.cli.session import Session
from sqlitekeeper.config.names import this_host
from sqlitekeeper.destination.choose import LATEST
from sqlitekeeper.destination.destination import list_destination
from sqlitekeeper.errors import CheckError, ConfigError, KeeperError
from sqlitekeeper.output.restore import show_drill
from sqlitekeeper.restore.drill import DrillOptions, DrillResult, drill

HELP = """Prove that snapshots restore, without touching a live database.

Downloads one snapshot of each database from each destination to a private
folder, compares it with its manifest (size, sha256, row counts, foreign keys)
and checks it (integrity, FTS5 indexes). The result is kept beside the snapshot,
where status and snapshots find it. A snapshot that fails its drill ends with 12.

\b
  keeper drill production
  keeper drill --rotate        from cron: in time, every snapshot has its turn
"""


@click.command("drill", help=HELP)
@database_arguments
@click.option(
    "--at",
    default=LATEST,
    show_default=True,
    metavar="latest|TIME|OBJECT",
    help="The newest; the newest not after a time (ISO 8601, UTC unless it says otherwise; a bare"
    " date includes that day); or an object's name.",
)
@click.option(
    "--rotate",
    is_flag=True,
    help="The one whose last drill is the longest ago; never drilled ones first, oldest first.",
)
@from_option
@common_options
def command(
    session: Session, names: tuple[str, ...], at: str, rotate: bool, froms: tuple[str, ...]
) -> int:
    """Drill each database at each destination."""
    if rotate and at != LATEST:
        raise ConfigError("--at and --rotate each choose a snapshot; give one of them")
    config = session.config()
    places, rclone = chosen(config, froms), make_rclone(session, config)
    destinations = [list_destination(rclone, to) for to in places]
    options = DrillOptions(
        rclone=rclone,
        staging=config.backup.staging,
        state=config.state,
        host=this_host(),
        clock=partial(datetime.now, UTC),
        at=at,
        rotate=rotate,
    )
    wanted = subjects(config, names, froms, destinations)
    lacking = [
        DrillResult(one.name, one.path, "failed", reason, exit_code=KeeperError.exit_code)
        for one, reason in unmatched(config, (*names, *froms)).items()
    ]
    excusable = absent(config)
    done = [
        _excused(result) if result.name in excusable else result
        for result in drill(wanted, destinations, options, session.on_event)
    ]
    return session.finish([*done, *lacking], show_drill)


def _excused(result: DrillResult) -> DrillResult:
    """The result of an optional database that is not on this host: it may have no snapshot."""
    if result.object or result.exit_code != CheckError.exit_code:
        return result
    reason = f"not on this host, and it is optional: {result.reason}"
    return replace(result, outcome="skipped", reason=reason, exit_code=0)
