"""Bringing what was written to the disk, without holding up the application's own commits.

Whoever commits waits for the disk now and then (in WAL mode at each checkpoint), and
the disk first finishes what it was given before: 200 MiB to flush in one go hold up a
commit for more than 100 ms, the same in parts for as long as one part takes
(`python -m tests.benchmarks writers`).
"""

import errno
import os
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlitekeeper.database.files import sidecar
from sqlitekeeper.events import Level, Listener, Note
from sqlitekeeper.workers import crew, stop_if_asked

# A part is sized by what the last one took.
PART_SECONDS = 0.01
LEAST_PART_BYTES = 2**20
MOST_PART_BYTES = 2**24
# Write what others have not begun to, and wait for it: sync_file_range(2).
WAIT_BEFORE_WRITE_WAIT_AFTER = 7
# A WAL is flushed when it has grown by a part, or after a while if it is written to without that.
LOOK_SECONDS = 0.02
WHILE_SECONDS = 0.1
# Nothing was tried: the call is not to be had for this file, or the file was closed meanwhile.
NOT_HERE = (
    errno.ENOSYS,
    errno.EPERM,
    errno.EINVAL,
    errno.ESPIPE,
    errno.EOPNOTSUPP,
    errno.EBADF,
)


def sync(path: Path) -> None:
    """Flush a folder, or a file that no SQLite connection of this process has open, to disk.

    Raises:
        OSError: it cannot be flushed.
    """
    # One descriptor for all: Linux tells of a failure once each who has the file open,
    # and not who opens it afterwards.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _write_parts(descriptor)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_parts(descriptor: int) -> None:
    """Have a large file written to the disk part by part, where the system can do that."""
    facts, start, part = os.fstat(descriptor), 0, LEAST_PART_BYTES
    if sys.platform != "linux" or not stat.S_ISREG(facts.st_mode) or facts.st_size <= part:
        return
    # Late, since only large files need it; not every Python has it, nor every C library the call.
    # Unlike mmap.flush it lets other threads work meanwhile, and needs no right to write.
    try:
        import ctypes

        sync_file_range = ctypes.CDLL(None, use_errno=True).sync_file_range
    except (ImportError, AttributeError, OSError):
        return
    while start < facts.st_size:
        stop_if_asked()
        began = time.monotonic()
        where = (ctypes.c_int64(start), ctypes.c_int64(part))
        if sync_file_range(descriptor, *where, WAIT_BEFORE_WRITE_WAIT_AFTER):
            number = ctypes.get_errno()
            if number in NOT_HERE:
                return
            raise OSError(number, os.strerror(number))
        start += part
        quick = time.monotonic() - began < PART_SECONDS
        part = min(2 * part, MOST_PART_BYTES) if quick else max(part // 2, LEAST_PART_BYTES)


@contextmanager
def flushed_wal(path: Path, listen: Listener, name: str) -> Iterator[None]:
    """Flush the WAL of a live database again and again while this process reads it for long.

    It grows as long as somebody reads, since only then can a checkpoint reach its end; the
    application's next commit would have to flush all of it.
    """
    wal, ended = sidecar(path, "-wal"), threading.Event()
    failures: list[OSError] = []
    try:
        with crew(1) as flusher:
            flushing = flusher.submit(_flush_wal, wal, ended, failures)
            try:
                yield
            finally:
                ended.set()
        flushing.result()
    finally:
        for failure in failures:
            # The application is not told of it again, unless it has the file open already.
            text = f"{wal}: cannot be flushed to disk ({failure.strerror})"
            listen(Note(name, text, Level.WARNING))


def _flush_wal(wal: Path, ended: threading.Event, failures: list[OSError]) -> None:
    """Flush it as it grows, until it has `ended` or the disk fails.

    Whoever replaces the database meanwhile takes its WAL away, and that ends it too.
    """
    with suppress(OSError):
        flushed, since, took = wal.stat(), time.monotonic(), 0.0
        # The disk is the application's for at least half of the time.
        while not failures and not ended.wait(max(LOOK_SECONDS, took)):
            stop_if_asked()
            now = wal.stat()
            long_ago = time.monotonic() - since >= WHILE_SECONDS
            if now.st_size - flushed.st_size < LEAST_PART_BYTES and not (
                long_ago and now.st_mtime_ns != flushed.st_mtime_ns
            ):
                continue
            flushed, since = now, time.monotonic()
            if (descriptor := _descriptor_of(wal)) is not None:
                try:
                    os.fdatasync(descriptor)
                except OSError as failure:
                    if failure.errno not in NOT_HERE:
                        failures.append(failure)
            took = time.monotonic() - since


def _descriptor_of(file: Path) -> int | None:
    """The descriptor that SQLite has of a file in this process, where that can be told.

    Opening and closing a file here can drop the locks that SQLite has on it:
    https://sqlite.org/howtocorrupt.html, section 2.2.
    """
    name = file.resolve()
    for descriptor in Path("/proc/self/fd").iterdir():
        # That of the folder itself is closed by now.
        with suppress(OSError):
            if descriptor.readlink() == name:
                return int(descriptor.name)
    return None
