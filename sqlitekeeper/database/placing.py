"""Putting a database file in the place of another, so that nothing can be lost.

At every moment one complete database is in place, the old or the new:

    old has no content in sidecars:  old + link under the set-aside name
    old has a WAL or a hot journal:  copy of it all under the set-aside name,
                                     then SQLite settles old into one file
    then                             rename(new, old): one atomic step

A new file must never meet an old -wal or -journal: SQLite would mix them.
"""

import contextlib
import os
import re
import shutil
import stat
from datetime import datetime, timedelta
from pathlib import Path

from sqlitekeeper import wording
from sqlitekeeper.database.connection import open_database, sqlite_errors
from sqlitekeeper.database.exclusive import HINT, exclusive_file, refuse_if_open
from sqlitekeeper.database.files import SIDECARS, free_bytes, sidecar, size_of
from sqlitekeeper.errors import BusyError, CheckError, KeeperError, NotADatabaseError

SET_ASIDE_TIME = "%Y%m%dT%H%M%SZ"
_SET_ASIDE = re.compile(r"(?P<file>.+)\.before-\d{8}T\d{6}Z", re.DOTALL)
# What holds transactions that the main file lacks; -shm is only an index.
_WITH_CONTENT = ("-wal", "-journal")


def set_aside_path(target: Path, moment: datetime) -> Path:
    """The name that the old database gets; one that is not taken yet."""
    while True:
        name = f"{target.name}.before-{moment.strftime(SET_ASIDE_TIME)}"
        path = target.with_name(name)
        if not any(os.path.lexists(sidecar(path, suffix)) for suffix in ("", *SIDECARS)):
            return path
        moment += timedelta(seconds=1)


def set_asides(target: Path) -> list[Path]:
    """The databases that were set aside at `target`, newest first."""
    found = []
    for path in target.parent.iterdir():
        match = _SET_ASIDE.fullmatch(path.name)
        if match and match["file"] == target.name:
            found.append(path)
    return sorted(found, reverse=True)


def with_sidecars(path: Path) -> list[Path]:
    """A database file and those of its sidecars that exist."""
    return [path, *(p for suffix in SIDECARS if os.path.lexists(p := sidecar(path, suffix)))]


def dress(new: Path, target: Path) -> None:
    """Give a new file the owner and mode of the file that it will replace.

    Where there is none: private, and when root makes it, the folder's owner's.

    Raises:
        KeeperError: this user may not give it to the owner.
    """
    try:
        model = target.stat()
        owner, group, mode = model.st_uid, model.st_gid, stat.S_IMODE(model.st_mode)
    except FileNotFoundError:
        folder = target.parent.stat()
        owner, group, mode = os.geteuid(), os.getegid(), 0o600
        if os.geteuid() == 0 and not folder.st_mode & stat.S_ISVTX:
            owner, group = folder.st_uid, folder.st_gid
    try:
        os.chown(new, owner, group)
        new.chmod(mode)
    except PermissionError:
        raise KeeperError(
            f"{target}: cannot give the new file to its owner (uid {owner}, gid {group})",
            hint="run keeper as root, or as the owner of the database",
        ) from None


def place(new: Path, target: Path, moment: datetime, workshop: Path) -> tuple[Path, ...]:
    """Put `new`, a closed database without sidecars, in the place of `target`.

    `workshop` is a private folder on the same file system. Returns the files
    that were set aside.

    Raises:
        BusyError: somebody has the old database open; nothing was changed.
        KeeperError: the file system refused a step; the old one is in place.
    """
    sync(new)
    aside = set_aside_path(target, moment)
    if os.path.lexists(target):
        refuse_if_open(target)
        _replace(new, target, aside, workshop)
    else:
        for suffix in SIDECARS:
            with contextlib.suppress(FileNotFoundError):
                sidecar(target, suffix).rename(sidecar(aside, suffix))
        _put(new, target)
    sync(target.parent)
    return tuple(path for path in with_sidecars(aside) if path.exists())


def _replace(new: Path, target: Path, aside: Path, workshop: Path) -> None:
    old = target.stat()
    settled: tuple[int, int] | None = None
    try:
        if any(size_of(sidecar(target, suffix)) for suffix in _WITH_CONTENT):
            _copy_aside(target, aside, workshop)
            settled = _settle_or_clear(target)
        with exclusive_file(target) as descriptor:
            wrote = settled is not None and _fingerprint(os.fstat(descriptor)) != settled
            if wrote or any(size_of(sidecar(target, suffix)) for suffix in _WITH_CONTENT):
                raise BusyError(f"{target}: somebody wrote to it meanwhile", hint=HINT)
            if settled is None:
                _link_or_copy(target, aside, workshop, descriptor)
                sync(target.parent)
            for suffix in SIDECARS:
                sidecar(target, suffix).unlink(missing_ok=True)
            new.rename(target)
    except BaseException:
        # Asked of the disk: a signal can come between any two steps.
        if target.stat().st_ino == old.st_ino:
            for path in with_sidecars(aside):
                path.unlink(missing_ok=True)
        raise


