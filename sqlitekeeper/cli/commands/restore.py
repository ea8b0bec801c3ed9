"""`keeper restore`: bring a snapshot back."""

import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click

from sqlitekeeper.cli.completion import complete_databases, complete_folders, complete_paths
from sqlitekeeper.cli.destinations import chosen, make_rclone
from sqlitekeeper.cli.options import common_options
from sqlitekeeper.cli.session import Session
from sqlitekeeper.config import Config, select_databases
from sqlitekeeper.database.files import OF_SQLITE
from sqlitekeeper.destination.catalog import BASE_LACKS, Snapshot
from sqlitekeeper.destination.choose import LATEST, choose, find_snapshots, instead_of
from sqlitekeeper.destination.destination import list_destination
from sqlitekeeper.destination.layout import SUFFIXES
from sqlitekeeper.diff.losses import replaced_rows
from sqlitekeeper.errors import CheckError, ConfigError, KeeperError, as_keeper_error
from sqlitekeeper.events import Level, Note
from sqlitekeeper.output.diff import loss_lines
from sqlitekeeper.output.printable import printable
from sqlitekeeper.output.restore import show_restore
from sqlitekeeper.output.terminal import print_error
from sqlitekeeper.restore.restore import (
    RestoreResult,
    refuse_on_hold,
    refuse_target,
    restore,
    undo_restore,
)
from sqlitekeeper.state.locks import database_lock

HELP = """Bring a snapshot back, proven before it is put in place.

DATABASE is a configured name, a path, or any name found at the destination.
The snapshot is downloaded beside the target, compared with its manifest
(sha256, integrity, row counts), given WAL mode, owner, mode and ACL, and then
put in place in one step. An existing database needs --replace and must not be
open; it is set aside with all its transactions, and --undo brings it back. On
a terminal, the rows that will go are counted before, and it is asked for.

\b
  keeper restore production --at 2026-11-23 --to look.sqlite3
"""


@click.command("restore", help=HELP)
@click.argument("name", metavar="DATABASE", shell_complete=complete_databases)
@click.option(
    "--at",
    metavar="latest|TIME|OBJECT",
    help="The newest (so too without --at, unless rows were lost before it), the newest not"
    " after a time (UTC unless it says otherwise), or an object's name.",
)
@click.option(
    "--to",
    "to",
    metavar="PATH",
    shell_complete=complete_paths,
    help="Restore to this file, or into this folder.",
)
@click.option("--replace", is_flag=True, help="Set an existing database aside first.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before --replace.")
@click.option("--undo", is_flag=True, help="Bring back what the last restore set aside.")
@click.option(
    "--from",
    "froms",
    multiple=True,
    metavar="REMOTE",
    shell_complete=complete_folders,
    help="Where the snapshots are; otherwise backup.to of the configuration.",
)
@click.option(
    "--assume-stopped",
    is_flag=True,
    help="The application is stopped, where keeper cannot see that: in a container, a database"
    " with a rollback journal.",
)
@click.option(
    "--no-manifest",
    is_flag=True,
    help="Also take a snapshot without a usable manifest; only its integrity is checked.",
)
@click.option(
    "--accept-damage",
    is_flag=True,
    help="Also bring back a damaged snapshot, as it is, to a new file that --to names.",
)
@common_options
def command(
    session: Session,
    name: str,
    at: str | None,
    to: str | None,
    replace: bool,
    yes: bool,
    undo: bool,
    froms: tuple[str, ...],
    no_manifest: bool,
    assume_stopped: bool,
    accept_damage: bool,
) -> int:
    """Find the target and the snapshot, and restore the one to the other."""
    config = session.config()
    database, target = _meant(config, name, to)
    if accept_damage and (replace or undo or _is_live(config, to, target)):
        raise ConfigError(
            "--accept-damage puts a damaged snapshot where no application looks for a database",
            hint="add --to PATH, a new file beside it, and leave --replace and --undo out",
        )
    clock = partial(datetime.now, UTC)

    def before_replacing(file: Path) -> None:
        if not yes and sys.stdin.isatty() and sys.stderr.isatty():
            _ask(session, config, database, target, file)

    def work() -> RestoreResult:
        if undo:
            with database_lock(config.state, target, wait_seconds=60):
                return undo_restore(
                    database, target, clock, session.on_event, assume_stopped=assume_stopped
                )
        refuse_target(target, replace, assume_stopped)
        rclone = make_rclone(session, config)
        listed = [list_destination(rclone, to) for to in chosen(config, froms)]
        found = find_snapshots(listed, database, no_manifest)
        silent = [(one.to, one.error) for one in listed if one.error]
        for _, error in silent:
            session.on_event(Note(database, error.full_text, Level.WARNING))
        # What lacks its base is restored by its name alone, if somehow.
        known = [snapshot for _, snapshot in found]
        whole = [snapshot for snapshot in known if snapshot.is_whole]
        named = (at or "").strip().endswith(tuple(SUFFIXES.values()))
        now = clock()
        wanted = choose(known if named or not whole else whole, at or LATEST, now)
        if (meant := choose(known, at or LATEST, now)).object != wanted.object:
            text = f"{meant.object} is not whole: {BASE_LACKS}; {wanted.object} is restored instead"
            session.on_event(Note(database, text, Level.WARNING))
        if at is None:
            refuse_on_hold(wanted, found, rclone)
        # Where a drill has found it damaged at one destination, the others come first.
        candidates = sorted(
            (pair for pair in found if pair[1].object == wanted.object),
            key=lambda pair: pair[1].drill_outcome == "failed" or not pair[1].is_whole,
        )

        def bring(damaged: bool = False) -> RestoreResult:
            with database_lock(config.state, target, wait_seconds=60):
                return restore(
                    candidates,
                    target,
                    rclone,
                    clock,
                    session.on_event,
                    replace=replace,
                    no_manifest=no_manifest,
                    assume_stopped=assume_stopped,
                    accept_damage=damaged,
                    agree=_agree if not accept_damage else lambda damage: True,
                    before_replacing=before_replacing,
                )

        try:
            return bring()
        except CheckError as damage:
            if accept_damage:
                # All copies were looked at, and none of them is sound.
                return bring(damaged=True)
            hint = _way_out(wanted, [snapshot for _, snapshot in found]) or _as_it_is(wanted)
            if silent:
                hint = f"{silent[0][0]} did not answer, and may have a sound copy: try again"
            raise CheckError(damage.message, hint=hint) from None

    hint = None
    try:
        result = work()
    except (KeeperError, OSError) as error:
        trouble = as_keeper_error(error)
        code, hint = trouble.exit_code, trouble.hint
        result = RestoreResult(database, target, "failed", trouble.full_text, exit_code=code)
    return session.finish(
        [result],
        show_restore,
        hint,
        database=result.name,
        object=result.object,
        path=str(result.path),
        set_aside=[str(path) for path in result.set_aside],
        sha256=result.sha256,
        damage=result.damage,
        outcome=result.outcome,
    )


