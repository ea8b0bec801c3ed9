"""New database files, with auto-vacuum set before anything else is written."""

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlitekeeper.database.connection import open_database, pragma_int, sqlite_errors
from sqlitekeeper.database.exclusive import exclusive_file
from sqlitekeeper.database.files import sidecar, size_of, stat_database
from sqlitekeeper.database.measure import AUTO_VACUUM, AutoVacuum, Measurement, measure
from sqlitekeeper.errors import ConfigError, KeeperError

JournalMode = Literal["wal", "delete"]
PAGE_SIZES = tuple(2**power for power in range(9, 17))


@dataclass(frozen=True, slots=True)
class InitResult:
    """A database that was created, or that was there already."""

    name: str
    path: Path
    outcome: Literal["created", "exists", "failed"]
    reason: str | None = None
    auto_vacuum: str | None = None
    journal_mode: str | None = None
    page_size: int | None = None
    exit_code: int = 0


def create_database(
    path: Path,
    *,
    auto_vacuum: AutoVacuum = "incremental",
    journal_mode: JournalMode = "wal",
    page_size: int | None = None,
    exist_ok: bool = False,
) -> Literal["created", "exists"]:
    """Create a database file; an empty file at `path` counts as new.

    The settings are read back through a fresh connection. When root creates
    the file in another user's folder, it is given to that user.

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
            hint=f"create it first: mkdir -p {path.parent}",
        )
    created = _claim(path)
    if not created:
        facts = stat_database(path)
        if facts.st_size > 0:
            if exist_ok:
                return "exists"
            raise KeeperError(
                f"{path}: exists already, left as it is",
                hint="--exist-ok accepts that; keeper convert changes an existing database",
            )
        if left := [suffix for suffix in ("-wal", "-journal") if sidecar(path, suffix).exists()]:
            raise KeeperError(
                f"{path}: is empty, but {path.name}{left[0]} lies beside it",
                hint="SQLite would mix the two; find out where it comes from and move it away",
            )
    try:
        _write_settings(path, auto_vacuum, journal_mode, page_size)
        _read_back(measure(path), path, auto_vacuum, journal_mode, page_size)
    except BaseException:
        if created:
            _remove_if_empty(path)
        raise
    return "created"


def _remove_if_empty(path: Path) -> None:
    """Take back a file that was claimed, unless somebody has put something into it meanwhile."""
    with contextlib.suppress(KeeperError), exclusive_file(path) as descriptor:
        if os.fstat(descriptor).st_size == 0 and not size_of(sidecar(path, "-wal")):
            path.unlink()


def _claim(path: Path) -> bool:
    """Create an empty file, or say that something is there already."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        return False
    except OSError as error:
        raise KeeperError(f"{path}: {error.strerror}") from None
    folder = path.parent.stat()
    if os.geteuid() == 0 and folder.st_uid != 0 and not folder.st_mode & stat.S_ISVTX:
        os.fchown(descriptor, folder.st_uid, folder.st_gid)
    os.close(descriptor)
    return True


def _write_settings(
    path: Path, auto_vacuum: AutoVacuum, journal_mode: JournalMode, page_size: int | None
) -> None:
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


def _read_back(
    found: Measurement,
    path: Path,
    auto_vacuum: AutoVacuum,
    journal_mode: JournalMode,
    page_size: int | None,
) -> None:
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
    )
    found = measure(path)
    different = outcome == "exists" and found.auto_vacuum != auto_vacuum
    return InitResult(
        name=path.stem,
        path=path,
        outcome=outcome,
        reason=f"auto_vacuum is {found.auto_vacuum}; to change it: keeper convert {path}"
        if different
        else None,
        auto_vacuum=found.auto_vacuum,
        journal_mode=found.journal_mode,
        page_size=found.page_size,
    )
