"""The space of tables and indexes."""

from pathlib import Path

import apsw
import pytest

from sqlitekeeper.errors import NotADatabaseError
from sqlitekeeper.events import Event, Tick
from sqlitekeeper.report.tables import TableSpace, table_spaces
from tests.conftest import MakeDatabase, pragma


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Tables of each kind, with indexes and a full-text search."""
    path = tmp_path / "shop.db"
    connection = apsw.Connection(str(path))
    connection.execute(
        "CREATE TABLE item (id INTEGER PRIMARY KEY, name, body);"
        "CREATE INDEX item_name ON item (name);"
        "CREATE TABLE price (item PRIMARY KEY, cents) WITHOUT ROWID;"
        "CREATE VIRTUAL TABLE search USING fts5(body);"
        "CREATE TABLE search_log (word);"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
        " INSERT INTO item SELECT i, 'item ' || i, randomblob(2000) FROM n;"
        "INSERT INTO price SELECT 'a rather long key ' || id, id FROM item;"
        "INSERT INTO search SELECT name FROM item;"
        "INSERT INTO search_log VALUES ('x')"
    ).fetchall()
    connection.close()
    return path


def by_name(path: Path) -> dict[str, TableSpace]:
    return {space.name: space for space in table_spaces(path)}


def test_largest_comes_first(shop: Path) -> None:
    """Sorted by bytes."""
    sizes = [space.bytes for space in table_spaces(shop)]

    assert sizes == sorted(sizes, reverse=True)


def test_everything_adds_up_to_the_file(shop: Path) -> None:
    """Every page in use belongs to something."""
    spaces = table_spaces(shop)

    assert sum(space.pages for space in spaces) == pragma(shop, "page_count")
    assert sum(space.bytes for space in spaces) == shop.stat().st_size


@pytest.mark.parametrize(
    ("table", "rows"), [("item", 3000), ("price", 3000), ("search_log", 1), ("item_name", None)]
)
def test_rows(shop: Path, table: str, rows: int | None) -> None:
    """Of tables with and without rowids; an index has none of its own."""
    assert by_name(shop)[table].rows == rows


def test_index_is_under_its_table(shop: Path) -> None:
    """With its own size."""
    index = by_name(shop)["item_name"]

    assert (index.kind, index.table) == ("index", "item")


def test_shadow_tables_are_under_their_owner(shop: Path) -> None:
    """But not a table that merely has such a name."""
    spaces = by_name(shop)

    assert {name for name, one in spaces.items() if one.table == "search"} == {
        *("search_data", "search_idx", "search_content", "search_docsize", "search_config")
    }
    assert spaces["search_log"].table == "search_log"


def test_unused_bytes_are_those_within_pages(make_database: MakeDatabase) -> None:
    """Deleting every second row leaves half of each page unused, and no page free."""
    path = make_database(rows=0)
    connection = apsw.Connection(str(path))
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)"
        " INSERT INTO t SELECT i, randomblob(400) FROM n;"
        "DELETE FROM t WHERE id % 2"
    ).fetchall()
    connection.close()

    table = by_name(path)["t"]

    assert 0.4 < table.unused_bytes / table.bytes < 0.6


def test_progress_is_told(shop: Path) -> None:
    """Up to all pages."""
    said: list[Event] = []

    table_spaces(shop, name="shop", on_event=said.append)

    last = said[-1]
    assert isinstance(last, Tick)
    assert (last.subject, last.done, last.total) == (
        "shop",
        pragma(shop, "page_count"),
        pragma(shop, "page_count"),
    )


def test_what_is_no_database_is_named(tmp_path: Path) -> None:
    """As everywhere."""
    (tmp_path / "a.db").write_bytes(b"nothing of the kind" * 100)

    with pytest.raises(NotADatabaseError):
        table_spaces(tmp_path / "a.db")
