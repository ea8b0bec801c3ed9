"""Copies and links of a database that is about to be replaced, whole before they get a name.

The main file is read through the descriptor that holds its lock: closing any
other descriptor of it would drop the lock.
"""

import os
import shutil
from pathlib import Path

from sqlitekeeper import wording
from sqlitekeeper.database.files import sidecar, size_of
from sqlitekeeper.database.replace.exclusive import exclusive_file
from sqlitekeeper.database.replace.recover import Trace, traces
from sqlitekeeper.errors import KeeperError
from sqlitekeeper.events import Listener
from sqlitekeeper.filesystem.access import Access, access_of, give_access
from sqlitekeeper.filesystem.disks import free_bytes
from sqlitekeeper.filesystem.flush import sync


def copy_with_sidecars(
    target: Path, suffixes: tuple[str, ...], aside: Path, work_folder: Path, on_event: Listener
) -> tuple[Trace, ...]:
    """Copy a database that has content in its sidecars, as `aside` and what belongs to it.

    They are in the work folder, to be renamed to the path `aside`. Returns the traces of what
    was copied, taken while nobody could write.

    Raises:
        BusyError: somebody holds a lock on it.
        KeeperError: there is no room, or this user may not give the copy to the owner.
    """
    with exclusive_file(target) as descriptor:
        access = access_of(target)
        need = sum(size_of(sidecar(target, suffix)) for suffix in (*suffixes, ""))
        if need > (free := free_bytes(work_folder)):
            raise KeeperError(
                f"{target}: keeping a copy of it and its WAL needs {wording.size(need)} in"
                f" {target.parent}, which has {wording.size(free)}"
            )
        for suffix in suffixes:
            shutil.copyfile(sidecar(target, suffix), work_folder / f"aside{suffix}")
        copy_locked(descriptor, work_folder / "aside")
        for suffix in (*suffixes, ""):
            copy = work_folder / f"aside{suffix}"
            finish_copy(copy, access, copy, sidecar(aside, suffix), on_event)
        return traces(target)


def link_or_copy(
    target: Path, aside: Path, work_folder: Path, descriptor: int, on_event: Listener
) -> None:
    """Keep a database that is whole in its one file under another name.

    Raises:
        KeeperError: links are not possible here, and it could not be copied either.
    """
    try:
        os.link(target, aside)
    except OSError:
        copy_locked(descriptor, work_folder / "aside")
        finish_copy(work_folder / "aside", access_of(target), aside, aside, on_event)


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


def finish_copy(
    copied: Path, access: Access, name: Path, at_last: Path, on_event: Listener
) -> None:
    """Let those open a copy who may open what was copied, and only then give it its name.

    `at_last` is the name that it ends with, for those who read a warning.

    Raises:
        KeeperError: this user may not give it to the owner.
    """
    give_access(copied, access, at_last, on_event)
    sync(copied)
    copied.rename(name)
