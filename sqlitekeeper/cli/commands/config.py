"""`keeper config`: make a keeper.toml, and show what one means."""

import os
from dataclasses import dataclass
from pathlib import Path

import click

from sqlitekeeper.cli.completion import complete_folders
from sqlitekeeper.cli.options import common_options
from sqlitekeeper.cli.session import Session
from sqlitekeeper.config import refuse_claimed_names, refuse_indistinct_files
from sqlitekeeper.config.generate.rails import find_rails_databases
from sqlitekeeper.config.generate.scan import find_databases
from sqlitekeeper.config.generate.toml import draft
from sqlitekeeper.config.loading import SEARCHED
from sqlitekeeper.config.position import lines_of_databases
from sqlitekeeper.config.settings import Config, Database
from sqlitekeeper.errors import KeeperError
from sqlitekeeper.events import Level, Note
from sqlitekeeper.output.config import config_object, config_rows, show_config
from sqlitekeeper.rclone.program import find_rclone
from sqlitekeeper.result import Result

HELP = """Make a keeper.toml, or show what one means.

\b
  keeper config init storage > keeper.toml
  keeper config show
"""

INIT_HELP = """Write a keeper.toml for the SQLite databases below a folder.

They are found by what they hold, whatever they are called. The file goes to
standard output, with comments; nothing is changed. Solid Cache, Queue and Cable
databases, PocketBase's logs and a browser's caches are marked as not to be backed
up. Folders of uploaded files are proposed as [[files]], for `keeper files`.

With --rails the databases come from a Rails application's database.yml instead.
Its ERB is read, not executed: ENV["X"] and ENV.fetch("X") with a default.

\b
  keeper config init storage --to b2:my-bucket/web1 > keeper.toml
  keeper config init --rails config/database.yml > keeper.toml
"""

SHOW_HELP = """Show what the configuration resolves to, and where it comes from.

Every database with the entry that names it, and every setting with its default
filled in. Of a ping URL only the host is shown.

\b
  keeper config show -c keeper.toml
"""


# Not the help, which would come as an error: "Missing command." and where to look.
@click.group("config", help=HELP, no_args_is_help=False)
def command() -> None:
    """Nothing of its own: see HELP."""


@command.command("init", help=INIT_HELP)
@click.argument("folder", metavar="DIR", required=False, type=click.Path(path_type=Path))
@click.option(
    "--to",
    "to",
    multiple=True,
    metavar="REMOTE",
    shell_complete=complete_folders,
    help="Where backups shall go; repeat it for several.",
)
@click.option(
    "--rails",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Take the databases from this database.yml.",
)
@click.option(
    "--env",
    "environment",
    metavar="NAME",
    default="production",
    show_default=True,
    help="The environment of database.yml.",
)
@common_options
def init(
    session: Session,
    folder: Path | None,
    to: tuple[str, ...],
    rails: Path | None,
    environment: str,
) -> int:
    """Find the databases and write the file."""
    if folder is not None and rails is None:
        found = find_databases(folder)
        nothing = f"{folder}: no SQLite database below it"
    elif rails is not None and folder is None:
        found = find_rails_databases(rails, environment, os.environ)
        nothing = f"{rails}: {environment} has no SQLite database"
    else:
        raise click.UsageError("give a folder, or --rails FILE, and not both")
    for remark in found.remarks:
        session.on_event(Note("", remark, Level.WARNING))
    if not found.databases:
        raise KeeperError(nothing)
    written = draft(found.databases, to, os.environ, found.uploads)
    # Bytes: TOML is UTF-8, whatever this terminal's encoding is.
    return session.finish(
        written.databases,
        lambda _console, _results: click.echo(written.toml.encode(), nl=False),
        toml=written.toml,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown(Result):
    """A configured database as `keeper config show --json` has it."""

    backup: bool
    optional: bool
    origin: str
    line: int | None


@command.command("show", help=SHOW_HELP)
@common_options
def show(session: Session) -> int:
    """Read the configuration and print it."""
    config = session.config()
    refuse_claimed_names(config, ())
    refuse_indistinct_files(config.files, config.backup.to)
    lines = lines_of_databases(config.file, config.databases)
    rclone = _rclone(session, config)
    rows = config_rows(config, SEARCHED, rclone, lines)
    return session.finish(
        [_shown(database, lines.get(database)) for database in config.databases],
        lambda console, _results: show_config(console, rows),
        searched=list(SEARCHED),
        **config_object(config, rclone),
    )


def _rclone(session: Session, config: Config) -> str | None:
    try:
        return find_rclone(config.rclone)
    except KeeperError as error:
        session.on_event(Note("", error.full_text, Level.WARNING))
        return None


def _shown(database: Database, line: int | None) -> Shown:
    outcome, reason = "present", None
    if database.unmatched:
        outcome, reason = "absent", "no file matches"
    elif not os.path.lexists(database.path):
        outcome, reason = "absent", "no such file"
    return Shown(
        database.name,
        database.path,
        outcome,
        reason,
        backup=database.backup,
        optional=database.optional,
        origin=database.origin,
        line=line,
    )
