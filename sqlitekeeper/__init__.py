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
    from sqlitekeeper.backup.pipeline import Job
    from sqlitekeeper.backup.run import BackupOptions, back_up
    from sqlitekeeper.database.maintain.convert import convert, plan_conversion
    from sqlitekeeper.database.maintain.create import init_database
    from sqlitekeeper.database.maintain.vacuum import VacuumOptions, vacuum
    from sqlitekeeper.database.measure import measure
    from sqlitekeeper.errors import KeeperError
    from sqlitekeeper.files.run import FilesJob, FilesOptions, sync_files

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
    "BackupOptions": "sqlitekeeper.backup.run",
    "FilesJob": "sqlitekeeper.files.run",
    "FilesOptions": "sqlitekeeper.files.run",
    "Job": "sqlitekeeper.backup.pipeline",
    "KeeperError": "sqlitekeeper.errors",
    "VacuumOptions": "sqlitekeeper.database.maintain.vacuum",
    "back_up": "sqlitekeeper.backup.run",
    "convert": "sqlitekeeper.database.maintain.convert",
    "init_database": "sqlitekeeper.database.maintain.create",
    "measure": "sqlitekeeper.database.measure",
    "plan_conversion": "sqlitekeeper.database.maintain.convert",
    "sync_files": "sqlitekeeper.files.run",
    "vacuum": "sqlitekeeper.database.maintain.vacuum",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
