"""`keeper files`: the folders beside the databases."""

from collections.abc import Sequence

import click

from sqlitekeeper.cli.completion import complete_file_sets
from sqlitekeeper.cli.destinations import make_rclone
from sqlitekeeper.cli.options import common_options
from sqlitekeeper.cli.session import Session
from sqlitekeeper.config import Config, FileSet, refuse_indistinct_files
from sqlitekeeper.config.quoting import nearest, readable
from sqlitekeeper.errors import ConfigError
from sqlitekeeper.files.run import FilesOptions, sync_files
from sqlitekeeper.output.backup import show_files

HELP = """Sync the folders of [[files]] with rclone: uploads, Active Storage.

SQLite databases are left out, whatever they are called, and so are their -wal,
-shm and -journal: a copy of a live database is no backup. What the folder no
longer has is deleted at the destination; when that would be more than
max_delete allows (a tenth of what is there, at most 1,000 files), or the folder
is empty, nothing is changed and the run fails.

\b
  keeper files --dry-run
"""


@click.command("files", help=HELP)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_file_sets)
@click.option("--dry-run", is_flag=True, help="Say what would be done, change nothing.")
@click.option("--force", is_flag=True, help="Delete more than max_delete allows.")
@common_options
def command(session: Session, names: tuple[str, ...], dry_run: bool, force: bool) -> int:
    """Sync each folder, and say what that took."""
    config = session.config()
    refuse_indistinct_files(config.files, config.backup.to)
    options = FilesOptions(
        rclone=make_rclone(session, config),
        state=config.state,
        databases=tuple(one.path for one in config.databases if not one.unmatched),
        dry_run=dry_run,
        force=force,
        staging=config.backup.staging,
    )
    results = sync_files(_wanted(config, names), options, session.on_event)
    return session.finish(results, show_files, dry_run=dry_run)


def _wanted(config: Config, names: Sequence[str]) -> list[FileSet]:
    """The sets of these names, each once; all that are configured without names.

    Raises:
        ConfigError: nothing is configured, or not under this name.
    """
    if not config.files:
        where = f"{readable(config.file)}: configures no files" if config.file else "no keeper.toml"
        raise ConfigError(
            where,
            hint='a folder to sync is a table of it: [[files]] name = "uploads",'
            ' path = "/srv/app/uploads", to = "b2:bucket/files"',
        )
    sets = {one.name: one for one in config.files}
    for name in names:
        if name not in sets:
            guess = nearest(name, sets)
            advice = f"did you mean {guess}?" if guess else f"there are: {', '.join(sets)}"
            raise ConfigError(f"{readable(name)}: no [[files]] has this name", hint=advice)
    return [sets[name] for name in dict.fromkeys(names)] if names else list(config.files)
