"""Transactions of applications whose locks SQLite does not see here: they stay untouched.

SQLite takes a journal for one that a crash has left, and rolls it back, where nobody holds
the RESERVED lock (https://sqlite.org/lockingv3.html). An application with the VFS
unix-dotfile locks by a `<file>.lock` beside the file instead, one with unix-none not at
all: their living journals look the same. The `.lock` and the open files of processes tell.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

import apsw

from sqlitekeeper.database.blind_spot import blind_spot
from sqlitekeeper.database.files import sidecar, size_of
from sqlitekeeper.database.processes import locking_file, openers
from sqlitekeeper.errors import BusyError
from sqlitekeeper.workers import stop_if_asked

POLL_SECONDS = 0.01
# /proc/*/fd has an entry for every open file of the host.
SCAN_SECONDS = 1.0
HEADER_BYTES = 28


class GoesOnError(apsw.BusyError):
    """A transaction goes on, or was cut off in an application that is still there."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def journal_header(path: Path) -> bytes:
    """The header of a database's rollback journal; nothing where there is none.

    One that this user may not read counts as hot.
    """
    journal = sidecar(path, "-journal")
    if not size_of(journal):
        return b""
    try:
        # Not a file that SQLite locks, so opening it drops no lock.
        with journal.open("rb") as stream:
            return stream.read(HEADER_BYTES)
    except FileNotFoundError:
        return b""
    except OSError:
        return b"?"


def is_hot(header: bytes) -> bool:
    """Whether pages of the database may have been overwritten; as SQLite tells it."""
    return header[:1] not in (b"", b"\0")


def is_begun(header: bytes) -> bool:
    """Whether a journal is of a transaction that has not ended.

    Until its first sync the magic number is missing, but the sizes of a sector and a page
    are there (https://sqlite.org/fileformat.html#the_rollback_journal). journal_mode PERSIST
    leaves 28 zeros when a transaction ends, TRUNCATE nothing.
    """
    return is_hot(header) or any(header[20:HEADER_BYTES])


def wait_for_others(
    path: Path, seconds: float, *, write: bool, in_wal: bool = False, is_stopped: bool = False
) -> None:
    """Wait until nobody works on a database whose locks SQLite does not see.

    To be called before each statement that could roll a journal back, or write one.
    With `is_stopped` it is known that nobody does of whom nothing can be seen.

    Raises:
        GoesOnError: somebody still does after that time, or may do.
    """
    ends = time.monotonic() + seconds
    while True:
        header = journal_header(path)
        busy = _in_journal(path, header, write, is_stopped) if header else None
        if not busy and in_wal:
            busy = _in_wal(path)
        if not busy:
            return
        until = min(ends, time.monotonic() + SCAN_SECONDS)
        while time.monotonic() < until and journal_header(path) == header:
            stop_if_asked()
            time.sleep(POLL_SECONDS)
        if time.monotonic() >= ends:
            raise busy


def refuse_transaction(path: Path) -> None:
    """Refuse a database in whose journal somebody writes, or may do.

    Raises:
        BusyError: says who, or what tells so.
    """
    try:
        wait_for_others(path, 0, write=True, is_stopped=True)
    except GoesOnError as error:
        raise BusyError(error.message, hint=error.hint) from None


def guard(connection: apsw.Connection, path: Path, wait_seconds: float) -> None:
    """Look for others before each statement of a connection that may write, as late as possible.

    An application may begin its transaction between two of ours.
    """

    journal = sidecar(path, "-journal")

    def before_statement(*_: object) -> bool:
        if not connection.in_transaction and size_of(journal):
            wait_for_others(path, wait_seconds, write=True)
        return True

    connection.exec_trace = before_statement


def _in_journal(path: Path, header: bytes, write: bool, is_stopped: bool) -> GoesOnError | None:
    """Somebody in a transaction with a rollback journal. Who reads may do so until it is hot."""
    if not (is_hot(header) or (write and is_begun(header))):
        return None
    # With POSIX locks SQLite itself waits, and never rolls back. Elsewhere they may not work.
    with suppress(apsw.Error), locking_file(path) as file:
        if file.xCheckReservedLock():
            return None
    if journal_header(path) != header:
        # It has a random number for each transaction, so the one that was seen has ended.
        return None
    journal, lock = sidecar(path, "-journal"), sidecar(path, ".lock")
    # Who works on it has the journal open; a hot one is also left to who could roll it back.
    users = openers([journal, path] if is_hot(header) else [journal])
    if users:
        return GoesOnError(
            f"{path}: is open in {', '.join(map(str, users))}, and {journal.name} beside it says"
            " that a transaction goes on, or was cut off",
            "try again when it is done; if it was cut off, restart the application, which rolls"
            " it back",
        )
    if os.path.lexists(lock):
        return GoesOnError(
            f"{path}: {lock.name} and {journal.name} beside it say that a transaction goes on, or"
            " was cut off, in an application with the VFS unix-dotfile",
            "try again when it is done; if it was cut off, make sure that the application is"
            f" stopped, remove {lock}, and start it: it rolls the transaction back",
        )
    if not is_stopped and (blind := blind_spot(path)):
        return GoesOnError(
            f"{path}: {journal.name} beside it says that a transaction goes on, or was cut off,"
            f" and {blind}",
            "try again when it is done; if it was cut off, start the application, which rolls it"
            " back",
        )
    return None


def _in_wal(path: Path) -> GoesOnError | None:
    """Somebody who keeps the index of the WAL to itself, and takes no lock that SQLite sees."""
    wal = sidecar(path, "-wal")
    if not wal.exists() or sidecar(path, "-shm").exists():
        return None
    try:
        with locking_file(path) as file:
            file.xLock(apsw.SQLITE_LOCK_SHARED)
    except apsw.BusyError:
        # With POSIX locks SQLite itself waits.
        return None
    except apsw.Error:
        pass
    users = openers([wal])
    lock = sidecar(path, ".lock")
    if not users and not os.path.lexists(lock):
        return None
    who = f"open in {', '.join(map(str, users))}" if users else f"in use, says {lock.name}"
    return GoesOnError(
        f"{path}: its WAL is {who}, without an index that others could read (-shm)",
        "stop the application first"
        + ("" if users else f"; if it is stopped, remove {lock} and start it"),
    )
