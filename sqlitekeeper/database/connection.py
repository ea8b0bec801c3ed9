"""Connections to other people's databases, which change nothing by accident.

Nothing here applies apsw's "best practice" or any other setting that outlives
the connection. A path is always a file's name, never a URI.
"""

import os
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import apsw

from sqlitekeeper.database.files import can_write, sidecar, size_of, stat_database, wal_files
from sqlitekeeper.database.journal import GoesOnError, guard, wait_for_others
from sqlitekeeper.database.processes import remove_unused
from sqlitekeeper.database.refuse import (
    locked_error,
    refuse_foreign_sidecars,
    refuse_lone_wal,
    refuse_remote,
    refuse_second_name,
    refuse_shut_sidecars,
    refuse_unreadable,
)
from sqlitekeeper.errors import BusyError, CheckError, KeeperError, NotADatabaseError, ReadOnlyError
from sqlitekeeper.filesystem.disks import network_filesystem
from sqlitekeeper.lock_wait import bounded
from sqlitekeeper.workers import stop_if_asked

# https://sqlite.org/rescode.html: a journal or a WAL to recover, on a read-only connection.
NEEDS_RECOVERY = (apsw.SQLITE_READONLY_ROLLBACK, apsw.SQLITE_READONLY_RECOVERY)
WAL_FORMAT = 2  # bytes 18 and 19 of the header, https://sqlite.org/fileformat.html


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn apsw's exceptions into keeper's, with the file named."""
    try:
        yield
    except GoesOnError as error:
        raise BusyError(error.message, hint=error.hint) from None
    except apsw.BusyError:
        raise locked_error(path) from None
    except apsw.NotADBError:
        raise NotADatabaseError(f"{path}: is not an SQLite database, or it is encrypted") from None
    except apsw.CorruptError as error:
        _refuse_torn(path)
        raise CheckError(
            f"{path}: the database is damaged ({error})",
            hint="restore a snapshot, or salvage it with the sqlite3 shell's .recover",
        ) from None
    except apsw.ReadOnlyError as error:
        if getattr(error, "extendedresult", None) in NEEDS_RECOVERY:
            _refuse_torn(path)
            raise ReadOnlyError(
                f"{path}: a transaction was cut off, and nobody has rolled it back yet",
                hint=f"start the application, or: keeper vacuum {shlex.quote(str(path))}",
            ) from None
        raise ReadOnlyError(f"{path}: {error}") from None
    except apsw.FullError:
        raise KeeperError(f"{path}: the disk is full") from None
    except (apsw.CantOpenError, apsw.AuthError, apsw.PermissionsError) as error:
        raise KeeperError(f"{path}: cannot be opened ({error})") from None
    except apsw.Error as error:
        raise KeeperError(f"{path}: {error}") from None
    except UnicodeError as error:
        found = error.object if isinstance(error, UnicodeDecodeError) else b""
        raise KeeperError(
            f"{path}: a name in its schema is not valid UTF-8: {found[:60]!r}",
            hint="rename it in the application: ALTER TABLE ... RENAME",
        ) from None


def _refuse_torn(path: Path) -> None:
    """Put a failure down to an application that writes pages whose locks SQLite does not see."""
    try:
        wait_for_others(path, 0, write=False)
    except GoesOnError as error:
        raise BusyError(error.message, hint=error.hint) from None


def wait_for_locks(connection: apsw.Connection, seconds: float) -> None:
    """Retry locked operations for up to `seconds`.

    The waiting happens in Python, unlike SQLite's own busy timeout, so that a
    signal ends it at once. It polls every millisecond without backing off:
    beside a writer that commits without pause, the gaps are that short.
    """
    began, seconds = 0.0, bounded(seconds)

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


@contextmanager
def open_database(
    path: Path, *, write: bool = False, wait_seconds: float = 5.0
) -> Iterator[apsw.Connection]:
    """Open an existing database file and close it in the end.

    Raises:
        KeeperError: not a regular file, not a database, not openable, or one that
            is refused for the sake of its WAL: see refusals.py.
        ReadOnlyError: `write` was asked for a WAL database on a network file system.
    """
    stat_database(path)
    named, wait_seconds = path, bounded(wait_seconds)
    # From here on a symlink may change: all that is looked at belongs to one file.
    path = Path(os.path.realpath(path))
    facts = stat_database(path)
    refuse_lone_wal(path, facts)
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        raise KeeperError(
            f"{os.fspath(path)!r}: SQLite opens only names that are valid UTF-8"
        ) from None
    with sqlite_errors(named), _watching(path, facts):
        connection = _connect(path, write)
        frozen = None
        there, in_wal = wal_files(path), False
        try:
            refuse_unreadable(connection, path)
            in_wal = in_wal_mode(connection)
            wait_for_others(path, wait_seconds, write=write, in_wal=in_wal)
            if in_wal:
                remote = network_filesystem(path)
                before = _traces(path)
                if not (write or remote) and _cannot_be_written(path, facts):
                    connection.close()
                    frozen = before
                    connection = _connect_immutable(path)
                else:
                    refuse_second_name(path, facts)
                    refuse_foreign_sidecars(path, facts.st_uid)
                if write:
                    refuse_remote(path)
                    refuse_shut_sidecars(path)
                if not (write or remote or frozen) and _would_leave_sidecars(path):
                    connection.close()
                    connection = _connect(path, write=True)
            harden(connection)
            wait_for_locks(connection, wait_seconds)
            if write:
                guard(connection, path, wait_seconds)
            if not frozen and (in_wal or there):
                _open_wal(connection, path, facts)
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
            yield connection
        except apsw.Error:
            _refuse_changed(path, frozen)
            raise
        finally:
            connection.close()
            if (in_wal or there) and (made := wal_files(path) - there):
                remove_unused(path, made)
        _refuse_changed(path, frozen)


@contextmanager
def _watching(path: Path, before: os.stat_result) -> Iterator[None]:
    """Put a failure down to the application, where it has replaced its database meanwhile.

    SQLite opens the file, its WAL and its journal by name, and stats the file to
    give the WAL its mode: any of these then fails, with words that sound like a bad disk.
    """
    try:
        yield
    except (apsw.Error, OSError):
        # Where it cannot be told, what has failed first is what counts.
        with suppress(OSError):
            _refuse_replaced(path, before)
        raise


def in_wal_mode(connection: apsw.Connection) -> bool:
    """Whether the file's header says so."""
    return WAL_FORMAT in connection.read("main", 0, 18, 2)[1]


