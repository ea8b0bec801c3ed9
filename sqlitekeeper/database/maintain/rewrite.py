"""A database's pages written anew in another auto-vacuum mode, each row under its old rowid.

VACUUM gives new rowids to tables with neither an INTEGER PRIMARY KEY nor an index;
VACUUM INTO does not (https://sqlite.org/lang_vacuum.html). Therefore:

    writers are held off: VACUUM INTO a private copy -> the copy is compared and checked
    the backup API writes the copy over the database, in one transaction of SQLite's

A moment lies between the two. What somebody commits in it is noticed before the
first page is written, and the whole begins again.
"""

import os
from collections.abc import Callable
from pathlib import Path

import apsw

from sqlitekeeper import wording
from sqlitekeeper.database.check import integrity_problems
from sqlitekeeper.database.connection import harden, in_wal_mode, pragma_int, report_progress
from sqlitekeeper.database.files import size_of
from sqlitekeeper.database.journal import wait_for_others
from sqlitekeeper.database.maintain.comparison import differences
from sqlitekeeper.database.snapshot.page_copy import STEP_PAGES
from sqlitekeeper.database.snapshot.snapshot import create_private, unsynced
from sqlitekeeper.errors import BusyError, CheckError, NoRoomError
from sqlitekeeper.filesystem.disks import free_bytes
from sqlitekeeper.filesystem.private_folder import STAGING, private_folder
from sqlitekeeper.workers import result_of, stop_if_asked, worker_pool

# A commit gets in between only where its lock is asked for within microseconds.
TRIES = 5
_COPY = "keeper_copy"
_ELSEWHERE = "make room there, or set SQLITE_TMPDIR to a folder on another disk"

Advance = Callable[[int], None]


def sqlite_temporary_folder() -> Path:
    """Where SQLite puts its temporary files, and keeper the copy.

    The order is SQLite's own: https://sqlite.org/tempfiles.html, section 5.
    """
    candidates = (os.environ.get("SQLITE_TMPDIR"), os.environ.get("TMPDIR"))
    for name in (*candidates, "/var/tmp", "/usr/tmp", "/tmp", "."):  # noqa: S108
        if name and os.path.isdir(name) and os.access(name, os.W_OK | os.X_OK):  # noqa: PTH112
            return Path(os.path.realpath(name))
    return Path.cwd()


def folders(path: Path) -> tuple[Path, Path]:
    """Where a copy may lie: SQLite's temporary folder, or else the database's own."""
    return sqlite_temporary_folder(), Path(os.path.realpath(path)).parent


def choose_folder(path: Path, live_bytes: int) -> Path:
    """The first of the folders that has room for a copy.

    The pages in use are written twice: to the copy, and in the database's own folder to
    the WAL or, as they were before, to the rollback journal.

    Raises:
        NoRoomError: none has it.
    """
    need = _need(live_bytes)
    temporary, home = folders(path)
    if free_bytes(home) < need:
        raise _no_room(path, home, need)
    if temporary.stat().st_dev != home.stat().st_dev:
        if free_bytes(temporary) >= need:
            return temporary
        if free_bytes(home) < 2 * need:
            raise _no_room(path, temporary, need, _ELSEWHERE)
        return home
    if free_bytes(home) < 2 * need:
        raise _no_room(path, home, 2 * need, _ELSEWHERE)
    return temporary


def _need(live_bytes: int) -> int:
    # Pointer-map pages, and the headers of the frames in a WAL, add less than 2 %.
    return live_bytes + live_bytes // 50 + 2**20


def _no_room(path: Path, folder: Path, need: int, hint: str = "make room there") -> NoRoomError:
    return NoRoomError(
        f"{path}: converting it needs about {wording.size(need)} in {folder},"
        f" which has {wording.size(free_bytes(folder))}",
        hint=hint,
    )


