"""`keeper snapshots`: what can be restored."""

from dataclasses import asdict
from datetime import UTC, datetime

import click

from sqlitekeeper.cli.destinations import chosen, make_rclone, retention_policy
from sqlitekeeper.cli.options import common_options, database_arguments, from_option
from sqlitekeeper.cli.selection import (
    missing,
    unanswered,
    wanted_databases,
)
from sqlitekeeper.cli.session import Session
from sqlitekeeper.destination.destination import list_destinations
from sqlitekeeper.destination.snapshots import ListedSnapshot, list_snapshots, newest_first
from sqlitekeeper.output.snapshots import show_snapshots
from sqlitekeeper.result import Result
from sqlitekeeper.state.history import remembered_drills

HELP = """List the snapshots at the destination, newest first, and what keeps each.

Needs neither the database nor anything that this host remembers. DATABASE is a
configured name, a path, or any name found at the destination.

\b
  keeper snapshots --from b2:my-bucket/web1
"""


@click.command("snapshots", help=HELP)
@database_arguments
@from_option
@common_options
def command(session: Session, names: tuple[str, ...], froms: tuple[str, ...]) -> int:
    """List every destination once, and show what is there."""
    config = session.config()
    destinations = chosen(config, froms)
    rclone = make_rclone(session, config)
    listed = list_destinations(rclone, destinations)
    wanted = wanted_databases(config, names, froms, listed)
    policy, now = retention_policy(config), datetime.now(UTC)
    found: list[ListedSnapshot] = []
    for destination in listed:
        remembered = remembered_drills(config.state, destination.to, session.on_event)
        found += list_snapshots(
            rclone,
            destination.to,
            destination.catalogs_of(one.name for one in wanted),
            policy,
            remembered,
            now,
            session.on_event,
            deltas=config.backup.store == "delta",
        )
    found = newest_first(found)
    known = {one.database for one in found}
    results = [
        Result(one.name, one.path, "done") if one.name in known else missing(one, listed, Result)
        for one in wanted
    ]
    return session.finish(
        [*results, *unanswered(listed, Result)],
        lambda console, _: show_snapshots(console, found, destinations, now),
        snapshots=[asdict(one) for one in found],
    )
