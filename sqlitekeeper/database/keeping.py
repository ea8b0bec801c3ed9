"""Keeping what is about to be replaced: copies and links that are whole before they get a name.

The main file is read through the descriptor that holds its lock: closing any
other descriptor of it would drop the lock.
"""

import os
import shutil
import stat
from pathlib import Path

from sqlitekeeper import wording
from sqlitekeeper.database.exclusive import exclusive_file
from sqlitekeeper.database.files import free_bytes, sidecar, size_of
from sqlitekeeper.database.flushing import sync
from sqlitekeeper.database.settling import Trace, traces
from sqlitekeeper.errors import KeeperError


def copy_with_sidecars(
    target: Path, suffixes: tuple[str, ...], workshop: Path
) -> tuple[Trace, ...]:
    """Copy a database that has content in its sidecars, as `aside` and what belongs to it.

    Returns the traces of what was copied, taken while nobody could write.

    Raises:
        BusyError: somebody holds a lock on it.
        KeeperError: there is no room, or this user may not give the copy to the owner.
    """
    with exclusive_file(target) as descriptor:
        facts = os.fstat(descriptor)
        need = sum(size_of(sidecar(target, suffix)) for suffix in (*suffixes, ""))
        if need > (free := free_bytes(workshop)):
            raise KeeperError(
                f"{target}: keeping a copy of it and its WAL needs {wording.size(need)} in"
                f" {target.parent}, which has {wording.size(free)}"
            )
        for suffix in suffixes:
            shutil.copyfile(sidecar(target, suffix), workshop / f"aside{suffix}")
        copy_locked(descriptor, workshop / "aside")
        for suffix in (*suffixes, ""):
            copy = workshop / f"aside{suffix}"
            finish_copy(copy, facts, copy)
        return traces(target)


def link_or_copy(target: Path, aside: Path, workshop: Path, descriptor: int) -> None:
    """Keep a database that is whole in its one file under another name.

    Raises:
        KeeperError: links are not possible here, and it could not be copied either.
    """
    try:
        os.link(target, aside)
    except OSError:
        copy_locked(descriptor, workshop / "aside")
        finish_copy(workshop / "aside", os.fstat(descriptor), aside)


def copy_locked(descriptor: int, copy: Path) -> None:
    """Copy the file behind the descriptor that holds its lock.

    Raises:
        KeeperError: somebody made it shorter all the same.
    """
    size, offset = os.fstat(descriptor).st_size, 0
    with copy.open("wb") as stream:
        while offset < size:
            sent = os.sendfile(stream.fileno(), descriptor, offset, size - offset)
            if sent == 0:
                raise KeeperError(f"{copy}: the file became shorter while it was copied")
            offset += sent


def finish_copy(copied: Path, model: os.stat_result, name: Path) -> None:
    """Give a copy the owner and mode of its model, and only then its name.

    Raises:
        KeeperError: this user may not give it to the owner.
    """
    if (model.st_uid, model.st_gid) != (os.geteuid(), os.getegid()):
        try:
            os.chown(copied, model.st_uid, model.st_gid)
        except PermissionError:
            raise KeeperError(
                f"{name}: cannot be given to its owner (uid {model.st_uid}, gid {model.st_gid})",
                hint="run keeper as root, or as the owner of the database",
            ) from None
    copied.chmod(stat.S_IMODE(model.st_mode))
    sync(copied)
    copied.rename(name)
