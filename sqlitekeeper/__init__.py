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
    from sqlitekeeper.backup.run import BackupOptions, back_up
    from sqlitekeeper.config.settings import Database, FileSet
    from sqlitekeeper.config.settings import Database as Job
    from sqlitekeeper.config.settings import FileSet as FilesJob
    from sqlitekeeper.database.maintain.convert import convert, plan_conversion
    from sqlitekeeper.database.maintain.create import init_database
    from sqlitekeeper.database.maintain.vacuum import VacuumOptions, vacuum
    from sqlitekeeper.database.measure import measure
    from sqlitekeeper.errors import KeeperError
    from sqlitekeeper.files.run import FilesOptions, sync_files

__all__ = [
    "BackupOptions",
    "Database",
    "FileSet",
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
    "backup.run": ("BackupOptions", "back_up"),
    "config.settings": ("Database", "FileSet"),
    "database.maintain.convert": ("convert", "plan_conversion"),
    "database.maintain.create": ("init_database",),
    "database.maintain.vacuum": ("VacuumOptions", "vacuum"),
    "database.measure": ("measure",),
    "errors": ("KeeperError",),
    "files.run": ("FilesOptions", "sync_files"),
}
_FORMER = {"FilesJob": "FileSet", "Job": "Database"}


def __getattr__(name: str) -> object:
    present = _FORMER.get(name, name)
    for home, names in _HOMES.items():
        if present in names:
            from importlib import import_module

            value: object = getattr(import_module(f"sqlitekeeper.{home}"), present)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
