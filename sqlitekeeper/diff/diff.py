"""Two databases compared, table by table: their rows, and their schemas.

    a private copy of each -> one connection that has both -> tables of both
            -> rows counted, streamed or written as statements

SQLite does the work, from files to files: memory does not grow with the databases.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import apsw

from sqlitekeeper.database.connection import open_database, report_progress, sqlite_errors
from sqlitekeeper.database.stand_ins import stand_in_collations
from sqlitekeeper.diff.compare import Kind, Row, TableDiff, columns_of, compare, rows_of
from sqlitekeeper.diff.schema import SchemaChange, Table, fold, read_tables, schema_changes
from sqlitekeeper.diff.sides import Side
from sqlitekeeper.diff.statements import Statements
from sqlitekeeper.errors import ConfigError, KeeperError
from sqlitekeeper.events import Listener, Tick, ignore
from sqlitekeeper.result import Result

CACHE_KIB = 16 * 1024
KINDS: tuple[Kind, ...] = ("only_here", "changed", "only_there")


class TooLongError(KeeperError):
    """A comparison took longer than it may."""


@dataclass(frozen=True, slots=True)
class DiffResult(Result):
    """What came of a comparison; None where it did not come to that."""

    outcome: Literal["compared", "failed"]
    same: bool | None = None


@dataclass(frozen=True, slots=True)
class TableRows:
    """Rows of a table that differ, and the columns that their values belong to."""

    table: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two databases side by side; `tables` has what was counted."""

    connection: apsw.Connection
    here: dict[str, Table]
    there: dict[str, Table]
    tables: tuple[TableDiff, ...]
    schema: tuple[SchemaChange, ...]

    @property
    def same(self) -> bool:
        """Whether nothing differs, as far as it could be compared."""
        return not self.schema and not any(table.differs for table in self.tables)

    def rows(self, limit: int) -> Iterator[TableRows]:
        """The rows that differ, `limit` of each kind and table at the most."""
        for table in self.tables:
            sides = self.here.get(fold(table.name)), self.there.get(fold(table.name))
            found = [
                row
                for kind in KINDS
                for row in islice(rows_of(self.connection, *sides, kind), limit)
            ]
            yield TableRows(table.name, tuple(c.name for c in columns_of(*sides)), tuple(found))

    def statements(self) -> Iterator[str]:
        """Lines of SQL that give `here` the rows of `there`."""
        return Statements(self.connection, self.here, self.there).script(list(self.tables))


@contextmanager
def compared(
    name: str,
    here: Side,
    there: Side,
    on_event: Listener = ignore,
    *,
    tables: tuple[str, ...] = (),
    seconds: float | None = None,
) -> Iterator[Comparison]:
    """Compare two databases, or some tables of them, and keep them open.

    Raises:
        ConfigError: neither side has a table that is named.
        TooLongError: it took more than `seconds`.
        CheckError: one of the two is damaged.
        KeeperError: one of the two cannot be read.
    """
    deadline = None if seconds is None else time.monotonic() + seconds

    def tick() -> None:
        if deadline is not None and time.monotonic() > deadline:
            raise TooLongError(f"comparing took more than {seconds:.1f} s")

    with _named(here, there), open_database(here.file) as connection:
        _attach(connection, there)
        for schema in ("main", "there"):
            connection.execute(f"PRAGMA {schema}.cache_size = -{CACHE_KIB}").fetchall()
        report_progress(connection, tick)
        # Nothing is looked up by a collation that is not SQLite's own.
        with stand_in_collations(connection), connection:
            ours, theirs = read_tables(connection, "main"), read_tables(connection, "there")
            names = _chosen(tables, ours, theirs)
            found = []
            for done, key in enumerate(names):
                on_event(Tick(name, "compare", done, len(names), "tables"))
                found.append(compare(connection, ours.get(key), theirs.get(key)))
            changes = [
                change
                for change in schema_changes(connection)
                if not tables or fold(change.table) in names
            ]
            yield Comparison(connection, ours, theirs, tuple(found), tuple(changes))


def _chosen(wanted: tuple[str, ...], here: dict[str, Table], there: dict[str, Table]) -> list[str]:
    """The folded names of the tables to compare."""
    every = sorted(here.keys() | there.keys())
    for name in wanted:
        if fold(name) not in every:
            some = ", ".join((here.get(one) or there[one]).name for one in every[:20])
            raise ConfigError(f"--table {name}: neither side has it", hint=f"there are: {some}")
    return [name for name in every if not wanted or name in map(fold, wanted)]


def _attach(connection: apsw.Connection, there: Side) -> None:
    try:
        connection.execute("ATTACH ? AS there", (str(there.file),)).fetchall()
    except apsw.SQLError as error:
        if "encoding" in str(error):
            raise KeeperError(
                "the two cannot be compared: one keeps its text as UTF-8, the other as UTF-16"
            ) from None
        raise


@contextmanager
def _named(*sides: Side) -> Iterator[None]:
    """Errors that name what a person knows, and not keeper's copies of it."""
    try:
        with sqlite_errors(Path("the comparison")):
            yield
    except KeeperError as error:
        message = error.message
        for side in sides:
            message = message.replace(str(side.file), side.label)
        error.message = message
        raise
