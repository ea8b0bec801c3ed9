"""Two databases compared, row by row and rowid by rowid."""

from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.maintain.comparison import differences
from tests.database.references import add_references

SCHEMA = """
CREATE TABLE plain (x, y);
INSERT INTO plain VALUES (1, 'a'), (NULL, x'00'), (2.5, NULL);
CREATE TABLE keyed (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT COLLATE NOCASE);
INSERT INTO keyed (name) VALUES ('one'), ('two');
CREATE INDEX keyed_name ON keyed (name);
CREATE TABLE pairs (a TEXT COLLATE NOCASE, b, c, PRIMARY KEY (b DESC, a)) WITHOUT ROWID;
INSERT INTO pairs VALUES ('x', 1, 'c'), ('y', 1, NULL);
CREATE TABLE hidden (rowid TEXT, _rowid_, oid);
INSERT INTO hidden VALUES (1, 2, 3), (NULL, NULL, NULL);
CREATE TABLE "odd ""name" ("a b", oid, c AS ("a b" || 1), d AS (oid) STORED);
INSERT INTO "odd ""name" VALUES ('v', 2);
"""


@pytest.fixture
def pair(tmp_path: Path) -> apsw.Connection:
    """A database with another one attached that holds the same, as `other`."""
    path = tmp_path / "app.sqlite3"
    connection = apsw.Connection(str(path))
    connection.execute(SCHEMA)
    add_references(path)
    connection.execute("VACUUM INTO ?", (str(tmp_path / "other.sqlite3"),))
    connection.execute("ATTACH ? AS other", (str(tmp_path / "other.sqlite3"),))
    return connection


def test_copy_is_the_same(pair: apsw.Connection) -> None:
    """Every kind of table, shadow tables among them."""
    assert differences(pair, "other") == []


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE other.plain SET rowid = 9 WHERE x = 1", "plain"),
        ("UPDATE other.plain SET y = 'a' WHERE y IS NULL", "plain"),
        ("UPDATE other.plain SET y = CAST(y AS TEXT) WHERE x IS NULL", "plain"),
        ("DELETE FROM other.plain WHERE x = 1", "plain"),
        ("INSERT INTO other.plain VALUES (1, 1)", "plain"),
        ("UPDATE other.keyed SET name = 'ONE' WHERE id = 1", "keyed"),
        ("UPDATE other.sqlite_sequence SET seq = 7", "sqlite_sequence"),
        ("UPDATE other.pairs SET c = 'd' WHERE a = 'x'", "pairs"),
        ("UPDATE other.pairs SET a = 'X' WHERE a = 'x'", "pairs"),
        ("UPDATE other.hidden SET oid = 4 WHERE oid = 3", "hidden"),
        ("""UPDATE other."odd ""name" SET "a b" = 'w'""", 'odd "name'),
        ("UPDATE other.fts4_own_content SET c0title = 'x' WHERE docid = 2", "fts4_own_content"),
        ("DELETE FROM other.places_rowid WHERE rowid = 2", "places_rowid"),
        ("DROP INDEX other.keyed_name", "the schema"),
        ("CREATE TABLE other.more (x)", "the schema"),
    ],
)
def test_what_differs_is_named(pair: apsw.Connection, change: str, table: str) -> None:
    """A value, a rowid, a row too many or too few; whatever a collation takes for equal."""
    pair.execute(change)

    assert differences(pair, "other") == [table]


def test_widest_table_is_compared(pair: apsw.Connection) -> None:
    """SQLite allows 2,000 columns."""
    columns = ", ".join(f"c{number}" for number in range(2000))
    for schema in ("main", "other"):
        pair.execute(f"CREATE TABLE {schema}.wide ({columns})")
        pair.execute(f"INSERT INTO {schema}.wide (c1999) VALUES (1)")
    assert differences(pair, "other") == []

    pair.execute("UPDATE other.wide SET c1999 = 2")

    assert differences(pair, "other") == ["wide"]
