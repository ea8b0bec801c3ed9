"""New database files, with auto-vacuum set before anything else is written."""

import os
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlitekeeper.database.connection import open_database, pragma_int, sqlite_errors
from sqlitekeeper.database.files import sidecar, stat_database
from sqlitekeeper.database.measure import AUTO_VACUUM, AutoVacuum, Measurement, measure
from sqlitekeeper.database.replace.replace import content_suffixes
from sqlitekeeper.errors import ConfigError, KeeperError
from sqlitekeeper.events import Listener, Note, ignore
from sqlitekeeper.filesystem.access import owner_for
from sqlitekeeper.filesystem.atomic import put
from sqlitekeeper.filesystem.flush import sync
from sqlitekeeper.filesystem.private_folder import private_folder, remove_litter
from sqlitekeeper.result import Result

JournalMode = Literal["wal", "delete"]
PREFIX = "keeper-init-"
PAGE_SIZES = tuple(2**power for power in range(9, 17))


@dataclass(frozen=True, slots=True)
class InitResult(Result):
    """A database that was created, or that was there already."""

    path: Path
    outcome: Literal["created", "exists", "failed"]
    auto_vacuum: str | None = None
    journal_mode: str | None = None
    page_size: int | None = None


def create_database(
    path: Path,
    *,
    auto_vacuum: AutoVacuum = "incremental",
    journal_mode: JournalMode = "wal",
    page_size: int | None = None,
    exist_ok: bool = False,
    mode: int = 0o644,
    on_event: Listener = ignore,
) -> Literal["created", "exists"]:
    """Create a database file in one step: there is none, or a whole one with its settings.

    An empty file at `path` counts as new, and is filled where it is: somebody may
    have it open. The settings are read back through a fresh connection. When root creates
    the file in another user's folder, it is given to that user. `mode` is limited by the umask.

    Raises:
        ConfigError: `path` is `:memory:`, or the page size is not a power of
            two from 512 to 65536.
        KeeperError: there is something else at `path`, or its folder is
            missing. Nothing is left behind.
    """
    if path.name == ":memory:":
        raise ConfigError(":memory: is a database without a file; there is nothing to create")
    if page_size is not None and page_size not in PAGE_SIZES:
        raise ConfigError(f"page size {page_size}: not a power of two from 512 to 65536")
    if not path.parent.is_dir():
        raise KeeperError(
            f"{path}: the folder {path.parent} does not exist",
            hint=f"create it first: mkdir -p {shlex.quote(str(path.parent))}",
        )
    for litter in remove_litter(path.parent, PREFIX):
        on_event(Note("", f"removed {litter}, left by a run that was killed"))
    settings = (auto_vacuum, journal_mode, page_size)
    for _ in range(2):
        if os.path.lexists(path):
            return _fill_empty(path, settings, exist_ok)
        _refuse_sidecars(path)
        with suppress(FileExistsError):
            _create(path, settings, mode)
            return "created"
    raise KeeperError(f"{path}: somebody makes and removes it at this moment")


Settings = tuple[AutoVacuum, JournalMode, int | None]


def _create(path: Path, settings: Settings, mode: int) -> None:
    """Make a whole database out of sight, and only then give it its name.

    Raises:
        FileExistsError: somebody else has made one meanwhile.
    """
    try:
        with private_folder(path.parent, PREFIX) as folder:
            new = folder / "new"
            os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, mode))
            if (owner := owner_for(path.parent))[0] != os.geteuid():
                os.chown(new, *owner)
            _write_settings(new, settings)
            sync(new)
            put(new, path)
            sync(path.parent)
    except KeeperError as error:
        # Nobody knows the file under the name that it had until now.
        message = error.message.replace(str(new), str(path))
        raise type(error)(message, hint=error.hint) from None
    except FileExistsError:
        raise
    except OSError as error:
        raise KeeperError(f"{path}: {error.strerror}") from None


def _fill_empty(path: Path, settings: Settings, exist_ok: bool) -> Literal["created", "exists"]:
    """Make a database of a file that is there, if nothing was ever written to it."""
    if stat_database(path).st_size > 0:
        if exist_ok:
            return "exists"
        raise KeeperError(
            f"{path}: exists already, left as it is",
            hint="--exist-ok accepts that; keeper convert changes an existing database",
        )
    _refuse_sidecars(path)
    _write_settings(path, settings)
    return "created"


def _refuse_sidecars(path: Path) -> None:
    """Refuse to make a database where another one has left its transactions."""
    if left := content_suffixes(path):
        raise KeeperError(
            f"{path}: is empty or absent, but {sidecar(path, left[0]).name} lies beside it",
            hint="SQLite would mix the two, or Turso refuse them; find out where it comes from and"
            " move it away",
        )


def _write_settings(path: Path, settings: Settings) -> None:
    """Write the first page, and read the settings back through a fresh connection."""
    auto_vacuum, journal_mode, page_size = settings
    with sqlite_errors(path), open_database(path, write=True) as connection:
        if page_size is not None:
            connection.pragma("page_size", page_size)
        # Before WAL mode: that writes the first page, and then it is too late.
        connection.pragma("auto_vacuum", AUTO_VACUUM.index(auto_vacuum))
        connection.execute("BEGIN IMMEDIATE")
        if any(pragma_int(connection, name) for name in ("schema_version", "user_version")):
            raise KeeperError(
                f"{path}: somebody has just written to it, left as it is",
                hint="start the application after keeper init, not beside it",
            )
        # Without a write the pragmas alone leave a file of 0 bytes.
        connection.pragma("user_version", 0)
        connection.execute("COMMIT")
        connection.pragma("journal_mode", journal_mode)
    found = measure(path)
    asked = (auto_vacuum, journal_mode, page_size or found.page_size)
    got = (found.auto_vacuum, found.journal_mode, found.page_size)
    if got != asked or found.pages == 0:
        raise KeeperError(f"{path}: SQLite did not keep the settings: asked for {asked}, got {got}")


def init_database(
    path: Path,
    *,
    auto_vacuum: AutoVacuum = "incremental",
    journal_mode: JournalMode = "wal",
    page_size: int | None = None,
    exist_ok: bool = False,
    on_event: Listener = ignore,
) -> InitResult:
    """Create a database file and say what was read back from it.

    Raises:
        ConfigError, KeeperError: as `create_database`.
    """
    outcome = create_database(
        path,
        auto_vacuum=auto_vacuum,
        journal_mode=journal_mode,
        page_size=page_size,
        exist_ok=exist_ok,
        on_event=on_event,
    )
    found = measure(path)
    return InitResult(
        name=path.stem,
        path=path,
        outcome=outcome,
        reason=_difference(found, path, auto_vacuum, journal_mode),
        auto_vacuum=found.auto_vacuum,
        journal_mode=found.journal_mode,
        page_size=found.page_size,
    )


def _difference(
    found: Measurement, path: Path, auto_vacuum: AutoVacuum, journal_mode: JournalMode
) -> str | None:
    """What an existing database has that was not asked for, and how to change it."""
    said = []
    if found.auto_vacuum != auto_vacuum:
        text = f"auto_vacuum is {found.auto_vacuum}"
        if "none" in (found.auto_vacuum, auto_vacuum):
            wanted = "" if auto_vacuum == "incremental" else f"--auto-vacuum {auto_vacuum} "
            said.append(f"{text}; to change it: keeper convert {wanted}{shlex.quote(str(path))}")
        else:
            said.append(f"{text}, left to the application")
    if found.journal_mode != journal_mode:
        said.append(f"journal_mode is {found.journal_mode}, left to the application")
    return "; ".join(said) or None
