"""SQLite databases in a folder, known by what they hold: not to be synced as plain files.

A copy of a live database is no backup, so none of them is synced. Files are
opened here to read their first bytes, which would drop the locks that SQLite
holds on them in the same process
(https://sqlite.org/howtocorrupt.html, section 2.2): what this process has open
already is read through the descriptor that is there.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from sqlitekeeper.config.generate.scan import begins_like_sqlite

_DESCRIPTORS = Path("/dev/fd")


def find_databases(folder: Path, known: Iterable[Path] = ()) -> tuple[bytes, ...]:
    """The databases below a folder, relative to it and sorted, and those of `known` that lie there.

    `folder` is a real path. Symlinks are not followed. Folders and files that
    cannot be read, or vanish meanwhile, are passed over: rclone says so itself.
    """
    # Bytes: names need not be UTF-8.
    root = os.fsencode(folder).rstrip(b"/") + b"/"
    open_here = _open_files()
    found = {path for path in _files(root) if _is_database(path, open_here)}
    found |= {os.path.realpath(os.fsencode(path)) for path in known}
    return tuple(sorted(path.removeprefix(root) for path in found if path.startswith(root)))


def _files(root: bytes) -> Iterator[bytes]:
    """Every regular file below a folder."""
    folders = [root]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        yield entry.path
        except OSError:
            continue


def _is_database(path: bytes, open_here: dict[tuple[int, int], int]) -> bool:
    try:
        if open_here:
            facts = os.lstat(path)
            descriptor = open_here.get((facts.st_dev, facts.st_ino))
            if descriptor is not None:
                return begins_like_sqlite(descriptor)
        # Not through a link, and not waiting for a pipe: it may have been put there just now.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags)
        try:
            return begins_like_sqlite(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        return False


def _open_files() -> dict[tuple[int, int], int]:
    """The regular files that this process has open to be read, with one descriptor of each."""
    found = {}
    for link in _DESCRIPTORS.iterdir():
        try:
            facts = os.fstat(int(link.name))
        except OSError:
            continue  # the one that the list was read through
        if stat.S_ISREG(facts.st_mode):
            found[facts.st_dev, facts.st_ino] = int(link.name)
    return found
