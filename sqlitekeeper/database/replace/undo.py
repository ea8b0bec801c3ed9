"""The database that a restore set aside, brought back."""

import shutil
from datetime import datetime
from pathlib import Path

from sqlitekeeper.database.files import sidecar
from sqlitekeeper.database.replace.copies import finish_copy
from sqlitekeeper.database.replace.recover import try_to_settle
from sqlitekeeper.database.replace.replace import Placed, content_suffixes, loose_suffixes, place
from sqlitekeeper.database.set_aside import set_asides, with_sidecars
from sqlitekeeper.errors import KeeperError
from sqlitekeeper.events import Listener, ignore
from sqlitekeeper.filesystem.access import access_of
from sqlitekeeper.filesystem.flush import sync


def undo(
    target: Path,
    moment: datetime,
    work_folder: Path,
    on_event: Listener = ignore,
    *,
    assume_stopped: bool = False,
) -> tuple[Path, Placed]:
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
    # Not the database's name, which may be any, also that of another file in the work folder.
    copy = work_folder / "back"
    parts = with_sidecars(source)
    _copy_parts(source, target, copy, work_folder, on_event)
    full = content_suffixes(copy)
    loose = loose_suffixes(full)
    if full and try_to_settle(copy) is None:
        # Damaged when it was set aside: it comes back as it was, in its parts, and not as
        # SQLite has left it when it gave up.
        _copy_parts(source, target, copy, work_folder, ignore)
        loose = full
    for suffix in loose:
        sidecar(copy, suffix).rename(work_folder / f"loose{suffix}")
    sidecar(copy, "-shm").unlink(missing_ok=True)
    placed = place(
        copy, target, moment, work_folder, on_event, replace=True, assume_stopped=assume_stopped
    )
    for suffix in loose:
        (work_folder / f"loose{suffix}").rename(sidecar(target, suffix))
    # The main file before what has transactions: what is left without it is not taken for a
    # database. All else before the main file, or it would be left for good.
    last = [sidecar(source, suffix) for suffix in full]
    first = [part for part in parts if part not in (source, *last)]
    for part in (*first, source, *last):
        part.unlink(missing_ok=True)
    sync(target.parent)
    return source, placed


def _copy_parts(
    source: Path, target: Path, copy: Path, work_folder: Path, on_event: Listener
) -> None:
    """Copy a database that nobody has open, with its sidecars; it will be `target`."""
    for part in with_sidecars(source):
        copied = Path(shutil.copy2(part, work_folder / "part"))
        suffix = part.name.removeprefix(source.name)
        name = sidecar(copy, suffix)
        finish_copy(copied, access_of(part), name, sidecar(target, suffix), on_event)
