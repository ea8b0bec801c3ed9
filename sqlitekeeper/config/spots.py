"""Where a value stands in keeper.toml, so that every complaint can name it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sqlitekeeper.config.names import this_host
from sqlitekeeper.config.wording import readable, readable_key
from sqlitekeeper.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Source:
    """The file that is being read, and what its values are relative to."""

    file: Path
    folder: Path
    environ: Mapping[str, str]
    hostname: Callable[[], str] = this_host


@dataclass(frozen=True, slots=True)
class Spot:
    """A key of the file: `Spot(source).at("databases").at(0).at("path")`."""

    source: Source
    key: str = ""

    def at(self, step: str | int) -> "Spot":
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
