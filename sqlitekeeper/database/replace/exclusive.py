"""The lock that keeps everybody out of a database before its file is replaced.

SQLite is not asked: opening a database recovers its journal, and a file that
is about to be set aside should stay exactly as it is.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlitekeeper.database.files import OF_SQLITE, sidecar, sidecars_of
from sqlitekeeper.database.journal import refuse_transaction
from sqlitekeeper.database.processes import openers
from sqlitekeeper.errors import BusyError, KeeperError

# The bytes that SQLite locks: pending, reserved, and 510 shared ones
# (https://sqlite.org/src/file/src/os.h). Every connection to a WAL database
# holds a lock on the shared bytes for as long as it is open.
PENDING_BYTE = 0x40000000
LOCK_BYTES = 2 + 510

HINT = "stop the application first; a database must not be replaced under it"


DELETED_HINT = (
    "stop the application first; what it has committed goes with it, unless you save it from within"
)


def refuse_if_open(path: Path) -> None:
    """Refuse a database that a process of this host has open, deleted or not.

    Raises:
        BusyError: names the processes, as far as this user may see them; or another host
            or container locks it by a `.lock` beside it.
    """
    suffixes = {*OF_SQLITE, *sidecars_of(path)}
    users = openers([path, *(sidecar(path, suffix) for suffix in sorted(suffixes))])
    if not users:
        if os.path.lexists(path):
            refuse_transaction(path)
        return
    who = ", ".join(map(str, users))
    if os.path.lexists(path):
        raise BusyError(f"{path}: is open in {who}", hint=HINT)
    raise BusyError(f"{path}: was deleted, and is still open in {who}", hint=DELETED_HINT)


@contextmanager
def exclusive_file(path: Path) -> Iterator[int]:
    """Keep every SQLite connection out of a database file.

    This process must have no connection to it, and must not open it again:
    closing any descriptor of a file drops all of this process's locks on it.
    Gives the descriptor that holds the lock.

    Raises:
        BusyError: somebody holds a lock on it.
        KeeperError: it cannot be opened for writing.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        hint = "run keeper as root, or as the owner of the database"
        closed = isinstance(error, PermissionError)
        message = f"{path}: cannot be locked ({error.strerror})"
        raise KeeperError(message, hint=hint if closed else None) from None
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, LOCK_BYTES, PENDING_BYTE)
        except (BlockingIOError, PermissionError):
            raise BusyError(f"{path}: another process has it open", hint=HINT) from None
        yield descriptor
    finally:
        os.close(descriptor)