def _connect(path: Path, write: bool) -> apsw.Connection:
    mode = apsw.SQLITE_OPEN_READWRITE if write else apsw.SQLITE_OPEN_READONLY
    connection = apsw.Connection(os.fspath(path), flags=mode)
    # Closing it would bring the WAL into the file, also of a database that it cannot read.
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    return connection


def _connect_immutable(path: Path) -> apsw.Connection:
    """A connection that takes no lock and reads no WAL; see https://sqlite.org/uri.html."""
    mode = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    return apsw.Connection(f"file:{quote(os.fspath(path))}?immutable=1", flags=mode)


def _cannot_be_written(path: Path, facts: os.stat_result) -> bool:
    """Whether a WAL database at rest can only be read without its sidecars.

    To read it, SQLite needs a -shm, and where this process may make none, as on
    a read-only mount, it gives up (https://sqlite.org/wal.html#readonly); in a
    folder that can be written, it makes one that is as read-only as the file,
    and leaves it. While a connection is open both sidecars are there.

    Raises:
        KeeperError: there is a WAL to be read, and no way to do it.
    """
    if can_write(path) or sidecar(path, "-shm").exists():
        return False
    real = os.path.realpath(path)
    read_only_mount = bool(os.statvfs(real).f_flag & os.ST_RDONLY)
    if not read_only_mount and os.geteuid() not in (0, facts.st_uid):
        return False
    if not size_of(sidecar(path, "-wal")):
        return True
    if os.access(os.path.dirname(real), os.W_OK):  # noqa: PTH120
        return False
    raise KeeperError(
        f"{path}: has a WAL that holds changes, and its folder is read-only:"
        " SQLite cannot read the two together there",
        hint="copy both files to a folder that can be written, and name the copy",
    )


def _traces(path: Path) -> tuple[object, ...]:
    """What changes when somebody writes to a database, or has it open in WAL mode."""
    facts = path.stat()
    beside = [size_of(sidecar(path, suffix)) for suffix in ("-wal", "-shm")]
    return (facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, *beside)


def _refuse_changed(path: Path, frozen: tuple[object, ...] | None) -> None:
    """What was read as immutable must have been; nothing that was read counts otherwise."""
    if frozen and _traces(path) != frozen:
        raise BusyError(
            f"{path}: somebody opened it while it was read, which keeper may not lock",
            hint="try again; or run keeper where its folder can be written",
        )


def _open_wal(connection: apsw.Connection, path: Path, before: os.stat_result) -> None:
    """Have SQLite read the schema, and make sure that the WAL belongs to the file that was opened.

    Both are opened by name. An application that replaces its database in between
    would have its new WAL checkpointed into the old file, and emptied.

    Raises:
        BusyError: there is another file now, or none.
    """
    connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
    _refuse_replaced(path, before)


def _refuse_replaced(path: Path, before: os.stat_result) -> None:
    """Go no further with a file that is not the one of that name any more."""
    try:
        now = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        reason = f"was replaced while keeper had it open ({error.strerror})"
        raise BusyError(f"{path}: {reason}", hint="try again") from None
    if (now.st_dev, now.st_ino) != (before.st_dev, before.st_ino):
        raise BusyError(f"{path}: was replaced while keeper had it open", hint="try again")


def _would_leave_sidecars(path: Path) -> bool:
    """Whether reading this WAL database through a read-only connection would litter.

    Such a connection makes -wal and -shm and cannot remove them. One that may
    write removes them as it closes, and has nothing to checkpoint before. What
    counts is what this process can write: root could write a read-only file.
    """
    there = [suffix for suffix in ("-wal", "-journal") if sidecar(path, suffix).exists()]
    return not there and can_write(path)


def harden(connection: apsw.Connection) -> None:
    """Let nothing in the schema run code; this outlives neither the connection nor the run.

    As https://sqlite.org/security.html has it, for files that anyone may have written.
    """
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0)
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_VIEW, 0)


def quoted(identifier: str) -> str:
    """An identifier as SQL text."""
    return '"' + identifier.replace('"', '""') + '"'


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
