"""The configuration as values: the keys of keeper.toml and their defaults."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

COMMAND_LINE = "command line"

# The commands that can tell others how they went: those that a schedule runs.
NOTIFYING = ("backup", "files", "vacuum", "drill")


Store = Literal["plain", "zstd", "delta"]


@dataclass(frozen=True, slots=True)
class Database:
    """One database to work on.

    `path` is absolute, its symlinks not resolved. `origin` says who named it.
    `unmatched` marks a glob of the configuration without any match; `path`
    then holds the pattern. `journal_mode` and `auto_vacuum` are what the
    database should have, None where that is left open; doctor compares.
    """

    name: str
    path: Path
    backup: bool = True
    optional: bool = False
    origin: str = COMMAND_LINE
    unmatched: bool = False
    journal_mode: str | None = None
    auto_vacuum: str | None = None


@dataclass(frozen=True, slots=True)
class VacuumSettings:
    """`[vacuum]`: how much a run frees, and how long it may hold the write lock."""

    pages: int = 1000
    max_lock_ms: int = 100
    keep_free_pages: int = 0
    optimize: bool = False
    checkpoint: Literal["truncate", "passive", "none"] = "truncate"


@dataclass(frozen=True, slots=True)
class BackupSettings:
    """`[backup]`: where snapshots go, how they are checked and how long they stay.

    `to` holds absolute local folders and rclone remotes, `store` how snapshots are stored
    there. `loss_alarm` is the
    share of its rows that a table may lose from one snapshot to the next; 0 is
    no alarm. An rclone that gets no further for `timeout_seconds` is ended.
    """

    to: tuple[str, ...] = ()
    store: Store = "plain"
    staging: Path = Path("/var/tmp")  # noqa: S108 - snapshots are made in a private folder below it
    check: Literal["integrity", "quick", "none"] = "integrity"
    max_age_seconds: float = 26 * 3600
    prune: bool = True
    keep_last: int = 1
    keep_hourly: int = 0
    keep_daily: int = 7
    keep_weekly: int = 4
    keep_monthly: int = 12
    keep_yearly: int = 0
    rclone_args: tuple[str, ...] = ()
    loss_alarm: float = 0.5
    timeout_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class FileSet:
    """One entry of `[[files]]`: a folder to sync beside the databases.

    `exclude` are rclone's own filter patterns. A run deletes no more at the
    destination than the smaller of `max_delete_files` (None: any number) and
    `max_delete_percent` of what is there, rounded up.
    """

    name: str
    path: Path
    to: str
    exclude: tuple[str, ...] = ()
    max_delete_files: int | None = 1000
    max_delete_percent: float = 10.0

    def most_deletions(self, there: int) -> int:
        """How many of the files that are there may be deleted."""
        # Rounded first: 1.1 % of 3,000 is 33, not the 33.000000000000004 of binary fractions.
        share = math.ceil(round(there * self.max_delete_percent / 100, 6))
        return share if self.max_delete_files is None else min(share, self.max_delete_files)


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """`[notify]`: whom to tell how a run of one of `commands` went.

    `ping_url` is a secret; `{command}` in it stands for the command's name.
    """

    ping_url: str | None = None
    commands: tuple[str, ...] = ("backup",)
    on_failure: tuple[str, ...] = ()
    on_success: tuple[str, ...] = ()

    def notifies_of(self, command: str) -> bool:
        """Whether anybody is to be told of this command's runs."""
        listeners = self.ping_url or self.on_failure or self.on_success
        return bool(listeners) and command in self.commands


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that keeper.toml says. `file` is the path as it was found, None without one."""

    file: Path | None
    state: Path
    rclone: str | None = None
    databases: tuple[Database, ...] = ()
    vacuum: VacuumSettings = VacuumSettings()
    backup: BackupSettings = BackupSettings()
    files: tuple[FileSet, ...] = ()
    notify: NotifySettings = NotifySettings()
