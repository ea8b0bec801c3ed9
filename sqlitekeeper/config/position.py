"""The position of a value in keeper.toml, so that every complaint can name it."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sqlitekeeper.config.names import this_host
from sqlitekeeper.config.quoting import readable, readable_key
from sqlitekeeper.config.settings import Database
from sqlitekeeper.errors import ConfigError

_HEADER = re.compile(r"[ \t]*\[\[[ \t]*(?:databases|\"databases\"|'databases')[ \t]*\]\]")
_INDEX = re.compile(r"databases\[(\d+)\]\Z")


def lines_of_databases(file: Path | None, databases: Iterable[Database]) -> dict[Database, int]:
    """The line in which the entry of each database begins.

    tomllib keeps no lines, so headers are counted; where that cannot be right
    (an inline list, a header within a text) the database is left out.
    """
    if file is None:
        return {}
    import tomllib  # only when there is a file to read

    text = file.read_bytes().decode("utf-8-sig")
    entries = tomllib.loads(text).get("databases", [])
    headers = [number for number, line in enumerate(text.split("\n"), 1) if _HEADER.match(line)]
    if len(headers) != len(entries):
        return {}
    found = {}
    for database in databases:
        match = _INDEX.search(database.origin)
        # A pipe is empty when it is read again.
        if match and int(match[1]) < len(headers):
            found[database] = headers[int(match[1])]
    return found


@dataclass(frozen=True, slots=True)
class Source:
    """The file that is being read, and what its values are relative to."""

    file: Path
    folder: Path
    environ: Mapping[str, str]
    hostname: Callable[[], str] = this_host


@dataclass(frozen=True, slots=True)
class Position:
    """A key of the file: `Spot(source).at("databases").at(0).at("path")`."""

    source: Source
    key: str = ""

    def at(self, step: str | int) -> "Position":
        """The key or the list index below this one."""
        if isinstance(step, int):
            return replace(self, key=f"{self.key}[{step}]")
        name = readable_key(step)
        return replace(self, key=f"{self.key}.{name}" if self.key else name)

    def error(self, reason: str, *, hint: str | None = None) -> ConfigError:
        """`keeper.toml: backup.to: <reason>`, to be raised."""
        return ConfigError(f"{self}: {reason}", hint=hint)

    def __str__(self) -> str:
        file = readable(self.source.file)
        return f"{file}: {self.key}" if self.key else file
