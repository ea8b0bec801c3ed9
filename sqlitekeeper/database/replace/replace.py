"""A database file put in the place of another, so that nothing can be lost.

At every moment one complete database is in place, the old or the new:

    old has content in sidecars (WAL, hot journal):
        copy of it all in the work folder, then SQLite settles old into one file
        (where it is too damaged for that, the copies get their names now)
    then, while nobody else can lock or have it open:
        old gets its set-aside name (a link, or the copies get their names)
        rename(new, old): one atomic step

A new file must never meet an old -wal or -journal, nor a process that still
has the old file open, deleted or not: SQLite would mix them.
"""

import contextlib
import os
import shlex
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlitekeeper.database.files import LOG, sidecar, sidecars_of, size_of
from sqlitekeeper.database.processes import Process, holders_of, identity
from sqlitekeeper.database.refuse import refuse_remote
from sqlitekeeper.database.replace.copies import (
    copy_locked,
    copy_with_sidecars,
    finish_copy,
    link_or_copy,
)
from sqlitekeeper.database.replace.exclusive import HINT, exclusive_file, refuse_if_open
from sqlitekeeper.database.replace.recover import Trace, trace, traces, try_to_settle
from sqlitekeeper.database.replace.unseen import refuse_unseen
from sqlitekeeper.database.set_aside import set_aside_path, with_sidecars
from sqlitekeeper.errors import BusyError, KeeperError
from sqlitekeeper.events import Level, Listener, Note, ignore
from sqlitekeeper.filesystem.access import access_of, access_of_new, give_access
from sqlitekeeper.filesystem.atomic import put
from sqlitekeeper.filesystem.flush import sync

# What holds transactions that the main file lacks; -shm is only an index.
_WITH_CONTENT = ("-wal", "-journal", LOG)


def copy_ownership(
    new: Path, target: Path, mode: int, on_event: Listener = ignore, acl: str | None = None
) -> None:
    """Give a new file the owner, mode, ACL and label of the file that it will replace.

    Where there is none: as a file with `mode` that the owner of the folder makes there; an
    `acl` that it had is told, since its users may be others on this host.

    Raises:
        KeeperError: this user may not give it to the owner.
    """
    try:
        access = access_of(target)
    except FileNotFoundError:
        access = access_of_new(target.parent, mode, acl)
        if acl and acl != access.acl_text:
            text = f"{target}: had an ACL when it was backed up, and comes back without;"
            mend = f"setfacl --set {acl} {shlex.quote(str(target))}"
            on_event(Note("", f"{text} to give it again: {mend}", Level.WARNING))
    give_access(new, access, target, on_event)


@dataclass(frozen=True, slots=True)
class Placed:
    """What `place` did: the files set aside, and who had opened the old one in the meantime.

    Those `late_openers` were cut off: they get errors until they open the
    database again.
    """

    set_aside: tuple[Path, ...]
    late_openers: tuple[Process, ...] = ()


def place(
    new: Path,
    target: Path,
    moment: datetime,
    work_folder: Path,
    on_event: Listener = ignore,
    *,
    replace: bool = False,
    assume_stopped: bool = False,
) -> Placed:
    """Put `new`, a closed database without sidecars, in the place of `target`.

    Without `replace` only where there is nothing at this moment, whatever was there
    before. `work_folder` is a private folder on the same file system. With `assume_stopped`
    also where somebody may have the old one open who cannot be seen.

    Raises:
        BusyError: somebody has the old database open, or made one; nothing was changed.
        ReadOnlyError: it has a WAL on a file system that hosts share.
        KeeperError: there is one and `replace` is not set, or the file system refused a
            step; the old one is in place.
    """
    if os.path.lexists(target) and not replace:
        raise exists_already(target)
    sync(new)
    aside = set_aside_path(target, moment)
    late_openers: tuple[Process, ...] = ()
    stale = traces(target)
    refuse_if_open(target)
    if replace and os.path.lexists(target):
        if not assume_stopped:
            refuse_unseen(target)
        late_openers = _replace(new, target, aside, work_folder, on_event)
    else:
        try:
            _put_alone(new, target, aside, stale)
        except FileExistsError:
            if not replace:
                raise exists_already(target) from None
            raise BusyError(f"{target}: has appeared meanwhile", hint=HINT) from None
    sync(target.parent)
    return Placed(tuple(path for path in with_sidecars(aside) if path.exists()), late_openers)


def exists_already(target: Path) -> KeeperError:
    """The refusal to replace a file without --replace."""
    return KeeperError(
        f"{target}: exists already, left as it is",
        hint="--replace sets it aside first; --to PATH restores elsewhere",
    )


