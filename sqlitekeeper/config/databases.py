"""The files that the `[[databases]]` of keeper.toml mean."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from sqlitekeeper.config import parsers as values
from sqlitekeeper.config.names import check_name, default_name, fill, folded
from sqlitekeeper.config.paths import absolute, is_regular_file
from sqlitekeeper.config.position import Position
from sqlitekeeper.config.quoting import readable
from sqlitekeeper.config.settings import COMMAND_LINE, Database
from sqlitekeeper.errors import ConfigError

# What SQLite keeps beside a database, and what a restore set aside there.
BESIDE = re.compile(r"(-wal|-shm|-journal|\.before-\d{8}T\d{6}Z)$")
# Those that a file keeps; https://sqlite.org/pragma.html#pragma_journal_mode has all.
JOURNAL_MODES = ("wal", "delete", "truncate", "persist")
AUTO_VACUUM_MODES = ("none", "full", "incremental")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One `[[databases]]` table; `path` may be a pattern, `name` a template."""

    path: str
    name: str | None = None
    exclude: tuple[str, ...] = ()
    backup: bool = True
    optional: bool = False
    journal_mode: str | None = None
    auto_vacuum: str | None = None


_entry = values.record(
    _Entry,
    {
        "path": values.home_expanded,
        "name": values.text,
        "exclude": values.listed(values.text),
        "backup": values.flag,
        "optional": values.flag,
        "journal_mode": values.choice(*JOURNAL_MODES),
        "auto_vacuum": values.choice(*AUTO_VACUUM_MODES),
    },
    required=("path",),
)


def is_pattern(text: str) -> bool:
    """Whether `text` has a glob character."""
    return any(character in text for character in "*?[")


def find_matches(pattern: str, base: Path) -> list[Path]:
    """Every path that `pattern` may mean, from `base` when it is relative.

    As in a shell, a leading dot has to be asked for, and folders that cannot be
    read hold nothing. Parts without a glob character are not looked up: the
    paths may be absent.
    """
    anchor = Path(pattern).anchor
    parts = list(Path(pattern).parts[1:] if anchor else Path(pattern).parts)
    if parts[-1] == "**":
        parts.append("*")
    found = [Path(anchor) if anchor else base]
    for part in parts:
        found = list(dict.fromkeys(path for folder in found for path in _step(folder, part)))
    return found


def _step(folder: Path, part: str) -> Iterable[Path]:
    if part == "**":
        return _folders_below(folder)
    if not is_pattern(part):
        return [folder / part]
    return [
        folder / name
        for name in _names(folder)
        if fnmatchcase(name, part) and (part[0] == "." or name[0] != ".")
    ]


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries)
    except (OSError, ValueError):
        return []


def _folders_below(folder: Path) -> Iterable[Path]:
    """`folder` and all folders below it, hidden ones and symlinks left out."""
    for root, names, _ in os.walk(folder):
        names[:] = [name for name in names if not name.startswith(".")]
        yield Path(root)


def databases(value: object, position: Position) -> tuple[Database, ...]:
    """Every database that `[[databases]]` names, in its order, matches of a glob sorted.

    Raises:
        ConfigError: a bad entry, or two databases of one name or one file.
    """
    found = tuple(
        database for entries in values.tables(_expanded)(value, position) for database in entries
    )
    refuse_twins(found)
    return found


def refuse_twins(found: Iterable[Database]) -> None:
    """Refuse two databases that share a file or a name.

    Globs without a match are left out: they have neither.

    Raises:
        ConfigError: names both, and what to do.
    """
    by_file: dict[str, Database] = {}
    by_name: dict[str, Database] = {}
    for database in found:
        if database.unmatched:
            continue
        twin = by_file.setdefault(os.path.realpath(database.path), database)
        if twin is not database:
            raise _same_file(twin, database)
        twin = by_name.setdefault(database.name, database)
        if twin is not database:
            raise _same_name(twin, database)


