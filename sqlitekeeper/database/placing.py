"""Putting a database file in the place of another, so that nothing can be lost.

At every moment one complete database is in place, the old or the new:

    old has content in sidecars (WAL, hot journal):
        copy of it all in the workshop, then SQLite settles old into one file
    then, while nobody else can lock or have it open:
        old gets its set-aside name (a link, or the copies get their names)
        rename(new, old): one atomic step

A new file must never meet an old -wal or -journal, nor a process that still
has the old file open: SQLite would mix them.
"""

import contextlib
import os
import shutil
import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlitekeeper import wording
from sqlitekeeper.database.connection import open_database, sqlite_errors
from sqlitekeeper.database.exclusive import HINT, exclusive_file, refuse_if_open
from sqlitekeeper.database.files import SIDECARS, free_bytes, sidecar, size_of
from sqlitekeeper.database.flushing import sync
from sqlitekeeper.database.holders import Process, holders_of, identity
from sqlitekeeper.database.set_aside import set_aside_path, set_asides, with_sidecars
from sqlitekeeper.errors import BusyError, CheckError, KeeperError, NotADatabaseError

# What holds transactions that the main file lacks; -shm is only an index.
_WITH_CONTENT = ("-wal", "-journal")


def dress(new: Path, target: Path, mode: int) -> None:
    """Give a new file the owner and mode of the file that it will replace.

    Where there is none: `mode`, and when root makes it, the folder's owner's.

    Raises:
        KeeperError: this user may not give it to the owner.
    """
    try:
        model = target.stat()
        owner, group, mode = model.st_uid, model.st_gid, stat.S_IMODE(model.st_mode)
    except FileNotFoundError:
        folder = target.parent.stat()
        owner, group = os.geteuid(), os.getegid()
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


@dataclass(frozen=True, slots=True)
class Placed:
    """What `place` did: the files set aside, and who had opened the old one in the meantime.

    Those `latecomers` were cut off: they get errors until they open the
    database again.
    """

    set_aside: tuple[Path, ...]
    latecomers: tuple[Process, ...] = ()


def place(new: Path, target: Path, moment: datetime, workshop: Path) -> Placed:
    """Put `new`, a closed database without sidecars, in the place of `target`.

    `workshop` is a private folder on the same file system.

    Raises:
        BusyError: somebody has the old database open; nothing was changed.
        KeeperError: the file system refused a step; the old one is in place.
    """
    sync(new)
    aside = set_aside_path(target, moment)
    latecomers: tuple[Process, ...] = ()
    if os.path.lexists(target):
        refuse_if_open(target)
        latecomers = _replace(new, target, aside, workshop)
    else:
        for suffix in SIDECARS:
            with contextlib.suppress(FileNotFoundError):
                sidecar(target, suffix).rename(sidecar(aside, suffix))
        try:
            put(new, target)
        except FileExistsError:
            raise BusyError(f"{target}: has appeared meanwhile", hint=HINT) from None
    sync(target.parent)
    return Placed(tuple(path for path in with_sidecars(aside) if path.exists()), latecomers)


def _replace(new: Path, target: Path, aside: Path, workshop: Path) -> tuple[Process, ...]:
    old = identity(target.stat())
    copied, settled = content_suffixes(target), None
    try:
        if copied:
            _copy_to_workshop(target, copied, workshop)
            settled = _settled(target)
        with exclusive_file(target) as descriptor:
            # Whoever opened it before the lock was taken is seen here; later ones must wait.
            refuse_if_open(target)
            _refuse_if_written(target, descriptor, copied, settled)
            if copied:
                for suffix in (*copied, ""):
                    (workshop / f"aside{suffix}").rename(sidecar(aside, suffix))
            else:
                _link_or_copy(target, aside, workshop, descriptor)
            sync(target.parent)
            for suffix in SIDECARS:
                sidecar(target, suffix).unlink(missing_ok=True)
            new.rename(target)
            latecomers = tuple(holders_of({old}))
            if latecomers:
                _cut_off(descriptor, aside, workshop)
    except BaseException:
        # Asked of the disk: a signal can come between any two steps. The copy stays where
        # it alone has the transactions of a database that could not be settled.
        unsettled = copied and settled is None
        if identity(target.stat()) == old and not (
            unsettled and content_suffixes(target) != copied
        ):
            for path in with_sidecars(aside):
                path.unlink(missing_ok=True)
        raise
    return latecomers


