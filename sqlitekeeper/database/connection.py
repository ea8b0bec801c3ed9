"""Opening other people's databases without changing them by accident.

Nothing here applies apsw's "best practice" or any other setting that outlives
the connection. A path is always a file's name, never a URI.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from sqlitekeeper.database.files import (
    can_write,
    network_filesystem,
    sidecar,
    stat_database,
    user_name,
)
from sqlitekeeper.errors import (
    BusyError,
    CheckError,
    KeeperError,
    NotADatabaseError,
    ReadOnlyError,
)
from sqlitekeeper.workers import stop_if_asked

WAL_FORMAT = 2  # bytes 18 and 19 of the header, https://sqlite.org/fileformat.html


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn apsw's exceptions into keeper's, with the file named."""
    try:
        yield
    except apsw.BusyError:
        raise BusyError(
            f"{path}: database is locked",
            hint="another process holds a lock on it; try again when it is done",
        ) from None
    except apsw.NotADBError:
        raise NotADatabaseError(f"{path}: is not an SQLite database, or it is encrypted") from None
    except apsw.CorruptError as error:
        raise CheckError(
            f"{path}: the database is damaged ({error})",
            hint="restore a snapshot, or salvage it with the sqlite3 shell's .recover",
        ) from None
    except apsw.ReadOnlyError as error:
        raise ReadOnlyError(f"{path}: {error}") from None
    except apsw.FullError:
        raise KeeperError(f"{path}: the disk is full") from None
    except (apsw.CantOpenError, apsw.AuthError, apsw.PermissionsError) as error:
        raise KeeperError(f"{path}: cannot be opened ({error})") from None
    except apsw.Error as error:
        raise KeeperError(f"{path}: {error}") from None


def wait_for_locks(connection: apsw.Connection, seconds: float) -> None:
    """Retry locked operations for up to `seconds`.

    The waiting happens in Python, unlike SQLite's own busy timeout, so that a
    signal ends it at once. It polls every millisecond without backing off:
    beside a writer that commits without pause, the gaps are that short.
    """
    began = 0.0

    def handler(tries: int) -> bool:
        nonlocal began
        now = time.monotonic()
        if tries == 0:
            began = now
        stop_if_asked()
        if now - began >= seconds:
            return False
        time.sleep(0.001)
        return True

    connection.set_busy_handler(handler)


def report_progress(connection: apsw.Connection, tick: Callable[[], None]) -> None:
    """Call `tick` every few milliseconds of work.

    Also what makes long statements end on a signal: Python runs its signal
    handlers, and may raise, only between bytecodes.
    """

    def handler() -> bool:
        stop_if_asked()
        tick()
        return False

    connection.set_progress_handler(handler, 10_000)


def _refuse_foreign_sidecars(path: Path, owner: int) -> None:
    """A WAL or its index made under another user's id would lock the application out."""
    me = os.geteuid()
    if me in (0, owner) or all(sidecar(path, suffix).exists() for suffix in ("-wal", "-shm")):
        return
    name = user_name(owner)
    raise KeeperError(
        f"{path}: belongs to {name}; keeper would create -wal and -shm files that {name} "
        "cannot open",
        hint=f"run it as that user: sudo -u {name} keeper ...",
    )


@contextmanager
def open_database(
    path: Path, *, write: bool = False, wait_seconds: float = 5.0
) -> Iterator[apsw.Connection]:
    """Open an existing database file and close it in the end.

    Raises:
        KeeperError: not a regular file, not a database, not openable, or one
            whose sidecar files would get the wrong owner.
        ReadOnlyError: `write` was asked for a WAL database on a network file system.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 (resolve() would follow links)
    facts = stat_database(path)
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        raise KeeperError(
            f"{os.fspath(path)!r}: SQLite opens only names that are valid UTF-8"
        ) from None
    with sqlite_errors(path):
        connection = _connect(path, write)
        try:
            in_wal_mode = WAL_FORMAT in connection.read("main", 0, 18, 2)[1]
            if in_wal_mode:
                _refuse_foreign_sidecars(path, facts.st_uid)
                remote = network_filesystem(path)
                if write and remote:
                    raise ReadOnlyError(
                        f"{path}: WAL mode does not work across hosts, and this is {remote}",
                        hint="run keeper on the host that has the disk",
                    )
                if not (write or remote) and _would_leave_sidecars(path):
                    connection.close()
                    connection = _connect(path, write=True)
            _harden(connection)
            wait_for_locks(connection, wait_seconds)
            yield connection
        finally:
            connection.close()


def _connect(path: Path, write: bool) -> apsw.Connection:
    mode = apsw.SQLITE_OPEN_READWRITE if write else apsw.SQLITE_OPEN_READONLY
    return apsw.Connection(os.fspath(path), flags=mode)


def _would_leave_sidecars(path: Path) -> bool:
    """Whether reading this WAL database through a read-only connection would litter.

    Such a connection makes -wal and -shm and cannot remove them. One that may
    write removes them as it closes, and has nothing to checkpoint before. What
    counts is what this process can write: root could write a read-only file.
    """
    return not sidecar(path, "-wal").exists() and can_write(path)


def _harden(connection: apsw.Connection) -> None:
    """Let nothing in the schema run code; this outlives neither the connection nor the run."""
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_VIEW, 0)


def pragma_int(connection: apsw.Connection, name: str) -> int:
    """The value of a pragma that is a whole number."""
    value = connection.pragma(name)
    if not isinstance(value, int):
        raise KeeperError(f"{connection.filename}: PRAGMA {name} gave {value!r}")
    return value


def pragma_text(connection: apsw.Connection, name: str) -> str:
    """The value of a pragma that is a word."""
    return str(connection.pragma(name))


def scalar(connection: apsw.Connection, sql: str) -> int:
    """The one whole number that a query gives."""
    value = connection.execute(sql).get
    if not isinstance(value, int):
        raise KeeperError(f"{connection.filename}: {sql} gave {value!r}")
    return value
