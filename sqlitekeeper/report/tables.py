"""The space that tables and indexes take; every page of the file is read for it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import apsw

from sqlitekeeper.database.connection import (
    open_database,
    pragma_int,
    report_progress,
    sqlite_errors,
)
from sqlitekeeper.events import Listener, Tick, ignore

TICK_PAGES = 1024


@dataclass(frozen=True, slots=True)
class TableSpace:
    """The pages of one table or index.

    `table` is what it belongs to: for an index its table, for a shadow table
    (FTS, R-Tree) the virtual one. `rows` is None for an index. `unused_bytes`
    lie within its pages, and are none of the file's free pages.
    """

    name: str
    kind: Literal["table", "index"]
    table: str
    bytes: int
    unused_bytes: int
    pages: int
    rows: int | None


@dataclass(slots=True)
class _Sum:
    """What was counted so far of one b-tree."""

    bytes: int = 0
    unused_bytes: int = 0
    pages: int = 0
    leaf_cells: int = 0
    inner_cells: int = 0


def table_spaces(
    path: Path, *, name: str | None = None, on_event: Listener = ignore
) -> tuple[TableSpace, ...]:
    """The space of every table and index, largest first.

    Reads every page in use, by SQLite's dbstat (https://sqlite.org/dbstat.html),
    in one read transaction. Rows are counted on the way, not by a second scan.

    Raises:
        KeeperError: as `open_database`.
    """
    with sqlite_errors(path), open_database(path) as connection:
        report_progress(connection, lambda: None)
        with connection:
            sums = _read_pages(connection, name or path.stem, on_event)
            spaces = _spaces(connection, sums)
    return spaces


def _read_pages(connection: apsw.Connection, name: str, on_event: Listener) -> dict[str, _Sum]:
    total = pragma_int(connection, "page_count") - pragma_int(connection, "freelist_count")
    sums: dict[str, _Sum] = {}
    rows = connection.execute(
        "SELECT name, pagetype = 'leaf', ncell, unused, pgsize FROM dbstat WHERE schema = 'main'"
    )
    for done, (tree, is_leaf, cells, unused, size) in enumerate(rows):
        one = sums.get(tree)
        if one is None:
            one = sums[str(tree)] = _Sum()
        one.bytes += size
        one.unused_bytes += unused
        one.pages += 1
        if is_leaf:
            one.leaf_cells += cells
        else:
            one.inner_cells += cells
        if done % TICK_PAGES == 0:
            on_event(Tick(name, "read every page", done, total, "pages"))
    on_event(Tick(name, "read every page", total, total, "pages"))
    return sums


def _spaces(connection: apsw.Connection, sums: dict[str, _Sum]) -> tuple[TableSpace, ...]:
    indexes = {
        str(index): str(table)
        for index, table in connection.execute(
            "SELECT name, tbl_name FROM sqlite_schema WHERE type = 'index'"
        )
    }
    listed = connection.execute(
        "SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main'"
    ).fetchall()
    virtual = [str(name) for name, kind, _ in listed if kind == "virtual"]
    shadows = {str(name) for name, kind, _ in listed if kind == "shadow"}
    without_rowid = {str(name) for name, _, is_without in listed if is_without}

    def owner(table: str) -> str:
        if table not in shadows:
            return table
        owners = [one for one in virtual if table.startswith(f"{one}_")]
        return max(owners, key=len, default=table)

    spaces = []
    for name, one in sums.items():
        rows = None
        if name not in indexes:
            # Only the b-tree of a table with rowids keeps all of its rows in its leaves.
            rows = one.leaf_cells + (one.inner_cells if name in without_rowid else 0)
        spaces.append(
            TableSpace(
                name=name,
                kind="index" if name in indexes else "table",
                table=owner(indexes.get(name, name)),
                bytes=one.bytes,
                unused_bytes=one.unused_bytes,
                pages=one.pages,
                rows=rows,
            )
        )
    return tuple(sorted(spaces, key=lambda space: (-space.bytes, space.name)))