def content_suffixes(path: Path) -> tuple[str, ...]:
    """The sidecars that hold transactions which the main file lacks.

    A journal whose first byte is zero is one that journal_mode PERSIST keeps.
    """
    full = []
    for suffix in _WITH_CONTENT:
        part = sidecar(path, suffix)
        if size_of(part) and not (suffix == "-journal" and _is_zeroed(part)):
            full.append(suffix)
    return tuple(full)


def _is_zeroed(journal: Path) -> bool:
    with journal.open("rb") as stream:
        return stream.read(1) == b"\0"


def _refuse_if_written(
    target: Path, descriptor: int, copied: tuple[str, ...], settled: tuple[int, int] | None
) -> None:
    """Refuse when somebody has written since the old database was looked at."""
    if copied and settled is None:
        # Too damaged to be settled: its sidecars are still there, and in the copy.
        wrote = content_suffixes(target) != copied
    else:
        wrote = bool(content_suffixes(target))
        wrote = wrote or (settled is not None and fingerprint(os.fstat(descriptor)) != settled)
    if wrote:
        raise BusyError(f"{target}: somebody wrote to it meanwhile", hint=HINT)


def _cut_off(descriptor: int, aside: Path, workshop: Path) -> None:
    """Make the old file useless to processes that wait for its lock.

    They opened it before it lost its name; with the lock in hand they would put
    a -wal beside the new file. What is set aside becomes a copy first.
    """
    if identity(aside.stat()) == identity(os.fstat(descriptor)):
        _copy_locked(descriptor, workshop / "aside")
        _finish_copy(workshop / "aside", os.fstat(descriptor), aside)
        sync(aside.parent)
    os.pwrite(descriptor, b"replaced".ljust(100, b"\0"), 0)


def _copy_to_workshop(target: Path, suffixes: tuple[str, ...], workshop: Path) -> None:
    """Copy a database that has content in its sidecars.

    The main file is read through the descriptor that holds the lock: closing
    any other would drop it.
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
        _copy_locked(descriptor, workshop / "aside")
        for suffix in (*suffixes, ""):
            copy = workshop / f"aside{suffix}"
            _finish_copy(copy, facts, copy)


def put(new: Path, target: Path) -> None:
    """Give a file a name that is free; unlike a rename, a link never replaces another file.

    Raises:
        FileExistsError: the name is not free.
    """
    try:
        os.link(new, target)
    except FileExistsError:
        raise
    except OSError:
        # A file system without links.
        if os.path.lexists(target):
            raise FileExistsError(f"{target}: exists") from None
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


def _settled(target: Path) -> tuple[int, int] | None:
    """Settle a database that was copied; None where it is too damaged for SQLite to do so."""
    try:
        return settle(target)
    except (CheckError, NotADatabaseError):
        return None


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
        return fingerprint(path.stat())


def fingerprint(facts: os.stat_result) -> tuple[int, int]:
    """What changes when somebody writes to a file: its size and time."""
    return facts.st_size, facts.st_mtime_ns


def undo(target: Path, moment: datetime, workshop: Path) -> tuple[Path, Placed]:
    """Bring back what was set aside last, with every transaction of its WAL.

    What is in place now is set aside in turn, so that this can be undone too.
    Returns the file that was brought back, and what `place` did.

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
        _finish_copy(
            Path(shutil.copy2(part, workshop / "part")),
            part.stat(),
            sidecar(copy, part.name.removeprefix(source.name)),
        )
    loose: tuple[str, ...] = ()
    if full := content_suffixes(copy):
        try:
            settle(copy)
        except (CheckError, NotADatabaseError):
            # Damaged when it was set aside: it comes back as it was, in its parts.
            loose = full
            for suffix in full:
                sidecar(copy, suffix).rename(workshop / f"loose{suffix}")
    sidecar(copy, "-shm").unlink(missing_ok=True)
    placed = place(copy, target, moment, workshop)
    for suffix in loose:
        (workshop / f"loose{suffix}").rename(sidecar(target, suffix))
    # The main file before what has transactions: what is left without it is not taken for a
    # database. All else before the main file, or it would be left for good.
    last = [sidecar(source, suffix) for suffix in full]
    first = [part for part in parts if part not in (source, *last)]
    for part in (*first, source, *last):
        part.unlink(missing_ok=True)
    sync(target.parent)
    return source, placed
