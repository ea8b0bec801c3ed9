"""What the user asked for: keeper.toml and arguments as frozen values.

Database files are looked at with stat alone, but for `finding`: opening one would
drop the POSIX locks that the rest of the process holds on it.
"""

from sqlitekeeper.config.durations import parse_duration
from sqlitekeeper.config.loading import read_config
from sqlitekeeper.config.names import check_name, default_name
from sqlitekeeper.config.overlaps import refuse_indistinct_files, refuse_place_of_files
from sqlitekeeper.config.paths import local_folder
from sqlitekeeper.config.selection import refuse_claimed_names, select_databases
from sqlitekeeper.config.settings import (
    NOTIFYING,
    BackupSettings,
    Config,
    Database,
    FileSet,
    NotifySettings,
    VacuumSettings,
)
from sqlitekeeper.rclone.remote_name import is_local

__all__ = [
    "NOTIFYING",
    "BackupSettings",
    "Config",
    "Database",
    "FileSet",
    "NotifySettings",
    "VacuumSettings",
    "check_name",
    "default_name",
    "is_local",
    "local_folder",
    "parse_duration",
    "read_config",
    "refuse_claimed_names",
    "refuse_indistinct_files",
    "refuse_place_of_files",
    "select_databases",
]
