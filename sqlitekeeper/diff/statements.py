"""SQL that gives the tables of one side the rows of the other, for the sqlite3 shell.

For each table rows go first, then those that differ are changed, then new ones come: as a
whole the result is one that the other side has, so no constraint is in the way. A changed row
whose UNIQUE columns change goes and comes again, since two may have swapped their values.
Triggers would change other rows, which have statements of their own: they are dropped and made
again, all in one transaction. Full-text indexes of other tables are rebuilt.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path

import apsw

from sqlitekeeper.database.connection import harden, open_database, quoted
from sqlitekeeper.database.stand_ins import BUILT_IN
from sqlitekeeper.diff.compare import Kind, Pair, Row, TableDiff, Value, Values, columns_of, rows_of
from sqlitekeeper.diff.literals import literal
from sqlitekeeper.diff.schema import Column, Table, fold, text_codec

_NAMED = 10


@dataclass(frozen=True, slots=True)
class Statements:
    """What is needed to write statements for the tables of `here`."""

    connection: apsw.Connection
    here: Mapping[str, Table]
    there: Mapping[str, Table]
    codec: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "codec", text_codec(self.connection))

    def script(self, found: list[TableDiff]) -> Iterator[str]:
        """The lines of a script; one that ends early leaves everything as it was."""
        differing = [one for one in found if one.differs]
        reasons = {one.name: self._block(one) for one in differing}
        usable = [one for one in differing if not reasons[one.name]]
        for name, reason in reasons.items():
            if reason:
                yield f"-- {_comment(name)}: no statements: {reason}"
        for one in found:
            if one.note and not one.differs:
                yield f"-- {_comment(one.name)}: not compared: {_comment(one.note)}"
            for columns, side in (
                (one.columns_only_here, "is only in what these statements are for: it stays"),
                (one.columns_only_there, "is only in the other: it is not made"),
            ):
                for column in columns:
                    yield f"-- {_comment(one.name)}: the column {_comment(column)} {side}"
        if not usable:
            yield "-- There is nothing to do."
            return
        # The shell goes on after an error otherwise, and commits what it has.
        yield from (".bail on", ".timeout 5000", "PRAGMA foreign_keys = OFF;")
        yield from ("PRAGMA ignore_check_constraints = ON;", "BEGIN IMMEDIATE;")
        triggers = [t for one in usable for t in self._triggers(one)]
        for name, _ in triggers:
            yield f"DROP TRIGGER {quoted(name)};"
        for one in usable:
            yield from self._table(one)
        yield from self._rebuilt()
        for _, sql in triggers:
            yield f"{sql};"
        yield "COMMIT;"

    def _sides(self, diff: TableDiff) -> tuple[Table | None, Table | None]:
        name = fold(diff.name)
        return self.here.get(name), self.there.get(name)

    def _block(self, diff: TableDiff) -> str | None:
        """Why there can be no statements for a table that differs."""
        here, there = self._sides(diff)
        if diff.note:
            return _comment(diff.note)
        if there is None:
            return "the other has no such table; to remove it: DROP TABLE"
        if here is None:
            sql = self._creation(diff.name)
            if not sql or not all(map(_is_plain, sql)):
                return "its CREATE TABLE cannot be shown"
            reason = _uncreatable(sql)
            return f"no shell can create it: {_comment(reason)}" if reason else None
        alien = [c.collation for c in here.columns if c.collation.upper() not in BUILT_IN]
        if alien:
            return f"only the application has the collation {_comment(alien[0])}"
        columns = columns_of(here, there)
        if reason := self._refused(quoted(here.name), columns):
            return f"no shell can write to it: {_comment(reason)}"
        pair = Pair(here, there)
        if not pair.by_key and here.rowid is None and not here.key:
            return "its columns hide the rowid, so no single row can be named"
        return None

    def _refused(self, name: str, columns: tuple[Column, ...]) -> str | None:
        """Why SQLite cannot write to a table of `here`: what only the application has."""
        values = ", ".join("NULL" for _ in columns)
        names = ", ".join(quoted(column.name) for column in columns)
        inserted = f"({names}) VALUES ({values})" if columns else "DEFAULT VALUES"
        with open_database(Path(self.connection.filename)) as connection:
            try:
                connection.execute(f"EXPLAIN INSERT INTO {name} {inserted}").fetchall()
                connection.execute(f"EXPLAIN DELETE FROM {name}").fetchall()
            except apsw.SQLError as error:
                return str(error)
        return None

    def _creation(self, name: str) -> list[str]:
        """What makes a table that only there exists, and its indexes."""
        sql = (
            "SELECT sql FROM there.sqlite_schema WHERE type IN ('table', 'index')"
            " AND tbl_name = ? COLLATE NOCASE AND sql IS NOT NULL ORDER BY type = 'index'"
        )
        return [str(found) for (found,) in self._quietly(sql, name)]

    def _quietly(self, sql: str, name: str) -> list[tuple[object, ...]]:
        """The rows of a query about the schema; none where its text is none."""
        try:
            return list(self.connection.execute(sql, (name,)))
        except UnicodeDecodeError:
            return []

    def _triggers(self, diff: TableDiff) -> list[tuple[str, str]]:
        """The triggers of a table: names and what makes them again."""
        sql = (
            "SELECT name, sql FROM main.sqlite_schema WHERE type = 'trigger'"
            " AND tbl_name = ? COLLATE NOCASE ORDER BY rowid"
        )
        return [(str(name), str(text)) for name, text in self._quietly(sql, diff.name)]

    def _table(self, diff: TableDiff) -> Iterator[str]:
        here, there = self._sides(diff)
        columns = columns_of(here, there)
        name = quoted(here.name if here else diff.name)
        counts = (
            f"{diff.only_here} to delete, {diff.changed} to change, {diff.only_there} to insert"
        )
        yield f"-- {_comment(diff.name)}: {counts}"
        if here is None:
            yield from (f"{sql};" for sql in self._creation(diff.name))
        # A row that goes and comes again would lose what only here has.
        unique = self._unique(here) if here and there and not diff.columns_only_here else set()

        def rows(kind: Kind, *, clashing: bool = False) -> Iterator[Row]:
            if getattr(diff, kind) and (unique or not clashing):
                for row in rows_of(self.connection, here, there, kind):
                    if kind != "changed" or _clashes(row, columns, unique) is clashing:
                        yield row

        for row in chain(rows("only_here"), rows("changed", clashing=True)):
            yield self._delete(name, here, columns, row)
        for row in rows("changed"):
            yield self._update(name, here, columns, row)
        for row in chain(rows("changed", clashing=True), rows("only_there")):
            yield from repeat(self._insert(name, columns, row), row.times)

    def _unique(self, table: Table) -> set[str]:
        """The columns of UNIQUE indexes besides the key, folded; "" for what any column decides."""
        if table.source != table.name:
            return set()
        rows = self.connection.execute(
            "SELECT iif(l.partial, NULL, x.name) FROM pragma_index_list(?, 'main') AS l,"
            " pragma_index_xinfo(l.name, 'main') AS x"
            " WHERE l.\"unique\" AND l.origin <> 'pk' AND x.key",
            (table.name,),
        ).fetchall()
        return {fold(str(name)) if name is not None else "" for (name,) in rows}

    # ---- statements

    def _insert(self, name: str, columns: tuple[Column, ...], row: Row) -> str:
        if not columns:
            return f"INSERT INTO {name} DEFAULT VALUES;"
        names = ", ".join(quoted(column.name) for column in columns)
        values = ", ".join(map(self._literal, row.there or ()))
        return f"INSERT INTO {name} ({names}) VALUES ({values});"

    def _update(self, name: str, here: Table | None, columns: tuple[Column, ...], row: Row) -> str:
        changes = ", ".join(
            f"{quoted(column.name)} = {self._literal(new)}"
            for column, _, new in _changed(row, columns)
        )
        return f"UPDATE {name} SET {changes} WHERE {self._where(here, columns, row)};"

    def _delete(self, name: str, here: Table | None, columns: tuple[Column, ...], row: Row) -> str:
        where = self._where(here, columns, row)
        if not row.keyed and here and here.rowid:
            # Its equals stay.
            some = f"SELECT {here.rowid} FROM {name} WHERE {where} LIMIT {row.times}"
            return f"DELETE FROM {name} WHERE {here.rowid} IN ({some});"
        return f"DELETE FROM {name} WHERE {where};"

    def _where(self, here: Table | None, columns: tuple[Column, ...], row: Row) -> str:
        """What names the row in `here`."""
        values = dict(zip(columns, row.here or (), strict=True))
        if row.keyed and here:
            stored = {column.stored: value for column, value in values.items()}
            return " AND ".join(
                f"{quoted(one.name)} = {self._literal(stored[one.stored])}" for one in here.key
            )
        return " AND ".join(self._is(column, value) for column, value in values.items()) or "1"

    def _is(self, column: Column, value: Value) -> str:
        name = quoted(column.name)
        if isinstance(value, int | float):
            kind = "real" if isinstance(value, float) else "integer"
            return f"{name} = {self._literal(value)} AND typeof({name}) = '{kind}'"
        return f"{name} COLLATE BINARY IS {self._literal(value)}"

    def _literal(self, value: Value) -> str:
        return literal(value, self.codec)

    def _rebuilt(self) -> Iterator[str]:
        """Full-text search has to be told that its content has changed."""
        for table in self.here.values():
            if table.index:
                yield f"INSERT INTO {quoted(table.name)} ({quoted(table.name)}) VALUES ('rebuild');"


def _changed(row: Row, columns: tuple[Column, ...]) -> Iterator[tuple[Column, Value, Value]]:
    """The columns that differ, with both values; 1 is not 1.0, nor a text a blob."""
    old: Values = row.here or ()
    new: Values = row.there or ()
    for column, one, other in zip(columns, old, new, strict=True):
        if type(one) is not type(other) or one != other:
            yield column, one, other


def _clashes(row: Row, columns: tuple[Column, ...], unique: set[str]) -> bool:
    """Whether another row may still have what this one gets, and nobody else may have."""
    changed = {fold(column.name) for column, _, _ in _changed(row, columns)}
    return "" in unique or not changed.isdisjoint(unique)


def _uncreatable(statements: list[str]) -> str | None:
    """Why SQLite cannot make a table and its indexes; tried where nothing lasts."""
    connection = apsw.Connection(":memory:")
    try:
        harden(connection)
        for sql in statements:
            connection.execute(sql).fetchall()
    except apsw.Error as error:
        return str(error)
    finally:
        connection.close()
    return None


def _is_plain(text: str) -> bool:
    """Whether a statement can be shown: a terminal obeys other characters."""
    return all(c.isprintable() or c in "\n\t\r" for c in text)


def _comment(text: str) -> str:
    """Text that stays in its line."""
    return "".join(c if c.isprintable() else "?" for c in text)