def _ask(session: Session, config: Config, name: str, target: Path, snapshot: Path) -> None:
    """Say what will go with the database that is there, and ask.

    Raises:
        ConfigError: the answer was no.
    """
    print_error(printable(f"{name}: counting what is not in the snapshot"))
    try:
        lines = loss_lines(replaced_rows(name, target, snapshot, config.backup.staging))
    except (KeeperError, OSError) as error:
        # One that is damaged is what restores are for.
        lines = [f"what will go could not be counted: {as_keeper_error(error).message}"]
    session.console.close()
    for line in lines:
        print_error(printable(f"{name}: {line}"))
    if not click.confirm(printable(f"Replace {target}?"), err=True):
        raise ConfigError(f"{target}: left as it is, as you wished")


def _meant(config: Config, argument: str, to: str | None) -> tuple[str, Path]:
    """The name at the destination, and the file to restore to, its links followed as SQLite does.

    Raises:
        ConfigError: nothing says where to restore to, or it is no place for a database.
    """
    known = next((d for d in config.databases if d.name == argument), None)
    if known is None and ("/" in argument or Path(argument).is_file()):
        (known,) = select_databases(config, [argument])
    name = known.name if known else argument
    if to is None:
        if known is None or known.unmatched:
            raise ConfigError(
                f"{argument}: no configured database, so nothing says where to restore it to",
                hint=f"add --to PATH; if it is a file's name, write ./{argument}",
            )
        return name, known.path.resolve()
    if not to:
        raise ConfigError("--to is empty; it must be the path to restore to")
    target = Path(to).expanduser()
    if to.endswith("/") or target.is_dir():
        target /= known.path.name if known else f"{argument}.sqlite3"
    elif to.endswith(OF_SQLITE):
        raise ConfigError(f"--to {to}: is the name of what SQLite keeps beside a database")
    return name, target.resolve()


def _is_live(config: Config, to: str | None, target: Path) -> bool:
    """Whether a restore goes to where an application has its database."""
    return to is None or target in {one.path.resolve() for one in config.databases}


def _agree(damage: str) -> bool:
    """Ask whoever sits at a terminal; what runs by itself wants what was shipped."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    return click.confirm("Put it in place all the same?", err=True)


def _as_it_is(damaged: Snapshot) -> str:
    """A hint for the last snapshot that there is."""
    name = shlex.quote(damaged.object.rpartition("/")[2])
    return f"there is no other; as it is, to be salvaged: --at {name} --accept-damage --to NEWFILE"


def _way_out(damaged: Snapshot, snapshots: Sequence[Snapshot]) -> str | None:
    """A hint at what to try where the wanted one is damaged everywhere."""
    other = instead_of(damaged, snapshots)
    if other is None:
        return None
    which = "next older" if other.taken_at < damaged.taken_at else "next newer"
    proof = ", whose last drill passed" if other.drill_outcome == "proven" else ""
    return f"try --at {other.object.rpartition('/')[2]}, the {which} one{proof}"
