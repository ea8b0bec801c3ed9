"""`keeper convert`: another auto-vacuum mode for existing databases."""

import sys

import click

from sqlitekeeper.cli.completion import complete_databases
from sqlitekeeper.cli.options import common_options
from sqlitekeeper.cli.session import Session, run_each
from sqlitekeeper.config import Database, select_databases
from sqlitekeeper.database.maintain.convert import (
    ConvertPlan,
    ConvertResult,
    convert,
    plan_conversion,
)
from sqlitekeeper.database.measure import AUTO_VACUUM, AutoVacuum
from sqlitekeeper.errors import ConfigError
from sqlitekeeper.output.maintenance import show_convert
from sqlitekeeper.output.printable import printable
from sqlitekeeper.output.terminal import print_error
from sqlitekeeper.state.locks import database_lock
from sqlitekeeper.state.pointer_maps import remember_map
from sqlitekeeper.wording import size

HELP = """Give existing databases incremental auto-vacuum.

From none, the database is written anew as by a full VACUUM, and every row keeps
its rowid. Writers wait meanwhile, and two more copies of the pages in use need
room. It is asked for on a terminal and needs --yes elsewhere. A copy is checked,
and compared row by row, before it is written over the database.

\b
  keeper convert storage/production.sqlite3
"""


@click.command("convert", help=HELP)
@click.argument(
    "names",
    nargs=-1,
    required=True,
    metavar="DATABASE...",
    shell_complete=complete_databases,
)
@click.option(
    "--auto-vacuum",
    type=click.Choice(AUTO_VACUUM),
    default="incremental",
    show_default=True,
    help="The mode to convert to.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@common_options
def command(session: Session, names: tuple[str, ...], auto_vacuum: AutoVacuum, yes: bool) -> int:
    """Convert each database once it was agreed to."""
    config = session.config()

    def work(database: Database) -> ConvertResult:
        with database_lock(config.state, database.path):
            plan = plan_conversion(
                database.path, auto_vacuum, name=database.name, on_event=session.on_event
            )
            if plan.needed:
                _agree(plan, yes)
            done = convert(plan, session.on_event)
            if plan.needs_vacuum:
                remember_map(config.state, database.path, None)
            return done

    results = run_each(select_databases(config, names), work, ConvertResult)
    return session.finish(results, show_convert)


def _agree(plan: ConvertPlan, yes: bool) -> None:
    """Warn of what a conversion does, and ask.

    Raises:
        ConfigError: there is nobody to ask, or the answer was no.
    """
    if plan.needs_vacuum:
        print_error(
            printable(
                f"{plan.name}: {size(plan.live_bytes)} are written anew: writers will wait for"
                f" about {plan.writers_wait_seconds:.0f} s"
            )
        )
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(f"{plan.path}: not converted: nobody to ask", hint="add --yes to agree")
    question = printable(f"Convert {plan.path} from {plan.before} to {plan.wanted}?")
    if not click.confirm(question, err=True):
        raise ConfigError(f"{plan.path}: not converted, as you wished")
