"""`keeper diff`: what differs between the live database and a snapshot, or two snapshots."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click

from sqlitekeeper.cli.completion import complete_databases
from sqlitekeeper.cli.destinations import chosen, make_rclone
from sqlitekeeper.cli.options import common_options, from_option
from sqlitekeeper.cli.session import Session
from sqlitekeeper.config import Config, select_databases
from sqlitekeeper.destination.choose import LATEST, choose, find_snapshots
from sqlitekeeper.destination.destination import list_destination
from sqlitekeeper.diff.diff import Comparison, DiffResult, compared
from sqlitekeeper.diff.sides import Side, copy_live, fetch
from sqlitekeeper.errors import ConfigError, KeeperError, as_keeper_error
from sqlitekeeper.events import Level, Note
from sqlitekeeper.filesystem.private_folder import remove_staging_litter, staging_folder
from sqlitekeeper.output.diff import diff_object, show_diff
from sqlitekeeper.output.printable import printable

HELP = """Show what differs between the live database and a snapshot, or two snapshots.

"here" is the live database, or what --with names; "there" is the newest
snapshot, or what --at names. For each table: the rows that are only here, only
there, or in both with other values; then what differs in the schema. Both are
copied to the staging folder first, and nothing is changed. It ends with 0
however much differs.

--sql prints statements for here that give it the rows of there: what is only
there comes, what is only here goes. Read them before you run them. To go the
other way: --at live --with latest.

\b
  keeper diff production --at 2026-11-23
  keeper diff production --table posts --limit 5
  keeper diff production --sql > posts.sql    then: sqlite3 storage/production.sqlite3 < posts.sql
"""
LIVE = "live"


@click.command("diff", help=HELP)
@click.argument("name", metavar="DATABASE", shell_complete=complete_databases)
@click.option(
    "--at",
    default=LATEST,
    show_default=True,
    metavar="latest|TIME|OBJECT|live",
    help="There: the newest snapshot, the newest not after a time (UTC unless it says"
    " otherwise), an object's name, or the live database.",
)
@click.option(
    "--with",
    "other",
    default=LIVE,
    show_default=True,
    metavar="live|latest|TIME|OBJECT",
    help="Here: the live database, or a snapshot as with --at.",
)
@click.option(
    "--table",
    "tables",
    multiple=True,
    metavar="NAME",
    help="Only this table, and show its rows; repeat it for several.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    metavar="N",
    help="With --table: how many rows of each kind to show.",
)
@click.option("--sql", is_flag=True, help="Print statements that give here the rows of there.")
@from_option
@common_options
def command(
    session: Session,
    name: str,
    at: str,
    other: str,
    tables: tuple[str, ...],
    limit: int,
    sql: bool,
    froms: tuple[str, ...],
) -> int:
    """Get both sides, compare them, and show what was asked for."""
    if sql and session.json:
        raise ConfigError("--sql prints statements, --json an object; give one of them")
    if at == other:
        raise ConfigError(f"--at and --with are both {at}: there is nothing to compare")
    config = session.config()
    database, path = _meant(config, name)
    hint = None
    try:
        with (
            _sides(session, config, database, path, (other, at), froms) as sides,
            compared(database, *sides, session.on_event, tables=tables) as found,
        ):
            if sql:
                session.console.close()
                for line in _script(database, sides, found):
                    click.echo(line)
                return 0
            result = DiffResult(database, path, "compared", same=found.same)
            rows = list(found.rows(limit)) if tables else None
    except (KeeperError, OSError) as error:
        trouble = as_keeper_error(error)
        hint = trouble.hint
        if sql:
            raise
        result = DiffResult(
            database, path, "failed", trouble.full_text, exit_code=trouble.exit_code
        )
        return session.finish(
            [result], lambda *_: None, hint, database=database, **diff_object(None, (), (), None)
        )
    return session.finish(
        [result],
        lambda console, _: show_diff(
            console, database, sides, found.tables, found.schema, rows or ()
        ),
        database=database,
        **diff_object(sides, found.tables, found.schema, rows),
    )


def _meant(config: Config, argument: str) -> tuple[str, Path | None]:
    """The name at the destination, and the live file; None where nothing says where it is."""
    known = next((d for d in config.databases if d.name == argument and not d.unmatched), None)
    if known is None and ("/" in argument or Path(argument).is_file()):
        (known,) = select_databases(config, [argument])
    return (known.name, known.path) if known else (argument, None)


@contextmanager
def _sides(
    session: Session,
    config: Config,
    database: str,
    path: Path | None,
    wanted: tuple[str, str],
    froms: tuple[str, ...],
) -> Iterator[tuple[Side, Side]]:
    """Both sides, as files in a folder that is gone in the end.

    Raises:
        KeeperError: one of them cannot be had.
    """
    if LIVE in wanted and path is None:
        raise ConfigError(
            f"{database}: no configured database, so nothing says where the live one is",
            hint=f"compare two snapshots (--at, --with), or write its path: ./{database}",
        )
    clock = partial(datetime.now, UTC)
    rclone = make_rclone(session, config)
    listed = [list_destination(rclone, to) for to in chosen(config, froms)]
    pairs = find_snapshots(listed, database)
    for one in listed:
        if one.error:
            session.on_event(Note(database, one.error.full_text, Level.WARNING))
    snapshots = [snapshot for _, snapshot in pairs]
    choices = [None if at == LIVE else choose(snapshots, at, clock()) for at in wanted]
    if choices[0] and choices[1] and choices[0].object == choices[1].object:
        raise ConfigError(f"--at and --with are both {choices[0].object}")
    for litter in remove_staging_litter(config.backup.staging):
        session.on_event(Note("", f"removed {litter}, left by a run that was killed"))
    with staging_folder(config.backup.staging) as folder:
        found = []
        for choice, place in zip(choices, ("here", "there"), strict=True):
            own = folder / place
            own.mkdir()
            if choice is None:
                assert path is not None
                found.append(copy_live(database, path, own, clock(), session.on_event))
            else:
                candidates = [pair for pair in pairs if pair[1].object == choice.object]
                found.append(fetch(candidates, own, rclone, session.on_event))
        yield found[0], found[1]


def _script(name: str, sides: tuple[Side, Side], found: Comparison) -> Iterator[str]:
    """The statements, below what they are for."""
    here, there = sides
    yield f"-- keeper diff {printable(name)}: read these statements before you run them."
    yield f"-- For:  {printable(here.label)} ({here.taken_at})"
    yield f"-- Of:   {printable(there.label)} ({there.taken_at})"
    yield "-- The first gets the rows of the second; what only the first has is deleted."
    for change in found.schema:
        yield f"-- The schema differs, and stays: {change.type} {printable(change.name)}"
    yield from found.statements()
