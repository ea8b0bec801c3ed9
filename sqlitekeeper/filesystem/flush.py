"""Flushes to the disk, in parts that hold nobody up."""

import errno
import os
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path

from sqlitekeeper.workers import stop_if_asked

# A part is sized by what the last one took.
PART_SECONDS = 0.01
LEAST_PART_BYTES = 2**20
MOST_PART_BYTES = 2**24
# Write what others have not begun to, and wait for it: sync_file_range(2).
WAIT_BEFORE_WRITE_WAIT_AFTER = 7
# Nothing was tried: the call is not to be had for this file, or the file was closed meanwhile.
NOT_HERE = (
    errno.ENOSYS,
    errno.EPERM,
    errno.EINVAL,
    errno.ESPIPE,
    errno.EOPNOTSUPP,
    errno.EBADF,
)


def sync_to_disk(folder: Path, paths: list[str]) -> None:
    """Flush files of a local destination, and the folders that name them.

    rclone's local backend does not, so a power cut could take back a snapshot
    that was reported as shipped.
    """
    names = {folder / path for path in paths}
    for path in sorted(names) + sorted({name.parent for name in names} | {folder}):
        sync(path)
    # What is above the destination may belong to someone else, closed to us.
    with suppress(PermissionError):
        sync(folder.parent)


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
