"""Bringing what was written to the disk, without holding up the application's own commits.

Whoever commits waits for the disk now and then (in WAL mode at each checkpoint), and
the disk first finishes what it was given before: 200 MiB to flush in one go hold up a
commit for more than 100 ms, the same in parts for as long as one part takes
(`python -m tests.benchmarks writers`).
"""

import mmap
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from sqlitekeeper.database.files import sidecar
from sqlitekeeper.workers import crew

# A part is sized by what the last one took. A power of two, as mmap wants multiples of a page.
PART_SECONDS = 0.01
LEAST_PART_BYTES = 2**18
MOST_PART_BYTES = 2**24
WAL_LOOK_SECONDS = 0.02


def sync(path: Path) -> None:
    """Flush a folder, or a file that no SQLite connection of this process has open, to disk.

    Raises:
        OSError: it cannot be flushed.
    """
    # Some file systems have no shared mappings, and what is read-only cannot be mapped so.
    with suppress(OSError, ValueError):
        _sync_parts(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_parts(path: Path) -> None:
    """Flush a large file part by part; msync takes a range, fsync does not."""
    size, start, part = path.stat().st_size, 0, LEAST_PART_BYTES
    if path.is_dir() or size <= part:
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        while start < size:
            length = min(part, size - start)
            began = time.monotonic()
            with mmap.mmap(descriptor, length, offset=start) as mapped:
                mapped.flush()
            start += length
            quick = time.monotonic() - began < PART_SECONDS
            part = min(2 * part, MOST_PART_BYTES) if quick else max(part // 2, LEAST_PART_BYTES)
    finally:
        os.close(descriptor)


@contextmanager
def flushed_wal(path: Path) -> Iterator[None]:
    """Flush the WAL of a live database again and again while it is read for long.

    It grows as long as somebody reads, since only then can a checkpoint reach its end; the
    application's next commit would have to flush all of it. What fails here is
    left to that commit, as it would be without keeper.
    """
    ended = threading.Event()
    with crew(1) as flusher:
        flushing = flusher.submit(_flush_wal, sidecar(path, "-wal"), ended)
        try:
            yield
        finally:
            ended.set()
        flushing.result()


def _flush_wal(wal: Path, ended: threading.Event) -> None:
    with suppress(apsw.Error, OSError):
        # Through SQLite, which knows of the locks that this process holds.
        flags = [apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_READONLY, 0]
        file = apsw.VFSFile("", os.fspath(wal), flags)
        try:
            flushed, took = 0, 0.0
            # As long as it took, so that the disk is the application's for half of the time.
            while not ended.wait(max(WAL_LOOK_SECONDS, took)):
                written = wal.stat().st_mtime_ns
                if written != flushed:
                    began = time.monotonic()
                    file.xSync(apsw.SQLITE_SYNC_NORMAL)
                    flushed, took = written, time.monotonic() - began
        finally:
            file.xClose()
