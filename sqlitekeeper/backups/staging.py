"""The private folder that snapshots are made in, and what killed runs left of theirs."""

import fcntl
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlitekeeper.errors import KeeperError

PREFIX = "keeper-staging-"
MARKER = ".lock"
_OWN_NAME = re.compile(rf"{PREFIX}[a-z0-9_]{{8}}")  # what mkdtemp makes
# A folder without a marker may belong to a run that is just making it.
UNMARKED_SECONDS = 3600


@contextmanager
def staging_folder(parent: Path, setting: str | None = "backup.staging") -> Iterator[Path]:
    """A new folder below `parent`, 0700 and of a random name, gone in the end.

    While it is in use a lock on its marker says so to other runs.

    Raises:
        KeeperError: it cannot be made.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    except OSError as error:
        raise KeeperError(
            f"{parent}: staging folder: {error.strerror}",
            hint=f"make it, or point {setting} in keeper.toml at another folder"
            if setting
            else "keeper needs to write in the folder of the database",
        ) from None
    marker = -1
    try:
        new = folder / f"{MARKER}.new"
        marker = os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(marker, fcntl.LOCK_EX)
        # Only now may it be seen: a marker that is not locked means a killed run.
        new.rename(folder / MARKER)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if marker >= 0:
            os.close(marker)


def remove_litter(parent: Path) -> list[Path]:
    """Remove the staging folders that runs of this user left when they were killed.

    Others' folders, links, and those of runs that are alive stay untouched.
    """
    removed = []
    try:
        candidates = sorted(parent.glob(f"{PREFIX}*"))
    except OSError:
        return []
    for folder in candidates:
        if _OWN_NAME.fullmatch(folder.name) and _is_litter(folder):
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
    return removed


def _is_litter(folder: Path) -> bool:
    try:
        facts = folder.lstat()
        private = stat.S_ISDIR(facts.st_mode) and stat.S_IMODE(facts.st_mode) == 0o700
        if not private or facts.st_uid != os.geteuid():
            return False
        marker = os.open(folder / MARKER, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        old = time.time() - facts.st_mtime > UNMARKED_SECONDS
        return old and {entry.name for entry in folder.iterdir()} <= {f"{MARKER}.new"}
    except OSError:
        return False
    try:
        fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(marker)
    return True
