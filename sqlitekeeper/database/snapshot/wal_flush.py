"""The WAL flushed to the disk in parts, without holding up the application's commits.

A commit waits for the disk now and then (in WAL mode at each checkpoint), and
the disk first finishes what it was given before: 200 MiB to flush in one go hold up a
commit for more than 100 ms, the same in parts for as long as one part takes
(`python -m tests.benchmarks writers`).
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlitekeeper.database.files import sidecar
from sqlitekeeper.events import Level, Listener, Note
from sqlitekeeper.filesystem.flush import LEAST_PART_BYTES, NOT_HERE
from sqlitekeeper.workers import stop_if_asked, worker_pool

# A WAL is flushed when it has grown by a part, or after a while if it is written to without that.
POLL_SECONDS = 0.02
WHILE_SECONDS = 0.1


@contextmanager
def flushed_wal(path: Path, on_event: Listener, name: str) -> Iterator[None]:
    """Flush the WAL of a live database again and again while this process reads it for long.

    It grows as long as somebody reads, since only then can a checkpoint reach its end; the
    application's next commit would have to flush all of it.
    """
    wal, ended = sidecar(path, "-wal"), threading.Event()
    failures: list[OSError] = []
    try:
        with worker_pool(1) as flusher:
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
            on_event(Note(name, text, Level.WARNING))


def _flush_wal(wal: Path, ended: threading.Event, failures: list[OSError]) -> None:
    """Flush it as it grows, until it has `ended` or the disk fails.

    A replacement of the database takes the WAL away, and ends the flushing too.
    """
    with suppress(OSError):
        flushed, since, took = wal.stat(), time.monotonic(), 0.0
        # The disk is the application's for at least half of the time.
        while not failures and not ended.wait(max(POLL_SECONDS, took)):
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
