"""Bringing what was written to the disk, without holding up the application's own commits.

Whoever commits waits for the disk now and then (in WAL mode at each checkpoint), and
the disk first finishes what it was given before: 200 MiB to flush in one go hold up a
commit for more than 100 ms, the same in parts for as long as one part takes
(`python -m tests.benchmarks writers`).
"""

import errno
import os
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
BROKEN = (errno.EIO, errno.ENOSPC, errno.EDQUOT)


def sync(path: Path) -> None:
    """Flush a folder, or a file that no SQLite connection of this process has open, to disk.

    Raises:
        OSError: it cannot be flushed.
    """
    # Linux tells of a failure once each who has the file open, and not who opens it afterwards.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            _write_parts(path)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_parts(path: Path) -> None:
    """Have a large file written to the disk part by part, where the system can do that."""
    size, start, part = path.stat().st_size, 0, LEAST_PART_BYTES
    if sys.platform != "linux" or path.is_dir() or size <= part:
        return
    import ctypes  # late: only large files need it

    # Unlike mmap.flush, it lets other threads work meanwhile, and needs no right to write.
    sync_file_range = ctypes.CDLL(None, use_errno=True).sync_file_range
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while start < size:
            stop_if_asked()
            began = time.monotonic()
            where = (ctypes.c_int64(start), ctypes.c_int64(part))
            if sync_file_range(descriptor, *where, WAIT_BEFORE_WRITE_WAIT_AFTER):
                raise OSError(ctypes.get_errno(), "sync_file_range")
            start += part
            quick = time.monotonic() - began < PART_SECONDS
            part = min(2 * part, MOST_PART_BYTES) if quick else max(part // 2, LEAST_PART_BYTES)
    finally:
        os.close(descriptor)


@contextmanager
def flushed_wal(path: Path, listen: Listener, name: str) -> Iterator[None]:
    """Flush the WAL of a live database again and again while this process reads it for long.

    It grows as long as somebody reads, since only then can a checkpoint reach its end; the
    application's next commit would have to flush all of it.
    """
    wal, ended = sidecar(path, "-wal"), threading.Event()
    with crew(1) as flusher:
        flushing = flusher.submit(_flush_wal, wal, ended)
        try:
            yield
        finally:
            ended.set()
    try:
        flushing.result()
    except OSError as error:
        # The application is not told of it again, unless it has the file open already.
        text = f"{wal}: cannot be flushed to disk ({error.strerror})"
        listen(Note(name, text, Level.WARNING))


def _flush_wal(wal: Path, ended: threading.Event) -> None:
    """Until it has `ended`; who replaces the database meanwhile takes its WAL away."""
    with suppress(FileNotFoundError):
        _flush_as_it_grows(wal, ended)


def _flush_as_it_grows(wal: Path, ended: threading.Event) -> None:
    flushed, since, took = wal.stat(), time.monotonic(), 0.0
    # The disk is the application's for at least half of the time.
    while not ended.wait(max(LOOK_SECONDS, took)):
        stop_if_asked()
        now = wal.stat()
        long_ago = time.monotonic() - since >= WHILE_SECONDS
        if now.st_size - flushed.st_size < LEAST_PART_BYTES and not (
            long_ago and now.st_mtime_ns != flushed.st_mtime_ns
        ):
            continue
        flushed, since = now, time.monotonic()
        _flush_open(wal)
        took = time.monotonic() - since


def _flush_open(file: Path) -> None:
    """Flush a file through the descriptor that SQLite has of it in this process, if it has one.

    Opening and closing a file here can drop the locks that SQLite has on it:
    https://sqlite.org/howtocorrupt.html, section 2.2.
    """
    name = file.resolve()
    with suppress(FileNotFoundError):  # no /proc here
        for descriptor in Path("/proc/self/fd").iterdir():
            try:
                if descriptor.readlink() == name:
                    os.fdatasync(int(descriptor.name))
                    return
            except OSError as error:
                # One that was closed meanwhile is none of ours any more.
                if error.errno in BROKEN:
                    raise
