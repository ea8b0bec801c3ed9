"""The rows of one table in two attached databases: counted and streamed by SQLite itself.

Rows are matched by the primary key. Where there is none that both have, a row is the same
as one that has the same values in all columns, and equal rows are counted. Values are the
same only with the same type and the same bytes, whatever a collation says.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import apsw

from sqlitekeeper.database.connection import quoted, scalar
from sqlitekeeper.diff.schema import Column, Table, fold, text_codec

Kind = Literal["only_here", "only_there", "changed"]


# SQLite takes 2,000 in a result; a row that is changed needs each twice.
_MOST_COLUMNS = 990


@dataclass(frozen=True, slots=True)
class RawText:
    """Text that is none in the database's encoding: its bytes."""

    content: bytes


Value = None | int | float | str | bytes | RawText
Values = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A row that differs: its values in the columns that both have, by side.

    `times` is how often, where rows are matched by all columns.
    """

    kind: Kind
    here: Values | None
    there: Values | None
    times: int = 1
    keyed: bool = True


@dataclass(frozen=True, slots=True)
class TableDiff:
    """How many rows differ, and how they were matched; None where they cannot be compared.

    `rows_here` and `rows_there` are None where that side has no such table.
    """

    name: str
    only_here: int | None
    only_there: int | None
    changed: int | None
    rows_here: int | None
    rows_there: int | None
    matched_by: Literal["key", "columns"] | None
    columns_only_here: tuple[str, ...] = ()
    columns_only_there: tuple[str, ...] = ()
    note: str | None = None

    @property
    def differs(self) -> bool:
        """Whether there is anything to say of its rows."""
        return bool(self.only_here or self.only_there or self.changed)


@dataclass(frozen=True, slots=True)
class Pair:
    """A table that both sides have, each with its own way of storing it."""

    here: Table
    there: Table

    @property
    def common(self) -> list[tuple[Column, Column]]:
        """The columns that both have, in the order of `here`."""
        theirs = {fold(column.name): column for column in self.there.columns}
        return [(c, theirs[fold(c.name)]) for c in self.here.columns if fold(c.name) in theirs]

    @property
    def by_key(self) -> bool:
        """Whether rows can be looked up by a key that means the same on both sides."""
        if not (self.here.has_known_key and self.there.has_known_key):
            return False
        return _meaning(self.here.key) == _meaning(self.there.key)

    @property
    def may_lack_key(self) -> bool:
        """Whether a part of the key may be NULL, which SQLite allows, and any number of times."""
        return not all(column.not_null for column in (*self.here.key, *self.there.key))


def _meaning(key: tuple[Column, ...]) -> list[tuple[str, str, str]]:
    return [(fold(one.name), one.affinity, fold(one.collation)) for one in key]


def compare(connection: apsw.Connection, here: Table | None, there: Table | None) -> TableDiff:
    """Count the rows of a table that differ.

    Raises:
        apsw.Error: a side cannot be read.
    """
    table = here or there
    assert table is not None
    unreadable = [side.unreadable for side in (here, there) if side and side.unreadable]
    if unreadable:
        return TableDiff(table.name, None, None, None, None, None, None, note=unreadable[0])
    if here and there and len(Pair(here, there).common) > _MOST_COLUMNS:
        many = f"it has more than {_MOST_COLUMNS} columns"
        return TableDiff(table.name, None, None, None, None, None, None, note=many)
    owner = next((side.owner for side in (here, there) if side and side.owner), None)
    note = None
    if owner:
        note = f"belongs to the virtual table {owner}, of which not everything is known here"
    rows_here = _count(connection, here.in_schema("main")) if here else None
    rows_there = _count(connection, there.in_schema("there")) if there else None
    if here is None or there is None:
        return TableDiff(
            table.name, rows_here or 0, rows_there or 0, 0, rows_here, rows_there, None, note=note
        )
    pair = Pair(here, there)
    if pair.by_key:
        matched, changed = _match(connection, pair)
        only_here, only_there = (rows_here or 0) - matched, (rows_there or 0) - matched
        if pair.may_lack_key:
            keyless = _count_equal(connection, pair)
            only_here, only_there = only_here - keyless, only_there - keyless
    else:
        equal, changed = _count_equal(connection, pair), 0
        only_here, only_there = (rows_here or 0) - equal, (rows_there or 0) - equal
    return TableDiff(
        here.name,
        only_here,
        only_there,
        changed,
        rows_here,
        rows_there,
        "key" if pair.by_key else "columns",
        _missing(here, there),
        _missing(there, here),
        note,
    )


def _missing(one: Table, other: Table) -> tuple[str, ...]:
    """The columns of the one that the other has not got."""
    names = {fold(column.name) for column in other.columns}
    return tuple(column.name for column in one.columns if fold(column.name) not in names)


def _count(connection: apsw.Connection, table: str) -> int:
    return scalar(connection, f"SELECT count(*) FROM {table}")


def rows_of(
    connection: apsw.Connection, here: Table | None, there: Table | None, kind: Kind
) -> Iterator[Row]:
    """The rows that differ in one way, streamed."""
    if any(side and side.unreadable for side in (here, there)):
        return
    if here is None or there is None:
        side, schema, own = (here, "main", "only_here") if here else (there, "there", "only_there")
        if side is not None and kind == own:
            sql = f"SELECT {_values('a', side.columns)} FROM {schema}.{quoted(side.source)} AS a"
            for values in _decoded(connection, sql, len(side.columns)):
                yield _row(kind, values)
        return
    pair = Pair(here, there)
    if pair.by_key:
        yield from _keyed(connection, pair, kind)
    if kind != "changed" and (not pair.by_key or pair.may_lack_key):
        yield from _counted(connection, pair, kind)


def columns_of(here: Table | None, there: Table | None) -> tuple[Column, ...]:
    """The columns that the values of `rows_of` belong to."""
    if here and there:
        return tuple(column for column, _ in Pair(here, there).common)
    return (here or there or Table("", "")).columns


def _row(kind: Kind, values: Values, times: int = 1, *, keyed: bool = True) -> Row:
    if kind == "only_here":
        return Row(kind, values, None, times, keyed)
    return Row(kind, None, values, times, keyed)


# ---- by key


def _join(pair: Pair) -> str:
    """Where the keys of `a` (here) and `b` (there) are the same, as SQL text."""
    both = zip(pair.here.key, pair.there.key, strict=True)
    return " AND ".join(f"a.{quoted(a.stored)} = b.{quoted(b.stored)}" for a, b in both)


def _same(pair: Pair) -> str:
    """Whether all values that both have are the same, as SQL text."""
    same = []
    for ours, theirs in pair.common:
        a, b = f"a.{quoted(ours.stored)}", f"b.{quoted(theirs.stored)}"
        same.append(f"(+{a} COLLATE BINARY IS +{b} AND typeof({a}) = typeof({b}))")
    return _balanced(same, "AND") or "1"


def _balanced(terms: list[str], word: str) -> str:
    """Many terms as a tree: SQLite refuses what is nested more than 1,000 deep."""
    if len(terms) <= 2:
        return f" {word} ".join(terms)
    half = len(terms) // 2
    return f"({_balanced(terms[:half], word)}) {word} ({_balanced(terms[half:], word)})"


def _match(connection: apsw.Connection, pair: Pair) -> tuple[int, int]:
    """How many rows both have, and how many of them are changed."""
    matched, changed = connection.execute(
        f"SELECT count(*), count(nullif({_same(pair)}, 1)) FROM {pair.here.in_schema('main')} AS a"
        f" CROSS JOIN {pair.there.in_schema('there')} AS b ON {_join(pair)}"
    ).fetchall()[0]
    return int(str(matched)), int(str(changed))


def _keyed(connection: apsw.Connection, pair: Pair, kind: Kind) -> Iterator[Row]:
    main, there = pair.here.in_schema("main"), pair.there.in_schema("there")
    ours, theirs = ([both[i] for both in pair.common] for i in (0, 1))
    if kind == "changed":
        sql = (
            f"SELECT {_values('a', ours)}, {_values('b', theirs)} FROM {main} AS a"
            f" CROSS JOIN {there} AS b ON {_join(pair)} WHERE NOT ({_same(pair)})"
        )
        for values in _decoded(connection, sql, 2 * len(ours)):
            yield Row(kind, values[: len(ours)], values[len(ours) :])
        return
    name, own, other, columns, key = (
        ("a", main, f"{there} AS b", ours, pair.here.key)
        if kind == "only_here"
        else ("b", there, f"{main} AS a", theirs, pair.there.key)
    )
    has_key = " AND ".join(f"{name}.{quoted(one.stored)} IS NOT NULL" for one in key)
    sql = (
        f"SELECT {_values(name, columns)} FROM {own} AS {name} WHERE {has_key}"
        f" AND NOT EXISTS (SELECT 1 FROM {other} WHERE {_join(pair)})"
    )
    for values in _decoded(connection, sql, len(columns)):
        yield _row(kind, values)


# ---- by all columns


def _grouped(pair: Pair) -> str:
    """The rows that both sides have, or those of them without a key, grouped by their values.

    `c1`, `c2`, ... are the values, `n` how often here, `m` how often there.
    """
    sides = []
    for table, schema, index in ((pair.here, "main", 0), (pair.there, "there", 1)):
        columns = [both[index] for both in pair.common]
        values = [f"{quoted(c.stored)} AS c{i}" for i, c in enumerate(columns)] or ["1 AS c0"]
        lacking = " OR ".join(f"{quoted(one.stored)} IS NULL" for one in table.key)
        where = f" WHERE {lacking}" if pair.by_key else ""
        sides.append(
            f"SELECT {', '.join(values)}, {1 - index} AS h, {index} AS t"
            f" FROM {schema}.{quoted(table.source)}{where}"
        )
    count = max(len(pair.common), 1)
    groups = ", ".join(f"+c{i} COLLATE BINARY, typeof(c{i})" for i in range(count))
    names = ", ".join(f"c{i}" for i in range(count))
    return (
        f"SELECT {names}, sum(h) AS n, sum(t) AS m FROM ({' UNION ALL '.join(sides)})"
        f" GROUP BY {groups}"
    )


def _count_equal(connection: apsw.Connection, pair: Pair) -> int:
    """How many rows have their like on the other side, each counted once."""
    return scalar(connection, f"SELECT ifnull(sum(min(n, m)), 0) FROM ({_grouped(pair)})")


def _counted(connection: apsw.Connection, pair: Pair, kind: Kind) -> Iterator[Row]:
    columns = [Column("", f"c{i}") for i in range(len(pair.common))]
    more = "n - m" if kind == "only_here" else "m - n"
    sql = (
        f"SELECT {', '.join(filter(None, (_values('g', columns), more)))}"
        f" FROM ({_grouped(pair)}) AS g WHERE {more} > 0"
    )
    for values in _decoded(connection, sql, len(columns)):
        *content, times = values
        yield _row(kind, tuple(content), int(str(times)), keyed=False)


# ---- values


def _values(table: str, columns: tuple[Column, ...] | list[Column]) -> str:
    """What is selected of each column, in one that tells the type.

    Text comes as bytes, since it may be none in its encoding; a blob as text in hexadecimal.
    """
    names = [f"{table}.{quoted(one.stored)}" for one in columns]
    return ", ".join(
        f"CASE typeof({n}) WHEN 'text' THEN CAST({n} AS BLOB)"
        f" WHEN 'blob' THEN hex({n}) ELSE {n} END"
        for n in names
    )


def _decoded(connection: apsw.Connection, sql: str, count: int) -> Iterator[Values]:
    """The rows of a query whose first `count` columns are those of `_values`."""
    codec = text_codec(connection)
    for row in connection.execute(sql):
        yield tuple(chain((_decode(value, codec) for value in row[:count]), row[count:]))


def _decode(value: Value, codec: str) -> Value:
    if isinstance(value, str):
        return bytes.fromhex(value)
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode(codec)
    except UnicodeDecodeError:
        return RawText(value)
