"""`keeper status`: whether every newest snapshot is young enough."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from sqlitekeeper.cli.completion import complete_folders
from sqlitekeeper.cli.destinations import chosen, make_rclone
from sqlitekeeper.cli.options import common_options, database_arguments, from_option
from sqlitekeeper.cli.selection import absent, subjects, unmatched
from sqlitekeeper.cli.session import Session
from sqlitekeeper.config import Config, local_folder, parse_duration
from sqlitekeeper.destination.destination import list_destination
from sqlitekeeper.destination.fleet import fleet_status
from sqlitekeeper.destination.status import Limits, StatusEntry, database_status, excused
from sqlitekeeper.errors import CheckError, ConfigError
from sqlitekeeper.output.snapshots import show_status
from sqlitekeeper.state.history import remembered_drills

HELP = """Say whether every database's newest snapshot is young enough.

Asks the destinations, not this host's memory: when the last snapshot was taken,
when it was last confirmed to be what the database holds, and when a drill last
proved one. Ends with 12 when a database is stale or missing, or has lost rows
that nobody has accepted; a destination that does not answer is a failure. With
several destinations each must be fresh, and the worst is shown.

\b
  keeper status --max-age 26h
  keeper status --fleet b2:my-bucket      all hosts of a bucket, without a keeper.toml
"""


@click.command("status", help=HELP)
@database_arguments
@click.option(
    "--max-age",
    metavar="DURATION",
    help="Older than this is stale, such as 26h or 7d; otherwise backup.max_age (26h).",
)
@click.option(
    "--fleet",
    metavar="REMOTE",
    shell_complete=complete_folders,
    help="Every database below it, whichever host ships there.",
)
@from_option
@common_options
def command(
    session: Session,
    names: tuple[str, ...],
    max_age: str | None,
    fleet: str | None,
    froms: tuple[str, ...],
) -> int:
    """Show how fresh each database is."""
    if fleet is not None and froms:
        raise ConfigError("--fleet and --from both say where to look; give one of them")
    config = session.config()
    limits = Limits(datetime.now(UTC), _max_age(config, max_age))
    if fleet is not None:
        return session.finish(_fleet(session, config, fleet, names, limits), show_status)
    places, rclone = chosen(config, froms), make_rclone(session, config)
    destinations = [list_destination(rclone, to) for to in places]
    wanted = subjects(config, names, froms, destinations)
    remembered = {to: remembered_drills(config.state, to, session.on_event) for to in places}
    entries = database_status(wanted, destinations, rclone, limits, remembered)
    excusable = absent(config)
    lacking = [
        StatusEntry(one.name, one.path, "missing", reason, exit_code=CheckError.exit_code)
        for one, reason in unmatched(config, (*names, *froms)).items()
    ]
    told = [excused(entry) if entry.name in excusable else entry for entry in entries]
    return session.finish([*told, *lacking], show_status)


def _fleet(
    session: Session, config: Config, fleet: str, names: Sequence[str], limits: Limits
) -> list[StatusEntry]:
    """Every database below a remote, or those of the given names, on whatever hosts."""
    rclone = make_rclone(session, config)
    destination = list_destination(rclone, local_folder(fleet, Path.cwd()))
    entries = fleet_status(destination, rclone, limits)
    lacking = [name for name in names if name not in {entry.name for entry in entries}]
    if lacking:
        raise CheckError(f"{destination.to}: no host has {', '.join(lacking)}")
    return [entry for entry in entries if not names or entry.name in names]


def _max_age(config: Config, text: str | None) -> float:
    if text is None:
        return config.backup.max_age_seconds
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"--max-age: {error}") from None
