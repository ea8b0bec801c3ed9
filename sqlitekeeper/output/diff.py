"""Comparisons on a terminal, in a log and as JSON."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlitekeeper.output.printable import printable, shortened
from sqlitekeeper.output.terminal import Console
from sqlitekeeper.wording import counted

if TYPE_CHECKING:
    from sqlitekeeper.diff.compare import Row, TableDiff
    from sqlitekeeper.diff.diff import TableRows
    from sqlitekeeper.diff.schema import SchemaChange
    from sqlitekeeper.diff.sides import Side

_WORDS = {"only_here": "only here", "only_there": "only there", "changed": "changed"}
# A value is shown to be recognised; --sql and --json have all of it.
_LONGEST = 60


def show_diff(
    console: Console,
    name: str,
    sides: "tuple[Side, Side]",
    tables: "Sequence[TableDiff]",
    schema: "Sequence[SchemaChange]",
    rows: "Sequence[TableRows]",
) -> None:
    """What differs, and how much is the same."""
    here, there = sides
    console.line(f"{name}: here: {here.label} ({here.taken_at})")
    console.line(f"{name}: there: {there.label} ({there.taken_at})")
    differing = [one for one in tables if one.differs]
    if console.is_terminal:
        console.table(
            ("table", "only here", "only there", "changed"),
            [
                (one.name, f"{one.only_here:,}", f"{one.only_there:,}", f"{one.changed:,}")
                for one in differing
            ],
        )
    else:
        for one in differing:
            console.line(f"{name}: {one.name}: {row_words(one)}")
    for one in tables:
        for remark in _remarks(one):
            console.line(f"{name}: {one.name}: {remark}")
    for change in schema:
        column = change.type == "column"
        what = f"{change.table}.{change.name}" if column else change.name
        text = f"{name}: schema: the {change.type} {what}"
        said = (
            f" ({change.here} -> {change.there})" if column and change.change == "changed" else ""
        )
        verb = "is changed" if change.change == "changed" else f"is {_WORDS[change.change]}"
        console.line(f"{text} {verb}{said}")
    for found in rows:
        for row in found.rows:
            console.line(f"{found.table}: {_row(row, found.columns)}")
    same = sum(not one.differs and one.only_here is not None for one in tables)
    console.line(f"{name}: {counted(same, 'table')} without a difference")


def row_words(one: "TableDiff") -> str:
    """How many rows differ, in words."""
    parts = [
        f"{counted(one.only_here, 'row')} only here" if one.only_here else "",
        f"{counted(one.only_there, 'row')} only there" if one.only_there else "",
        f"{counted(one.changed, 'row')} changed" if one.changed else "",
    ]
    return ", ".join(filter(None, parts))


def loss_lines(tables: "Sequence[TableDiff]") -> list[str]:
    """What goes, comes and changes where a snapshot replaces the live database."""
    lines = []
    for one in tables:
        if one.only_here:
            lines.append(f"{one.name}: {_rows_that(one.only_here)} not in the snapshot will go")
        if one.changed:
            lines.append(f"{one.name}: {counted(one.changed, 'row')} will have older values")
        if one.only_there:
            lines.append(f"{one.name}: {counted(one.only_there, 'row')} will come back")
    return lines or ["the snapshot has the same rows"]


def _rows_that(count: int) -> str:
    return f"{counted(count, 'row')} that {'is' if count == 1 else 'are'}"


def _remarks(one: "TableDiff") -> Iterable[str]:
    if one.only_here is None:
        yield f"not compared: {one.note}"
    elif one.note:
        yield one.note
    if one.matched_by == "columns" and one.differs:
        yield "has no key to match rows by: a changed row is one only here and one only there"
    for columns, where in ((one.columns_only_here, "here"), (one.columns_only_there, "there")):
        if columns:
            yield f"not compared: {', '.join(columns)}, only {where}"


def _row(row: "Row", columns: tuple[str, ...]) -> str:
    times = f" {row.times} times" if row.times > 1 else ""
    if row.here is not None and row.there is not None:
        shown = [
            f"{column}: {_shown(a)} -> {_shown(b)}"
            if type(a) is not type(b) or a != b
            else f"{column}: {_shown(a)}"
            for column, a, b in zip(columns, row.here, row.there, strict=True)
        ]
    else:
        values = row.here if row.here is not None else row.there or ()
        shown = [f"{column}: {_shown(v)}" for column, v in zip(columns, values, strict=True)]
    return f"{_WORDS[row.kind]}{times}: {', '.join(shown)}"


def _shown(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        return shortened(f"'{printable(value)}'", _LONGEST)
    content = value if isinstance(value, bytes) else getattr(value, "content", b"")
    return f"{counted(len(content), 'byte')} X'{shortened(content.hex(), _LONGEST)}'"


def diff_object(
    sides: "tuple[Side, Side] | None",
    tables: "Sequence[TableDiff]",
    schema: "Sequence[SchemaChange]",
    rows: "Sequence[TableRows] | None",
) -> dict[str, Any]:
    """The keys of a comparison; a blob is {"hex": ...}, a text that is none {"text_hex": ...}."""
    here, there = (_side(side) for side in sides) if sides else (None, None)
    found: dict[str, Any] = {"here": here, "there": there}
    found["tables"] = [asdict(one) for one in tables]
    found["schema"] = [asdict(one) for one in schema]
    if rows is not None:
        found["rows"] = [
            {
                "table": one.table,
                "kind": row.kind,
                "times": row.times,
                "here": _values(one.columns, row.here),
                "there": _values(one.columns, row.there),
            }
            for one in rows
            for row in one.rows
        ]
    return found


def _side(side: "Side") -> dict[str, Any]:
    fields = asdict(side)
    fields.pop("file")
    return fields


def _values(columns: tuple[str, ...], values: Sequence[object] | None) -> dict[str, Any] | None:
    if values is None:
        return None
    return {column: _plain(value) for column, value in zip(columns, values, strict=True)}


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, float) and math.isinf(value):
        return {"real": "Infinity" if value > 0 else "-Infinity"}
    if value is None or isinstance(value, str | int | float):
        return value
    return {"text_hex": getattr(value, "content", b"").hex()}
