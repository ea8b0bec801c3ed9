"""A consistent copy of a live database, made by VACUUM INTO, or page by page where that fails.

`.backup` starts over at every commit of another process, so a busy database
can keep it from ever finishing; VACUUM INTO reads from one snapshot of the
data. In WAL mode writers go on meanwhile; with a rollback journal they wait.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import apsw

from sqlitekeeper import wording
from sqlitekeeper.database.checksums import has_checksums
from sqlitekeeper.database.connection import (
    open_database,
    pragma_int,
    pragma_text,
    report_progress,
    sqlite_errors,
)
from sqlitekeeper.database.files import size_of
from sqlitekeeper.database.journal import wait_for_others
from sqlitekeeper.database.measure import Measurement, read_measurement
from sqlitekeeper.database.snapshot.fingerprint import is_settled, times_are_true
from sqlitekeeper.database.snapshot.page_copy import copy_pages
from sqlitekeeper.database.snapshot.wal_flush import flushed_wal
from sqlitekeeper.errors import BusyError, KeeperError, NoRoomError
from sqlitekeeper.events import Listener, Note, Tick, ignore
from sqlitekeeper.filesystem.access import access_of
from sqlitekeeper.filesystem.disks import free_bytes

WAIT_SECONDS = 30.0
# The snapshot of a database is never larger than its live pages; this much is
# for the file system's own bookkeeping.
SPARE_BYTES = 2**20
# Read within a tenth of a second or less: nobody writes much meanwhile.
LARGE_BYTES = 2**24


@dataclass(frozen=True, slots=True)
class Source:
    """The database that a snapshot was taken of, as it was then. Sizes in bytes.

    `mode` holds the permission bits that the file would have without its `acl`, for a
    restore that finds no file to ask; `method` says how it was copied. `settled` is False
    where the WAL held a transaction that was written but not committed yet: it may become
    so without another write. For `longest_lock_ms` nobody could commit: 0 in WAL mode.
    """

    path: Path
    bytes: int
    page_size: int
    pages: int
    free_pages: int
    journal_mode: str
    auto_vacuum: str
    encoding: str
    user_version: int
    application_id: int
    mode: int
    acl: str | None = None
    method: Literal["vacuum", "pages"] = "vacuum"
    settled: bool = True
    longest_lock_ms: float = 0.0


def take_snapshot(path: Path, target: Path, on_event: Listener = ignore, name: str = "") -> Source:
    """Write a snapshot of the database at `path` to `target`, which must not exist.

    `target` is created exclusively and for this user only, in a folder that
    nobody else can write to; the copy is complete when this returns. On any
    failure the target is removed.

    Raises:
        KeeperError: the database is empty or not readable.
        NoRoomError: the folder of `target` is too small for the snapshot.
        CheckError: SQLite finds the database damaged.
        BusyError: a rollback-journal database stayed locked for 30 seconds.
    """
    with sqlite_errors(path), open_database(path, wait_seconds=WAIT_SECONDS) as connection:
        found = read_measurement(connection, path)
        if found.pages == 0:
            raise KeeperError(
                f"{path}: is empty (0 pages): nothing was ever written to it",
                hint="if that is meant, create it with keeper init",
            )
        need = found.live_bytes + SPARE_BYTES
        if need > free_bytes(target.parent):
            raise _no_room(path, target, need)
        access = access_of(path)
        source = Source(
            path=path,
            bytes=found.bytes,
            page_size=found.page_size,
            pages=found.pages,
            free_pages=found.free_pages,
            journal_mode=found.journal_mode,
            auto_vacuum=found.auto_vacuum,
            encoding=pragma_text(connection, "encoding"),
            user_version=pragma_int(connection, "user_version"),
            application_id=pragma_int(connection, "application_id"),
            mode=access.mode_without_acl,
            acl=access.acl_text,
            settled=is_settled(connection, path),
        )
        report_progress(
            connection,
            lambda: on_event(Tick(name, "snapshot", size_of(target), found.live_bytes)),
        )
        create_private(target)
        try:
            with (
                flushed_wal(path, on_event, name) if _takes_long(found) else nullcontext(),
                nullcontext() if found.journal_mode == "wal" else _unwritten(connection),
            ):
                began = time.monotonic()
                with unsynced(connection):
                    cause = _vacuum_into(connection, target)
                if cause:
                    need = found.pages * found.page_size + SPARE_BYTES
                    if need > free_bytes(target.parent):
                        raise _no_room(path, target, need)
                    copy_pages(
                        connection,
                        target,
                        lambda done, total: on_event(Tick(name, "snapshot", done, total)),
                    )
                    on_event(Note(name, f"copied page by page, free pages too: {cause}"))
                    source = replace(source, method="pages")
                if found.journal_mode != "wal":
                    milliseconds = round((time.monotonic() - began) * 1000, 3)
                    source = replace(source, longest_lock_ms=milliseconds)
                    text = f"writers locked out for {milliseconds:.0f} ms: it is not in WAL mode"
                    on_event(Note(name, text))
        except apsw.FullError:
            # Somebody else took the room meanwhile; what was written of it is free again.
            target.unlink(missing_ok=True)
            raise _no_room(path, target, need) from None
        except BaseException:
            target.unlink(missing_ok=True)
            raise
    return source


def _takes_long(found: Measurement) -> bool:
    """Whether others may write much to its WAL while it is read."""
    return found.journal_mode == "wal" and found.live_bytes >= LARGE_BYTES


@contextmanager
def _unwritten(connection: apsw.Connection) -> Iterator[None]:
    """Hold a read lock on a rollback-journal database, and see that nobody writes to it.

    Who locks as SQLite does cannot. An application with the VFS unix-dotfile or unix-none
    can, and what is read meanwhile is of no one state.

    Raises:
        BusyError: somebody did.
    """
    # The same file, wherever a symlink leads by now.
    path = Path(connection.filename)
    with open_database(path, wait_seconds=WAIT_SECONDS) as reader, reader:
        pragma_int(reader, "schema_version")
        before = _written(reader, path)
        try:
            yield
        except apsw.CorruptError:
            _refuse_written(reader, path, before)
            raise
        _refuse_written(reader, path, before)


def _refuse_written(reader: apsw.Connection, path: Path, before: tuple[object, ...]) -> None:
    wait_for_others(path, 0, write=False)
    now = _written(reader, path)
    # Where it was replaced, the one that was read has no name any more.
    if now != before and now[0] == before[0]:
        raise BusyError(
            f"{path}: somebody wrote to it while it was read, in spite of SQLite's locks",
            hint="try again; an application with the VFS unix-dotfile or unix-none does so",
        )


def _written(reader: apsw.Connection, path: Path) -> tuple[object, ...]:
    """What is another one after a write: https://sqlite.org/fileformat.html#file_change_counter."""
    facts = path.stat()
    modified = facts.st_mtime_ns if times_are_true(path) else None
    return facts.st_ino, facts.st_size, modified, reader.read("main", 0, 24, 4)


