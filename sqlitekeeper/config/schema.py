"""keeper.toml as one table: the keys of each section, and their parsers."""

from collections.abc import Mapping
from typing import Any

from sqlitekeeper.config import parsers as values
from sqlitekeeper.config.databases import databases
from sqlitekeeper.config.overlaps import Place, refuse_databases_there, refuse_shared_places
from sqlitekeeper.config.position import Position, Source
from sqlitekeeper.config.settings import (
    NOTIFYING,
    BackupSettings,
    FileSet,
    NotifySettings,
    VacuumSettings,
)

_KEEPS = tuple(field for field in BackupSettings.__slots__ if field.startswith("keep_"))


def _checkpoint(value: object, position: Position) -> str:
    """How a WAL is checkpointed; true and false are what they were before there was a choice."""
    choose = values.choice("truncate", "passive", "none")
    return (
        {True: "truncate", False: "none"}[value]
        if isinstance(value, bool)
        else choose(value, position)
    )


_VACUUM: values.Keys = {
    "pages": values.count(0),
    "max_lock_ms": values.count(1),
    "keep_free_pages": values.count(0),
    "optimize": values.flag,
    "checkpoint": _checkpoint,
}

_BACKUP: values.Keys = {
    "to": values.destinations,
    "store": values.choice("plain", "zstd", "delta"),
    "staging": values.path,
    "check": values.choice("integrity", "quick", "none"),
    "max_age": values.duration,
    "prune": values.flag,
    **{keep: values.count(0) for keep in _KEEPS},
    "rclone_args": values.rclone_arguments,
    "timeout": values.duration,
    "loss_alarm": values.share,
}

_FILES: values.Keys = {
    "name": values.name,
    "path": values.path,
    "to": values.destination,
    "exclude": values.listed(values.text),
    "max_delete": values.count_or_percent,
}

_NOTIFY: values.Keys = {
    "ping_url": values.ping_url,
    "commands": values.listed(values.choice(*NOTIFYING)),
    "on_failure": values.command,
    "on_success": values.command,
}


def _backup(value: object, position: Position) -> BackupSettings:
    found = values.read_table(value, position, _BACKUP)
    for duration in ("max_age", "timeout"):
        if duration in found:
            found[f"{duration}_seconds"] = found.pop(duration)
    settings = BackupSettings(**found)
    if settings.prune and not any(getattr(settings, keep) for keep in _KEEPS):
        raise position.error(
            "every keep_* is 0, so that prune would delete all snapshots;"
            " keep some, or set prune = false"
        )
    return settings


def _file_set(**found: Any) -> FileSet:
    most = found.pop("max_delete", None)
    if isinstance(most, float):
        return FileSet(**found, max_delete_files=None, max_delete_percent=most)
    if most is not None:
        return FileSet(**found, max_delete_files=most, max_delete_percent=100.0)
    return FileSet(**found)


def _files(value: object, position: Position) -> tuple[FileSet, ...]:
    found = values.tables(values.record(_file_set, _FILES, required=("name", "path", "to")))(
        value, position
    )
    names = [files.name for files in found]
    for index, name in enumerate(names):
        if name in names[:index]:
            first = position.at(names.index(name)).key
            raise position.at(index).at("name").error(f"{name} is the name of {first} too")
    return found


_DOCUMENT: values.Keys = {
    "state": values.path,
    "rclone": values.program,
    "databases": databases,
    "vacuum": values.record(VacuumSettings, _VACUUM),
    "backup": _backup,
    "files": _files,
    "notify": values.record(NotifySettings, _NOTIFY),
}


def parse_document(document: Mapping[str, object], source: Source) -> dict[str, Any]:
    """Turn what tomllib read into arguments of Config; keys that are absent stay absent.

    Raises:
        ConfigError: the first thing that is wrong, with its file and key.
    """
    top = Position(source)
    found: dict[str, Any] = values.read_table(document, top, _DOCUMENT)
    if files := found.get("files", ()):
        destinations = found.get("backup", BackupSettings()).to
        several = len(destinations) > 1
        backups = [
            Place(to, f"backup.to[{index}]" if several else "backup.to")
            for index, to in enumerate(destinations)
        ]
        sets = [(one, Place(one.to, f"files[{index}].to")) for index, one in enumerate(files)]
        refuse_shared_places(backups, sets, str(top))
        refuse_databases_there(sets, found.get("databases", ()), str(top))
    return found
