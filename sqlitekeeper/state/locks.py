"""One keeper run at a time on each database, by flock in keeper's own folder.

Never on the database itself: SQLite's POSIX locks live there.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlitekeeper.errors import KeeperError, LockedError
from sqlitekeeper.state.folder import PRIVATE_FOLDER, prepare_state_folder

POLL_SECONDS = 0.05


def lock_path(state: Path, database: Path) -> Path:
    """The lock file of a database, the same for every name that leads to it."""
    real = os.path.realpath(database)
    digest = hashlib.sha256(os.fsencode(real)).hexdigest()[:16]
    return state / "locks" / f"{digest}.lock"


@contextmanager
def database_lock(state: Path, database: Path, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold keeper's lock on a database, or a folder; the kernel drops it when the process dies.

    Raises:
        LockedError: another run still holds it after `wait_seconds`.
        KeeperError: the state folder cannot be written.
    """
    path = lock_path(prepare_state_folder(state), database)
    try:
        path.parent.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise KeeperError(f"{path}: lock file: {error.strerror}") from None
    try:
        _acquire(descriptor, database, time.monotonic() + wait_seconds)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, database: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise LockedError(f"{database}: another keeper run holds the lock") from None
            time.sleep(POLL_SECONDS)
        else:
            return