def rewrite(
    reader: apsw.Connection, writer: apsw.Connection, path: Path, live_bytes: int, advance: Advance
) -> None:
    """Write a database anew in the auto-vacuum mode that `PRAGMA auto_vacuum` gave to `reader`.

    Both are connections to the database at `path`, without a transaction. Readers
    go on, in rollback mode until the copy is written over the database; writers
    wait. `advance` gets the bytes written, of twice `live_bytes`.

    Raises:
        apsw.SQLError: VACUUM INTO needs what only the application has.
        BusyError: commits got in between each time.
        CheckError: the copy is not what the database is; nothing was changed.
        NoRoomError: a folder turned out to be too small; nothing was changed.
    """
    folder = choose_folder(path, live_bytes)
    with private_folder(folder, STAGING) as work_folder:
        copy = work_folder / "copy"
        report_progress(reader, lambda: advance(min(size_of(copy), live_bytes)))
        for _ in range(TRIES):
            create_private(copy)
            writer.execute("BEGIN IMMEDIATE")
            try:
                state = _state(reader)
                _make_copy(reader, path, copy, live_bytes)
                reader.execute(f"ATTACH ? AS {_COPY}", (os.fspath(copy),))
                _verify_copy(reader, path, copy)
            finally:
                writer.execute("ROLLBACK")
            # The backup API is no statement, which the connection itself would look before.
            wait_for_others(path, 0, write=True)
            try:
                done = _write_back(reader, writer, state, lambda done: advance(live_bytes + done))
            except apsw.FullError:
                raise _no_room(path, folders(path)[1], _need(live_bytes)) from None
            reader.execute(f"DETACH {_COPY}")
            if done:
                return
            copy.unlink()
    raise BusyError(
        f"{path}: not converted: it was written to at the same moment {TRIES} times",
        hint="try again when the application writes less",
    )


def _state(connection: apsw.Connection) -> int | bytes:
    """What changes with every commit of another connection.

    In rollback mode nobody can ask a pragma while somebody writes the database; its
    header, which has a change counter, can be read all the same.
    """
    if in_wal_mode(connection):
        return pragma_int(connection, "data_version")
    return connection.read("main", 0, 0, 100)[1]


def _make_copy(connection: apsw.Connection, path: Path, copy: Path, live_bytes: int) -> None:
    try:
        with unsynced(connection):
            connection.execute("VACUUM INTO ?", (os.fspath(copy),))
    except apsw.FullError:
        copy.unlink()
        raise _no_room(path, copy.parent.parent, _need(live_bytes), _ELSEWHERE) from None


def _verify_copy(connection: apsw.Connection, path: Path, copy: Path) -> None:
    """Compare the copy with the database and check it, at once: writers wait meanwhile."""
    with worker_pool(1) as checker:
        checked = checker.submit(_problems, copy)
        wrong = [f"differs from it in {name}" for name in differences(connection, _COPY)]
        wrong += [f"is not sound: {problem}" for problem in result_of(checked)]
    if wrong:
        raise CheckError(f"{path}: left as it is, since a copy of it {wrong[0]}")


def _problems(copy: Path) -> list[str]:
    connection = apsw.Connection(os.fspath(copy), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        harden(connection)
        report_progress(connection, lambda: None)
        # Nobody else has it: it can neither shrink nor change under the mapping.
        connection.pragma("mmap_size", size_of(copy))
        return integrity_problems(connection, "integrity")
    finally:
        connection.close()


def _write_back(
    reader: apsw.Connection, writer: apsw.Connection, state: int | bytes, advance: Advance
) -> bool:
    """Write the copy over the database, unless it has another state by now; whether it was."""
    page_size = pragma_int(reader, "page_size")
    with writer.backup("main", reader, _COPY) as backup:
        # Takes the lock, and copies nothing: one page might be all.
        backup.step(0)
        if _state(reader) != state:
            return False
        while not backup.done:
            stop_if_asked()
            backup.step(STEP_PAGES)
            advance((backup.page_count - backup.remaining) * page_size)
    return True