def _put_alone(new: Path, target: Path, aside: Path, stale: tuple[Trace, ...]) -> None:
    """Put a database where there is none, after moving away what another has left beside it.

    Raises:
        FileExistsError: somebody has made one.
    """
    # An application that makes its database at this moment makes a WAL too, which it needs.
    if traces(target) != stale:
        raise FileExistsError
    for suffix in sidecars_of(target):
        with contextlib.suppress(FileNotFoundError):
            sidecar(target, suffix).rename(sidecar(aside, suffix))
    put(new, target)


def _replace(
    new: Path, target: Path, aside: Path, work_folder: Path, on_event: Listener
) -> tuple[Process, ...]:
    old = identity(target.stat())
    copied = content_suffixes(target)
    before, settled = None, None
    try:
        if copied:
            if "-wal" in copied:
                refuse_remote(target)
            before = copy_with_sidecars(target, copied, aside, work_folder, on_event)
            settled = try_to_settle(target, before)
            left = traces(target)
            if settled is None:
                # At once: where SQLite has rolled a journal back before it gave up, the
                # copies alone are what was there.
                _name_copies(work_folder, copied, aside)
        with exclusive_file(target) as descriptor:
            # Whoever opened it before the lock was taken is seen here; later ones must wait.
            refuse_if_open(target)
            if identity(os.fstat(descriptor)) != old:
                raise BusyError(f"{target}: somebody replaced it meanwhile", hint=HINT)
            if copied and settled is None:
                wrote = traces(target) != left
            else:
                wrote = content_suffixes(target) != loose_suffixes(copied)
                # What SQLite cannot settle has to be as it was copied.
                wrote = wrote or bool(before and traces(target)[-1] != before[-1])
                wrote = wrote or (settled is not None and trace(target) != settled)
            if wrote:
                raise BusyError(f"{target}: somebody wrote to it meanwhile", hint=HINT)
            if settled is not None:
                _name_copies(work_folder, copied, aside)
            elif not copied:
                link_or_copy(target, aside, work_folder, descriptor, on_event)
            sync(target.parent)
            for suffix in sidecars_of(target):
                sidecar(target, suffix).unlink(missing_ok=True)
            new.rename(target)
            late_openers = tuple(holders_of({old}))
            if late_openers:
                _cut_off(descriptor, aside, work_folder, on_event)
    except BaseException:
        # Asked of the disk: a signal can come between any two steps. The copies stay where
        # they alone are what a database was that could not be settled.
        alone = copied and settled is None and traces(target) != before
        if _is_still(target, old) and not alone:
            for path in with_sidecars(aside):
                path.unlink(missing_ok=True)
        raise
    return late_openers


def _name_copies(work_folder: Path, copied: tuple[str, ...], aside: Path) -> None:
    """Give the copies their set-aside names: the main file last, or it would lack transactions."""
    for suffix in (*copied, ""):
        (work_folder / f"aside{suffix}").rename(sidecar(aside, suffix))
    sync(aside.parent)


def _is_still(target: Path, old: tuple[int, int]) -> bool:
    try:
        return identity(target.stat()) == old
    except FileNotFoundError:
        return False


def content_suffixes(path: Path) -> tuple[str, ...]:
    """The sidecars that hold transactions which the main file lacks.

    A journal whose first byte is zero is one that journal_mode PERSIST keeps.
    """
    full = []
    beside = sidecars_of(path)
    for suffix in _WITH_CONTENT:
        part = sidecar(path, suffix)
        if suffix in beside and size_of(part) and not (suffix == "-journal" and _is_zeroed(part)):
            full.append(suffix)
    return tuple(full)


def loose_suffixes(copied: tuple[str, ...]) -> tuple[str, ...]:
    """Of the sidecars with content, those that SQLite does not bring into the main file."""
    return tuple(suffix for suffix in copied if suffix == LOG)


def _is_zeroed(journal: Path) -> bool:
    with journal.open("rb") as stream:
        return stream.read(1) == b"\0"


def _cut_off(descriptor: int, aside: Path, work_folder: Path, on_event: Listener) -> None:
    """Make the old file useless to processes that wait for its lock.

    They opened it before it lost its name; with the lock in hand they would put
    a -wal beside the new file. What is set aside becomes a copy first.
    """
    if identity(aside.stat()) == identity(os.fstat(descriptor)):
        copy_locked(descriptor, work_folder / "aside")
        finish_copy(work_folder / "aside", access_of(aside), aside, aside, on_event)
        sync(aside.parent)
    os.pwrite(descriptor, b"replaced".ljust(100, b"\0"), 0)
