"""Files that change while rclone uploads them, uploaded once more from copies that do not.

rclone gives such a file up. On remotes without partial uploads, S3 among them, it then deletes
what it has uploaded, and with it the older copy that was there under this name.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from sqlitekeeper.errors import NoRoomError
from sqlitekeeper.filesystem.disks import free_bytes

SPARE_BYTES = 2**20
PART_BYTES = 2**20
TRIES = 5


def changed_since(folder: Path, names: Iterable[str], began_ns: int) -> Iterator[str]:
    """Those of some files in a folder that somebody has written to since a time."""
    for name in sorted(names):
        with suppress(OSError):
            facts = (folder / name).lstat()
            if stat.S_ISREG(facts.st_mode) and facts.st_mtime_ns >= began_ns:
                yield name


def copy_file(folder: Path, name: str, to: Path) -> bool:
    """Copy a file that others write to, so long as it was at first; False if it never held still.

    Raises:
        NoRoomError: there is no room for it in `to`.
        OSError: it could not be read.
    """
    source, target = folder / name, to / name
    target.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(TRIES):
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream, target.open("wb") as copy:
            before = os.fstat(descriptor)
            if before.st_size + SPARE_BYTES > free_bytes(to):
                raise NoRoomError(
                    f"{source}: changed while it was uploaded, and {to.parent} has no room for a"
                    " copy of it",
                    hint="make room there, point backup.staging at another folder, or exclude it",
                )
            # It may grow faster than it is read.
            left = before.st_size
            while left and (part := stream.read(min(left, PART_BYTES))):
                copy.write(part)
                left -= len(part)
            after = os.fstat(descriptor)
        # The next sync sees that it has been written to since.
        os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
            return True
    return False
