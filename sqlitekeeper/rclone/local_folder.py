"""A destination that is a local folder, looked at without rclone.

What lies in a folder needs no messenger to ask, and each rclone that is started
costs as much as the copy of a small database.
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlitekeeper.rclone.errors import RcloneError
from sqlitekeeper.rclone.listing import RemoteObject

PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600


def is_local(to: str) -> bool:
    """Whether a destination is a folder of this machine."""
    return to.startswith("/")


def held_by(to: Path, paths: Iterable[str], *, hashes: bool) -> dict[str, RemoteObject]:
    """Those of the files that are there; with `hashes`, they are small and read for them.

    As rclone lists a folder, nothing is below one that is a symlink, unless it is told to
    follow links by `$RCLONE_COPY_LINKS`.

    Raises:
        RcloneError: it cannot be said.
    """
    found: dict[str, RemoteObject] = {}
    links: dict[Path, bool] = {}
    for path in paths:
        file = to / path
        try:
            if _is_link(to, Path(path).parent, links):
                continue
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


def _is_link(to: Path, folder: Path, known: dict[Path, bool]) -> bool:
    """Whether a folder below a destination is reached through a symlink there."""
    if folder == Path() or "RCLONE_COPY_LINKS" in os.environ:
        return False
    if folder not in known:
        known[folder] = (to / folder).is_symlink() or _is_link(to, folder.parent, known)
    return known[folder]


@contextmanager
def private_folders(to: Path, paths: Iterable[str]) -> Iterator[None]:
    """Make the folders that files are going to, closed to others; empty ones go in the end.

    rclone would make them with the umask that it is given, which counts for nothing below
    a folder with a default ACL. Where that is not possible, rclone says why.
    """
    made: list[Path] = []
    try:
        with suppress(OSError):
            for folder in sorted({(to / path).parent for path in paths}):
                parents = [one for one in (folder, *folder.parents) if not one.exists()]
                for missing in reversed(parents):
                    missing.mkdir(PRIVATE_FOLDER, exist_ok=True)
                    made.append(missing)
        yield
    finally:
        for folder in reversed(made):
            with suppress(OSError):
                folder.rmdir()


def close_to_others(to: Path, paths: Iterable[str]) -> None:
    """Close what rclone has written to others; see `private_folders`."""
    for path in paths:
        # Some file systems have the same mode for every file, and refuse any other.
        with suppress(OSError):
            descriptor = os.open(to / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if stat.S_IMODE(os.fstat(descriptor).st_mode) & ~PRIVATE_FILE:
                    os.fchmod(descriptor, PRIVATE_FILE)
            finally:
                os.close(descriptor)


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
