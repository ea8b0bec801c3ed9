"""Which databases are meant by name, when what lies at the destinations decides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from sqlitekeeper.backups.catalog import DatabaseShelf, read_shelves
from sqlitekeeper.backups.destination import Destination
from sqlitekeeper.backups.rclone import RcloneError
from sqlitekeeper.cli.completion import complete_folders
from sqlitekeeper.config import Config, Database, select_databases
from sqlitekeeper.config.wording import nearest
from sqlitekeeper.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Wanted:
    """A database to look at: its name at the destinations, and its file where one is known."""

    name: str
    path: Path | None


@dataclass(frozen=True, slots=True)
class Stock:
    """What one destination holds, by database; nothing where it did not answer."""

    destination: Destination
    shelves: dict[str, DatabaseShelf]

    @property
    def to(self) -> str:
        """The destination's own name."""
        return self.destination.to

    @property
    def error(self) -> RcloneError | None:
        """Why it did not answer."""
        return self.destination.error

    def of(self, wanted: Sequence[Wanted]) -> list[DatabaseShelf]:
        """What it holds of some databases."""
        return [self.shelves[one.name] for one in wanted if one.name in self.shelves]


def take_stock(destinations: Sequence[Destination]) -> list[Stock]:
    """Sort the listings of some destinations by database."""
    return [Stock(one, read_shelves(one.to, (one.listing or {}).values())) for one in destinations]


def wanted_databases(
    config: Config, arguments: Sequence[str], froms: Sequence[str], stocks: Sequence[Stock]
) -> list[Wanted]:
    """The databases that the arguments mean: configured ones, paths, or names at a destination.

    Without arguments all that are configured and there; or simply all that are
    there, where the command line says where to look or nothing is configured.

    Raises:
        ConfigError: a name that nothing has.
    """
    there = list(dict.fromkeys(name for stock in stocks for name in stock.shelves))
    configured = {d.name: d for d in config.databases if not d.unmatched}
    if not arguments:
        everything = bool(froms) or not configured
        return [_wanted(n, configured) for n in sorted(there) if everything or n in configured]
    sure = not any(stock.error for stock in stocks)
    found: dict[str, Wanted] = {}
    for argument in arguments:
        if argument in configured or argument in there:
            found.setdefault(argument, _wanted(argument, configured))
        elif "/" in argument or Path(argument).is_file():
            for database in select_databases(config, [argument]):
                found.setdefault(database.name, Wanted(database.name, database.path))
        elif sure:
            raise _unknown(argument, [*configured, *there])
        else:
            found.setdefault(argument, Wanted(argument, None))
    return list(found.values())


def _wanted(name: str, configured: dict[str, Database]) -> Wanted:
    return Wanted(name, configured[name].path if name in configured else None)


def _unknown(argument: str, names: Sequence[str]) -> ConfigError:
    message = f"{argument}: no destination has snapshots of it, and it is not configured"
    if guess := nearest(argument, names):
        return ConfigError(f"{message}; did you mean {guess}?")
    some = ", ".join(dict.fromkeys(names[:20]))
    return ConfigError(message, hint=f"there are: {some}" if some else None)


@dataclass(frozen=True, slots=True)
class ShelfResult:
    """Whether a database was found, or why a destination, which then is `name`, did not answer."""

    name: str
    path: Path | None
    outcome: Literal["done", "failed"] = "done"
    reason: str | None = None
    exit_code: int = 0


def missing(wanted: Wanted, stocks: Sequence[Stock]) -> ShelfResult:
    """The result of a database of which no destination that answered has a snapshot."""
    places = ", ".join(stock.to for stock in stocks if not stock.error)
    return ShelfResult(wanted.name, wanted.path, "failed", f"no snapshot at {places}", 1)


def unanswered(stocks: Sequence[Stock]) -> list[ShelfResult]:
    """One result for each destination that did not answer."""
    return [
        ShelfResult(stock.to, None, "failed", stock.error.full_text, stock.error.exit_code)
        for stock in stocks
        if stock.error
    ]


def from_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command its `--from REMOTE` option."""
    return click.option(
        "--from",
        "froms",
        multiple=True,
        metavar="REMOTE",
        shell_complete=complete_folders,
        help="Look here, instead of at backup.to of the configuration; repeat it for several.",
    )(function)