def _copy_aside(target: Path, aside: Path, workshop: Path) -> None:
    """Copy a database that has content in its sidecars; the main file gets its name last.

    By then the set-aside database is complete. The main file is read through
    the descriptor that holds the lock: closing any other would drop it.
    """
    with exclusive_file(target) as descriptor:
        facts = os.fstat(descriptor)
        full = [suffix for suffix in _WITH_CONTENT if size_of(sidecar(target, suffix))]
        need = sum(size_of(sidecar(target, suffix)) for suffix in (*full, ""))
        if need > (free := free_bytes(workshop)):
            raise KeeperError(
                f"{target}: keeping a copy of it and its WAL needs {wording.size(need)} in"
                f" {target.parent}, which has {wording.size(free)}"
            )
        for suffix in full:
            shutil.copyfile(sidecar(target, suffix), workshop / f"aside{suffix}")
        _copy_locked(descriptor, workshop / "aside")
        for suffix in (*full, ""):
            _finish_copy(workshop / f"aside{suffix}", facts, sidecar(aside, suffix))
        sync(target.parent)


def _put(new: Path, target: Path) -> None:
    """Give a file a name that is free; unlike a rename, a link never replaces another file."""
    try:
        os.link(new, target)
    except FileExistsError:
        raise BusyError(f"{target}: has appeared meanwhile", hint=HINT) from None
    except OSError:
        # A file system without links.
        new.rename(target)
    else:
        new.unlink()


def _link_or_copy(target: Path, aside: Path, workshop: Path, descriptor: int) -> None:
    """Keep a database that is whole in its one file under another name."""
    try:
        os.link(target, aside)
    except OSError:
        _copy_locked(descriptor, workshop / "aside")
        _finish_copy(workshop / "aside", os.fstat(descriptor), aside)


def _copy_locked(descriptor: int, copy: Path) -> None:
    """Copy the file behind the descriptor that holds its lock."""
    size, offset = os.fstat(descriptor).st_size, 0
    with copy.open("wb") as stream:
        while offset < size:
            sent = os.sendfile(stream.fileno(), descriptor, offset, size - offset)
            if sent == 0:
                raise KeeperError(f"{copy}: the file became shorter while it was copied")
            offset += sent


def _finish_copy(copied: Path, model: os.stat_result, name: Path) -> None:
    """Give a copy the owner and mode of its model, and only then its name."""
    with contextlib.suppress(PermissionError):
        os.chown(copied, model.st_uid, model.st_gid)
    copied.chmod(stat.S_IMODE(model.st_mode))
    sync(copied)
    copied.rename(name)


def _settle_or_clear(target: Path) -> tuple[int, int]:
    try:
        return settle(target)
    except (CheckError, NotADatabaseError):
        # Too damaged for SQLite to settle; all of it is in the set-aside copy.
        for suffix in SIDECARS:
            sidecar(target, suffix).unlink(missing_ok=True)
        return _fingerprint(target.stat())


def settle(path: Path) -> tuple[int, int]:
    """Let SQLite bring the WAL or the hot journal of a database into its one file.

    Returns a fingerprint of the file, taken while nobody else could write.

    Raises:
        BusyError: somebody else has it open.
        CheckError: it is damaged.
    """
    with sqlite_errors(path), open_database(path, write=True, wait_seconds=0) as connection:
        # The lock then stays until the connection is closed.
        connection.pragma("locking_mode", "exclusive")
        connection.execute("BEGIN EXCLUSIVE; COMMIT").fetchall()
        if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]:
            raise BusyError(f"{path}: another process has it open", hint=HINT)
        return _fingerprint(path.stat())


def _fingerprint(facts: os.stat_result) -> tuple[int, int]:
    return facts.st_size, facts.st_mtime_ns


def undo(target: Path, moment: datetime, workshop: Path) -> tuple[Path, tuple[Path, ...]]:
    """Bring back what was set aside last, with every transaction of its WAL.

    What is in place now is set aside in turn, so that this can be undone too.
    Returns the file that was brought back, and what was set aside.

    Raises:
        KeeperError: nothing was set aside.
        BusyError: somebody has the database open; nothing was changed.
    """
    asides = set_asides(target)
    if not asides:
        raise KeeperError(f"{target}: nothing was set aside here, so there is nothing to undo")
    source = asides[0]
    copy = workshop / target.name
    parts = with_sidecars(source)
    for part in parts:
        shutil.copy2(part, sidecar(copy, part.name.removeprefix(source.name)))
    if any(size_of(sidecar(copy, suffix)) for suffix in _WITH_CONTENT):
        settle(copy)
    model = source.stat()
    try:
        os.chown(copy, model.st_uid, model.st_gid)
    except PermissionError:
        raise KeeperError(
            f"{target}: cannot give the file back to its owner (uid {model.st_uid})",
            hint="run keeper as root, or as the owner of the database",
        ) from None
    set_aside = place(copy, target, moment, workshop)
    # The main file first: what is left without it is not taken for a database.
    for part in parts:
        part.unlink(missing_ok=True)
    sync(target.parent)
    return source, set_aside


def sync(path: Path) -> None:
    """Flush a folder, or a file that no SQLite connection of this process has open, to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