def refuse_indistinct_names(found: Iterable[Database]) -> None:
    """Refuse two databases of one destination that it may take for one: `acme` and `Acme`.

    Each would overwrite what the other has shipped, and find a file of that name there.

    Raises:
        ConfigError: names both, and what to do.
    """
    by_name: dict[str, Database] = {}
    for database in found:
        if not database.unmatched:
            twin = by_name.setdefault(folded(database.name), database)
            if twin is not database:
                raise _indistinct(twin, database)


def _same_file(first: Database, second: Database) -> ConfigError:
    return ConfigError(
        f"{second.origin}: {readable(second.path)} is the same file as"
        f" {readable(first.path)} of {first.origin}",
        hint="leave one of them out; exclude = [...] keeps a file out of a glob",
    )


def _same_name(first: Database, second: Database) -> ConfigError:
    hint = _new_name(first, second)
    if second.origin == first.origin != COMMAND_LINE:
        hint = 'name = "{parent}" or "{parent}-{stem}" tells the matches of a glob apart'
    return ConfigError(
        f"{second.origin}: {readable(second.path)} has the name {second.name}, as has"
        f" {readable(first.path)} of {first.origin}",
        hint=hint,
    )


def _indistinct(first: Database, second: Database) -> ConfigError:
    return ConfigError(
        f"{second.origin}: {readable(second.path)} has the name {readable(second.name)}, which"
        f" many destinations do not tell from {readable(first.name)}, the name of"
        f" {readable(first.path)} of {first.origin}",
        hint=_new_name(first, second),
    )


def _new_name(first: Database, second: Database) -> str:
    if second.origin == COMMAND_LINE:
        return 'list them in keeper.toml as [[databases]], each with its own name = "..."'
    if second.origin == first.origin:
        return (
            "exclude one of them from this glob, and give it [[databases]] of its own in"
            ' keeper.toml, with name = "..."'
        )
    return 'give one of them another name: name = "..."'


def _expanded(value: object, position: Position) -> tuple[Database, ...]:
    entry = _entry(value, position)
    written = absolute(entry.path, position.source.folder)
    if entry.exclude and not is_pattern(entry.path):
        raise position.at("exclude").error("has no use beside a path without *, ? or [")
    matches = [written]
    if is_pattern(entry.path) and not is_regular_file(written):
        matches = _matches(entry, position.source.folder)
    return tuple(
        Database(
            name=_name(entry.name, path, position),
            path=path,
            backup=entry.backup,
            optional=entry.optional,
            origin=str(position),
            unmatched=not matches,
            journal_mode=entry.journal_mode,
            auto_vacuum=entry.auto_vacuum,
        )
        for path in matches or [written]
    )


def _matches(entry: _Entry, base: Path) -> list[Path]:
    """The regular files that a pattern means, sorted, each file once.

    A file that matches by its own path and through a symlink keeps its own path.
    """
    found = {absolute(path) for path in find_matches(entry.path, base) if is_regular_file(path)}
    kept = [
        (os.path.realpath(path), path)
        for path in found
        if not BESIDE.search(path.name) and not _excluded(path, entry.exclude, base)
    ]
    by_file: dict[str, Path] = {}
    for real, path in sorted(kept, key=lambda pair: (pair[0] != str(pair[1]), pair[1])):
        by_file.setdefault(real, path)
    return sorted(by_file.values())


def _excluded(path: Path, exclude: tuple[str, ...], base: Path) -> bool:
    ways = (path.name, str(path), os.path.relpath(path, base))
    return any(fnmatchcase(way, pattern) for pattern in exclude for way in ways)


def _name(template: str | None, path: Path, position: Position) -> str:
    if template is None:
        try:
            return default_name(path)
        except ConfigError as error:
            raise position.at("path").error(error.message, hint=error.hint) from None
    fillers = {
        "stem": lambda: path.stem,
        "parent": lambda: path.parent.name,
        "hostname": position.source.hostname,
    }
    try:
        name = fill(template, fillers)
    except ValueError as error:
        raise position.at("name").error(str(error)) from None
    if reason := check_name(name):
        raise position.at("name").error(
            f"{name!r} cannot be the name of {readable(path)}: {reason}"
        )
    return name
