"""The SQLite databases of a Rails application, as its config/database.yml names them.

The file is read with YAML's safe loader, after the few ERB expressions that
are understood; none of it is executed.
"""

import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sqlitekeeper.config.databases import AUTO_VACUUM_MODES, JOURNAL_MODES
from sqlitekeeper.config.generate.applications import uploads_beside
from sqlitekeeper.config.generate.erb import Expanded, expand
from sqlitekeeper.config.generate.scan import Candidate, Found, transient_reason, unwritable
from sqlitekeeper.config.paths import absolute, expand_home
from sqlitekeeper.config.quoting import nearest, readable
from sqlitekeeper.errors import ConfigError

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<rest>[^?#]*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class NoDatabase:
    """An entry that names no file that keeper could look after."""

    reason: str


def find_rails_databases(file: Path, environment: str, environ: Mapping[str, str]) -> Found:
    """The SQLite databases of one environment of a database.yml, each file once.

    A relative path is relative to the application's root, the parent of the
    folder that the file is in.

    Raises:
        ConfigError: PyYAML is missing, or the file cannot be read or understood.
    """
    name = readable(file)
    template = expand(_text_of(file), environ, name)
    document = _parse(template.text, name)
    root = absolute(file).parent.parent
    remarks = [
        f"{name}: line {line}: {words} is not executed" for line, words in template.foreign.items()
    ]
    databases: dict[str, Candidate] = {}
    for role, settings in _roles(document, environment, name):
        where = f"{name}: {environment}.{role}" if role else f"{name}: {environment}"
        found = _database(settings, template, where)
        if isinstance(found, NoDatabase):
            remarks.append(f"{where}: left out: {found.reason}")
            continue
        path = absolute(expand_home(found, environ), root)
        if reason := unwritable(path):
            remarks.append(f"{readable(path)}: left out: {reason}")
            continue
        note = f"{readable(role)} in {name}" if role else f"{environment} in {name}"
        if not path.exists():
            note += "; not there yet"
        # The role is what Rails goes by: a primary may well be called print_queue.
        candidate = Candidate(path, transient_reason(f"_{role}"), note, _modes(settings))
        twin = databases.setdefault(os.path.realpath(path), candidate)
        if twin.no_backup and not candidate.no_backup:
            databases[os.path.realpath(path)] = candidate
    uploads = uploads_beside(one.path for one in databases.values())
    return Found(tuple(databases.values()), tuple(remarks), uploads)


def _text_of(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{readable(file)}: is not UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{readable(file)}: cannot be read: {error.strerror}") from None


def _parse(text: str, name: str) -> object:
    try:
        yaml = import_module("yaml")
    except ImportError:
        raise ConfigError(
            f"{name}: reading it takes PyYAML: {shlex.quote(sys.executable)} -m pip install PyYAML"
        ) from None
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConfigError(f"{name}: {line}not valid YAML: {error.problem}") from None
    except RecursionError:
        raise ConfigError(f"{name}: is nested too deeply") from None
    # What PyYAML's constructors let through for odd dates, numbers and keys.
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{name}: not valid YAML: {readable(reason)}") from None


def _roles(
    document: object, environment: str, name: str
) -> Iterator[tuple[str, Mapping[Any, object]]]:
    """Each database of the environment with its role; the only one of the short form has none."""
    if not isinstance(document, dict):
        raise ConfigError(f"{name}: is no database.yml: the top is not a table of environments")
    chosen = document.get(environment)
    if not isinstance(chosen, dict) or not chosen:
        words = [str(key) for key, value in document.items() if isinstance(value, dict)]
        guess = nearest(environment, words)
        hint = f"did you mean {guess}?" if guess else f"there are: {', '.join(words)}"
        raise ConfigError(f"{name}: has no environment {environment}", hint=hint)
    # As in Rails: several databases when each value is a table.
    if all(isinstance(value, dict) for value in chosen.values()):
        for role, settings in chosen.items():
            yield str(role), settings
    else:
        yield "", chosen


def _database(settings: Mapping[Any, object], template: Expanded, where: str) -> str | NoDatabase:
    """The path of one entry's database, or why it has none that keeper could look after."""
    for key in ("url", "adapter", "database"):
        if foreign := template.foreign_in(settings.get(key)):
            line, words = foreign
            raise ConfigError(
                f"{where}.{key}: comes from {words} in line {line}, which keeper does not execute",
                hint="`keeper config init DIR` finds the databases without it",
            )
    adapter, database = settings.get("adapter"), settings.get("database")
    if url := settings.get("url"):
        match = _URL.match(str(url))
        if match is None:
            return NoDatabase("its url is not one")
        adapter, database = match["scheme"], _path_of(match["rest"])
    if adapter != "sqlite3":
        words = f"its adapter is {readable(str(adapter))}, not sqlite3"
        return NoDatabase(words if adapter else "it has no adapter")
    if database is None or database == "":
        return NoDatabase("it names no database file")
    path = str(database)
    if path == ":memory:":
        return NoDatabase("it is in memory")
    if path.startswith("file:"):
        return NoDatabase("SQLite's file: URIs are not read; list its path yourself")
    if "\0" in path:
        return NoDatabase("its path has a NUL character")
    return path


def _modes(settings: Mapping[Any, object]) -> tuple[tuple[str, str], ...]:
    """The journal_mode and auto_vacuum among an entry's pragmas, as keeper writes them."""
    pragmas = settings.get("pragmas")
    if not isinstance(pragmas, dict):
        return ()
    found = []
    for key, words in (("journal_mode", JOURNAL_MODES), ("auto_vacuum", AUTO_VACUUM_MODES)):
        word = str(pragmas.get(key)).lower()
        if key == "auto_vacuum" and word in ("0", "1", "2"):
            word = AUTO_VACUUM_MODES[int(word)]
        if word in words:
            found.append((key, word))
    return tuple(found)


def _path_of(rest: str) -> str:
    """The file of a URL without its scheme: `x/y`, `/x/y` and `//host/x/y` (Rails drops hosts)."""
    if rest.startswith("//"):
        rest = rest[2:]
        rest = rest[rest.find("/") :] if "/" in rest else rest
    return unquote(rest)
