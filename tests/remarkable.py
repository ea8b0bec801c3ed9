"""Sound databases that SQLite's checks remark on, made as their applications make them."""

from collections.abc import Callable
from pathlib import Path

import apsw

# As sqlite-utils makes it: its content is a table, and no trigger keeps the two together.
_FTS4 = """
CREATE TABLE t (id INTEGER PRIMARY KEY, x);
INSERT INTO t (x) VALUES ('one');
CREATE VIRTUAL TABLE f USING fts4 (x, content=t);
INSERT INTO f (rowid, x) SELECT rowid, x FROM t;
INSERT INTO t (x) VALUES ('two');
"""


def declare(connection: apsw.Connection, table: str, sql: str) -> None:
    """Change what a table or an index is declared as, as old migrations do."""
    connection.pragma("writable_schema", 1)
    connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (sql, table)).fetchall()
    connection.pragma("writable_schema", "reset")


def _fts4(connection: apsw.Connection) -> None:
    connection.execute(_FTS4).fetchall()


def _fts5(connection: apsw.Connection) -> None:
    connection.execute("CREATE VIRTUAL TABLE f USING fts5 (x)").fetchall()
    connection.execute("INSERT INTO f VALUES ('one'), ('two')").fetchall()
    connection.execute("UPDATE f_content SET c0 = 'other' WHERE id = 1").fetchall()


def _null(connection: apsw.Connection) -> None:
    connection.execute("CREATE TABLE t (x TEXT); INSERT INTO t VALUES (NULL), ('a')").fetchall()
    declare(connection, "t", "CREATE TABLE t (x TEXT NOT NULL)")


def _text_for_number(connection: apsw.Connection) -> None:
    connection.execute("CREATE TABLE t (x TEXT); INSERT INTO t VALUES ('12'), ('a')").fetchall()
    declare(connection, "t", "CREATE TABLE t (x INTEGER)")


def _strict(connection: apsw.Connection) -> None:
    connection.execute("CREATE TABLE t (x); INSERT INTO t VALUES ('12')").fetchall()
    declare(connection, "t", "CREATE TABLE t (x INTEGER) STRICT")


def _broken_check(connection: apsw.Connection) -> None:
    connection.execute("CREATE TABLE t (x); INSERT INTO t VALUES (9)").fetchall()
    declare(connection, "t", "CREATE TABLE t (x CHECK (x < 5 AND 'a)' <> ''))")


def _own_lower(connection: apsw.Connection) -> None:
    connection.create_scalar_function("lower", lambda *x: f"own {x[0]}", 1, deterministic=True)
    connection.execute(
        "CREATE TABLE t (x); CREATE INDEX i ON t (lower(x)); INSERT INTO t VALUES ('ABC')"
    ).fetchall()


def _generated(connection: apsw.Connection) -> None:
    """As SQLite 3.40 leaves it for a real number in text: 15 digits, and 17 now."""
    connection.execute(
        "CREATE TABLE t (x, y AS (substr(x, 1, 15))); CREATE INDEX i ON t (y);"
        "INSERT INTO t VALUES ('0.30000000000000004')"
    ).fetchall()
    declare(connection, "t", "CREATE TABLE t (x, y AS (substr(x, 1, 17)))")


def _partial(connection: apsw.Connection) -> None:
    connection.execute(
        "CREATE TABLE t (x); CREATE INDEX i ON t (x) WHERE length(x) < 16;"
        "INSERT INTO t VALUES ('0.30000000000000004')"
    ).fetchall()
    declare(connection, "i", "CREATE INDEX i ON t (x) WHERE length(x) < 20")


def _unknown_tokenizer(connection: apsw.Connection) -> None:
    connection.execute("CREATE VIRTUAL TABLE f USING fts5 (x)").fetchall()
    connection.execute("INSERT INTO f VALUES ('one'); CREATE TABLE t (x)").fetchall()
    declare(connection, "f", "CREATE VIRTUAL TABLE f USING fts5 (x, tokenize='own')")


def _unknown_check(connection: apsw.Connection) -> None:
    connection.create_scalar_function("own", lambda *x: x[0], 1, deterministic=True)
    connection.execute(
        "CREATE TABLE t (x CHECK (own(x) IS NOT NULL)); CREATE INDEX i ON t (x);"
        "INSERT INTO t VALUES (1)"
    ).fetchall()


REMARKABLE: dict[str, tuple[Callable[[apsw.Connection], None], str]] = {
    "fts4": (_fts4, "malformed inverted index for FTS4 table main.f"),
    "fts5": (_fts5, "malformed inverted index for FTS5 table main.f"),
    "null": (_null, "NULL value in t.x"),
    "text_for_number": (_text_for_number, "TEXT value in t.x"),
    "strict": (_strict, "non-INTEGER value in t.x"),
    "broken_check": (_broken_check, "CHECK constraint failed in t"),
    "own_lower": (_own_lower, "wrong entries in index i"),
    "generated": (_generated, "wrong entries in index i"),
    "partial": (_partial, "wrong entries in index i"),
    "unknown_tokenizer": (_unknown_tokenizer, "the table f could not be checked"),
    "unknown_check": (_unknown_check, "the CHECK constraints of t could not be looked at"),
}


def make_remarkable(path: Path, kind: str, more: str = "") -> str:
    """Make such a database, with `more` SQL in it; the remark, or how it begins."""
    make, remark = REMARKABLE[kind]
    connection = apsw.Connection(str(path))
    if more:
        connection.execute(more).fetchall()
    make(connection)
    connection.close()
    return remark
