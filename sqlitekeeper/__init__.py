"""Keeps the SQLite databases of web applications small, checkpointed and backed up.

The main verbs, for use without the command line:

    from pathlib import Path
    from sqlitekeeper import measure, vacuum

    vacuum(Path("app.sqlite3"))
    print(measure(Path("app.sqlite3")).free_pages)
"""

__version__ = "0.1.0"

TYPE_CHECKING = False  # typing's own costs more time than all the rest of this module
if TYPE_CHECKING:
    from sqlitekeeper.backups.files import FilesJob, FilesOptions, sync_files
    from sqlitekeeper.backups.pipeline import Job
    from sqlitekeeper.backups.run import BackupOptions, back_up
    from sqlitekeeper.database.convert import convert, plan_conversion
    from sqlitekeeper.database.create import init_database
    from sqlitekeeper.database.measure import measure
    from sqlitekeeper.database.vacuum import VacuumOptions, vacuum
    from sqlitekeeper.errors import KeeperError

__all__ = [
    "BackupOptions",
    "FilesJob",
    "FilesOptions",
    "Job",
    "KeeperError",
    "VacuumOptions",
    "back_up",
    "convert",
    "init_database",
    "measure",
    "plan_conversion",
    "sync_files",
    "vacuum",
]

# Imported when they are first asked for: `keeper --version` needs none of them.
_HOMES = {
    "BackupOptions": "sqlitekeeper.backups.run",
    "FilesJob": "sqlitekeeper.backups.files",
    "FilesOptions": "sqlitekeeper.backups.files",
    "Job": "sqlitekeeper.backups.pipeline",
    "KeeperError": "sqlitekeeper.errors",
    "VacuumOptions": "sqlitekeeper.database.vacuum",
    "back_up": "sqlitekeeper.backups.run",
    "convert": "sqlitekeeper.database.convert",
    "init_database": "sqlitekeeper.database.create",
    "measure": "sqlitekeeper.database.measure",
    "plan_conversion": "sqlitekeeper.database.convert",
    "sync_files": "sqlitekeeper.backups.files",
    "vacuum": "sqlitekeeper.database.vacuum",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
