"""A destination that is a local folder, looked at without rclone.

What lies in a folder needs no messenger to ask, and each rclone that is started
costs as much as the copy of a small database.
"""

import hashlib
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from sqlitekeeper.backups.objects import RemoteObject
from sqlitekeeper.backups.rclone_log import RcloneError


def is_local(to: str) -> bool:
    """Whether a destination is a folder of this machine."""
    return to.startswith("/")


def held_by(to: Path, paths: Iterable[str], *, hashes: bool) -> dict[str, RemoteObject]:
    """Those of the files that are there; with `hashes`, they are small and read for them.

    Raises:
        RcloneError: it cannot be said, or a listing would not find them.
    """
    found: dict[str, RemoteObject] = {}
    paths = list(paths)
    _refuse_links(to, paths)
    for path in paths:
        file = to / path
        try:
            facts = file.lstat()
            # As rclone has it, a symlink is no file.
            if stat.S_ISREG(facts.st_mode):
                known = {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()} if hashes else {}
                found[path] = RemoteObject(path, facts.st_size, known)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise RcloneError(f"{file}: cannot be read back ({error.strerror})") from None
    return found


def _refuse_links(to: Path, paths: Iterable[str]) -> None:
    """rclone copies into a folder that is a symlink, and leaves it out when it lists."""
    for folder in {parent for path in paths for parent in Path(path).parents}:
        if folder.name and (to / folder).is_symlink():
            raise RcloneError(
                f"{to / folder}: is a symlink, and rclone finds nothing below it",
                hint="make it a folder, with another file system mounted there if need be",
            )


def looks(to: Path, paths: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """What files of a local destination look like from outside; those that are there."""
    found: dict[str, tuple[int, ...]] = {}
    for path in paths:
        with suppress(OSError):
            facts = (to / path).stat()
            found[path] = (facts.st_ino, facts.st_size, facts.st_mtime_ns)
    return found


def remove_parts(
    folder: Path, to: Path, before: dict[str, tuple[int, ...]], paths: Iterable[str]
) -> None:
    """Remove what rclone has left of files that did not fit on the disk of a local destination.

    Before 1.63 it wrote them under their own names, and left an empty one
    where the disk was full (measured: 1.60). What it has not touched stays.
    """
    for path, now in looks(to, paths).items():
        with suppress(OSError):
            if now != before.get(path) and now[1] != (folder / path).stat().st_size:
                (to / path).unlink()
