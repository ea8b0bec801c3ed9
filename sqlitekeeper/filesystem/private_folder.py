"""A folder of a run's own for files that nobody else may see, and what killed runs left of theirs.

A lock on the folder itself says that its run is alive. It is taken before
anything is put into the folder, and the kernel drops it however the run ends:

    empty                locked: just made        not locked: litter
    with its marker      locked: in use           not locked: litter
    without a marker     not keeper's, whatever its name
"""

import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sqlitekeeper.errors import KeeperError

# Of folders with copies of databases; what one command left, each of them removes.
STAGING = "keeper-staging-"
MARKER = ".keeper"
_RANDOM = re.compile(r"[a-z0-9_]{8}")  # what mkdtemp appends
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def staging_folder(parent: Path, setting: str | None = "backup.staging") -> Iterator[Path]:
    """A new private folder below `parent`, gone in the end.

    Raises:
        KeeperError: it cannot be made; the hint names the `setting` that says where.
    """
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(private_folder(parent, STAGING))
        except OSError as error:
            raise KeeperError(
                f"{parent}: staging folder: {error.strerror}",
                hint=f"make it, or point {setting} in keeper.toml at another folder"
                if setting
                else "keeper needs to write in the folder of the database",
            ) from None
        yield folder


def remove_staging_litter(parent: Path) -> list[Path]:
    """Remove the staging folders that runs of this user left when they were killed."""
    return remove_litter(parent, STAGING)


@contextmanager
def private_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder below `parent`, 0700, named `prefix` and something random, gone in the end.

    Raises:
        OSError: it cannot be made.
    """
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        descriptor = _take(folder)
        if descriptor is not None:
            break
    try:
        marker = os.open(folder / MARKER, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.close(marker)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _take(folder: Path) -> int | None:
    """Lock a folder that was just made; None where another run took it for litter before."""
    try:
        descriptor = os.open(folder, _OPEN)
    except FileNotFoundError:
        return None
    # Where a folder cannot be locked, nobody else can lock it to remove it either.
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    if os.path.lexists(folder):
        return descriptor
    os.close(descriptor)
    return None


def remove_litter(parent: Path, prefix: str) -> list[Path]:
    """Remove the private folders that runs of this user left when they were killed.

    Others' folders, links, and those of runs that are alive stay untouched.
    """
    try:
        candidates = sorted(parent.glob(f"{prefix}*"))
    except OSError:
        return []
    return [
        folder
        for folder in candidates
        if _RANDOM.fullmatch(folder.name.removeprefix(prefix)) and _remove(folder)
    ]


def _remove(folder: Path) -> bool:
    try:
        descriptor = os.open(folder, _OPEN)
    except OSError:
        return False
    try:
        facts = os.fstat(descriptor)
        # A folder inherits the group bit of the one that it is made in.
        if stat.S_IMODE(facts.st_mode) & ~stat.S_ISGID != 0o700 or facts.st_uid != os.geteuid():
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with os.scandir(descriptor) as entries:
            if any(entries) and not _is_marked(descriptor):
                return False
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return not os.path.lexists(folder)


def _is_marked(descriptor: int) -> bool:
    try:
        return stat.S_ISREG(os.stat(MARKER, dir_fd=descriptor, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False
