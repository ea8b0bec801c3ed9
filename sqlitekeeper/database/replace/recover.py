"""The WAL or hot journal of a database, rolled into its one file by SQLite."""

import os
from pathlib import Path

import apsw

from sqlitekeeper.database.connection import harden, sqlite_errors
from sqlitekeeper.database.files import LOG, sidecar, sidecars_of
from sqlitekeeper.database.journal import GoesOnError, wait_for_others
from sqlitekeeper.database.refuse import refuse_unreadable
from sqlitekeeper.database.replace.exclusive import HINT
from sqlitekeeper.errors import BusyError, CheckError, NotADatabaseError, ReadOnlyError

# What changes when somebody writes to a file; None where there is nothing in it.
Trace = tuple[int, int, int] | None


def trace(path: Path) -> Trace:
    """The inode, size and time of a file; one of no bytes is as good as none."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    return (facts.st_ino, facts.st_size, facts.st_mtime_ns) if facts.st_size else None


def traces(path: Path) -> tuple[Trace, ...]:
    """The trace of a database file, and of each sidecar that can have transactions."""
    log = trace(sidecar(path, LOG)) if LOG in sidecars_of(path) else None
    return (*(trace(sidecar(path, suffix)) for suffix in ("", "-wal", "-journal")), log)


def try_to_settle(path: Path, before: tuple[Trace, ...] | None = None) -> Trace:
    """As `settle`, but None where the database is too damaged for SQLite to settle it.

    Raises:
        BusyError: somebody else has it open, or has written to it.
    """
    try:
        return settle(path, before)
    except (CheckError, NotADatabaseError, ReadOnlyError):
        # Read-only is one whose header asks for a later version of SQLite.
        return None


def settle(path: Path, before: tuple[Trace, ...] | None = None) -> Trace:
    """Let SQLite bring the WAL or the hot journal of a database into its one file.

    `before` are its traces as they have to be. Returns the trace of the file, taken
    while nobody else could write. A WAL that cannot be settled stays as it is, and so
    does the file; a journal is rolled back before SQLite looks at what is in the file.

    Raises:
        BusyError: somebody else has it open, or has written to it.
        CheckError, NotADatabaseError, ReadOnlyError: it is damaged.
    """
    if before is not None and traces(path) != before:
        raise BusyError(f"{path}: somebody wrote to it meanwhile", hint=HINT)
    with sqlite_errors(path):
        # Not `open_database`, whose connection writes the WAL into whatever the file is now
        # when it is closed, also after SQLite has found that it is no database.
        connection = apsw.Connection(os.fspath(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            refuse_unreadable(connection, path)
            harden(connection)
            wait_for_others(path, 0, write=True, is_stopped=True)
            # The lock then stays until the connection is closed, and no -shm is made.
            connection.pragma("locking_mode", "exclusive")
            connection.execute("BEGIN EXCLUSIVE; COMMIT").fetchall()
            # Not the pragma, which reads the schema, and needs one that can be read.
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            settled = trace(path)
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
            return settled
        except GoesOnError:
            raise
        except apsw.BusyError:
            raise BusyError(f"{path}: another process has it open", hint=HINT) from None
        finally:
            connection.close()
