"""`keeper init`: new database files."""

from pathlib import Path

import click

from sqlitekeeper.cli.options import common_options
from sqlitekeeper.cli.session import Session, run_each
from sqlitekeeper.config import Database
from sqlitekeeper.database.maintain.create import PAGE_SIZES, InitResult, JournalMode, init_database
from sqlitekeeper.database.measure import AUTO_VACUUM, AutoVacuum
from sqlitekeeper.output.maintenance import show_init

HELP = """Create database files that can shrink.

auto_vacuum is set before anything else is written (later it is too late), WAL
mode after it, and both are read back before the file counts as created. An
empty file counts as new; any other existing file is left as it is. Run as root
in another user's folder, the file is given to that user.

\b
  keeper init storage/production.sqlite3
"""


@click.command("init", help=HELP)
@click.argument(
    "paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path)
)
@click.option(
    "--auto-vacuum",
    type=click.Choice(AUTO_VACUUM),
    default="incremental",
    show_default=True,
    help="How free pages go back to the file system.",
)
@click.option(
    "--journal-mode",
    type=click.Choice(["wal", "delete"]),
    default="wal",
    show_default=True,
    help="wal lets readers and a writer work side by side.",
)
@click.option(
    "--page-size",
    type=click.Choice([str(size) for size in PAGE_SIZES]),
    help="In bytes; SQLite's default is 4096.",
)
@click.option("--exist-ok", is_flag=True, help="An existing database is fine, and left as it is.")
@common_options
def command(
    session: Session,
    paths: tuple[Path, ...],
    auto_vacuum: AutoVacuum,
    journal_mode: JournalMode,
    page_size: str | None,
    exist_ok: bool,
) -> int:
    """Create the files and say what was read back from each."""

    def create(database: Database) -> InitResult:
        return init_database(
            database.path,
            auto_vacuum=auto_vacuum,
            journal_mode=journal_mode,
            page_size=int(page_size) if page_size else None,
            exist_ok=exist_ok,
            on_event=session.on_event,
        )

    wanted = [Database(path.stem, path) for path in dict.fromkeys(paths)]
    return session.finish(run_each(wanted, create, InitResult, must_exist=False), show_init)