@contextmanager
def unsynced(connection: apsw.Connection) -> Iterator[None]:
    """Have VACUUM INTO not wait for the disk: its target takes this from the connection.

    A power cut leaves the target behind, to be removed. Not so the database: if the
    application has come and gone meanwhile, closing this connection brings its WAL
    into the file, and removes it.
    """
    before = pragma_int(connection, "synchronous")
    connection.pragma("synchronous", 0)
    try:
        yield
    finally:
        connection.pragma("synchronous", before)


def _vacuum_into(connection: apsw.Connection, target: Path) -> str | None:
    """Try VACUUM INTO; where only pages can be copied, say why, and leave the target empty."""
    if has_checksums(connection):
        return "they carry checksums"
    try:
        connection.execute("VACUUM INTO ?", (os.fspath(target),))
    except apsw.SQLError as error:
        # It builds every index anew, which may take what only the application has.
        target.unlink()
        create_private(target)
        return str(error)
    return None


def _no_room(path: Path, target: Path, need: int) -> NoRoomError:
    free = free_bytes(target.parent)
    return NoRoomError(
        f"{path}: its snapshot needs {wording.size(need)} in {target.parent},"
        f" which has {wording.size(free)}",
        hint="make room there, or point backup.staging at another folder",
    )


def create_private(target: Path) -> None:
    """Make the empty file that VACUUM INTO fills; SQLite would have everyone read it."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
