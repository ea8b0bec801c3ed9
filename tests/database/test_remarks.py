"""Damage and remarks, told apart on real databases."""

import shutil
import sqlite3
from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.check import check_integrity, check_snapshot
from sqlitekeeper.database.connection import open_database
from sqlitekeeper.database.integrity import Integrity
from sqlitekeeper.database.remarks import Sorter
from tests.remarkable import REMARKABLE, declare, make_remarkable

every_kind = pytest.mark.parametrize("kind", REMARKABLE)
# An index of a real column, in the same table or in another, that lacks the row.
DAMAGE = """
CREATE TABLE d (a, b); CREATE INDEX real_one ON d (a); INSERT INTO d VALUES (1, 2);
PRAGMA writable_schema = 1;
UPDATE sqlite_schema SET sql = 'CREATE INDEX real_one ON d (b)' WHERE name = 'real_one';
PRAGMA writable_schema = RESET;
"""


def checked(path: Path) -> Integrity:
    with open_database(path, write=True) as connection:
        return check_integrity(connection, "integrity")


@every_kind
def test_remark_is_no_damage(tmp_path: Path, kind: str) -> None:
    """A sound database is sound, and what SQLite says of it is kept."""
    path = tmp_path / "app.sqlite3"
    remark = make_remarkable(path, kind)

    found = check_snapshot(path, "", "integrity")

    assert [text[: len(remark)] for text in found.remarked] == [remark]


@every_kind
def test_damage_beside_a_remark_is_found(tmp_path: Path, kind: str) -> None:
    """Nothing of the application's own hides an index that lacks a row."""
    path = tmp_path / "app.sqlite3"
    make_remarkable(path, kind, DAMAGE)

    assert any("index real_one" in problem for problem in checked(path).problems)


@every_kind
def test_damaged_page_beside_a_remark_is_found(tmp_path: Path, kind: str) -> None:
    """Nor pages that belong to nothing."""
    path = tmp_path / "app.sqlite3"
    make_remarkable(path, kind)
    with path.open("r+b") as file:
        pages = file.seek(0, 2) // 4096 + 1
        file.write(bytes(4096))
        file.seek(28)
        file.write(pages.to_bytes(4, "big"))

    assert any("never used" in problem for problem in checked(path).problems)


def test_many_remarks_hide_no_damage(tmp_path: Path) -> None:
    """SQLite stops after 100 lines, of which each row may be one."""
    path = tmp_path / "app.sqlite3"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE a (x)").fetchall()
    connection.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)"
        " INSERT INTO a SELECT NULL FROM n"
    ).fetchall()
    declare(connection, "a", "CREATE TABLE a (x NOT NULL)")
    connection.close()
    make_remarkable(path, "null", DAMAGE)

    found = checked(path)

    assert "index real_one" in found.problems[0]
    assert "NULL value in a.x" in [remark.text for remark in found.remarks]


def test_real_index_of_a_table_with_an_unknown_function_is_compared(tmp_path: Path) -> None:
    """Also in the table that SQLite gives up on."""
    path = tmp_path / "app.sqlite3"
    connection = apsw.Connection(str(path))
    connection.create_scalar_function("own", lambda *x: x[0], 1, deterministic=True)
    connection.execute(
        "CREATE TABLE t (a, b); CREATE INDEX e ON t (own(a)); CREATE INDEX i ON t (a);"
        "INSERT INTO t VALUES (1, 2)"
    ).fetchall()
    declare(connection, "i", "CREATE INDEX i ON t (b)")
    connection.close()

    problems = checked(path).problems

    assert problems
    assert all("index i" in problem for problem in problems)


@pytest.mark.parametrize(
    "where", ["a IS NOT NULL", "a IN (1, 2) AND b = 'lower(x)'", "a > 0 -- length(a)"]
)
def test_partial_index_of_columns_is_a_real_one(tmp_path: Path, where: str) -> None:
    """Which rows it has depends on no function."""
    path = tmp_path / "app.sqlite3"
    connection = apsw.Connection(str(path))
    connection.execute(
        f"CREATE TABLE t (a, b); CREATE INDEX i ON t (a) WHERE {where}\n;"
        "INSERT INTO t VALUES (1, 'lower(x)')"
    ).fetchall()
    declare(connection, "i", f"CREATE INDEX i ON t (b) WHERE {where}\n")
    connection.close()

    assert checked(path).problems


def test_partial_index_beside_a_generated_column_is_a_real_one(tmp_path: Path) -> None:
    """Also where the column's name is a part of what the index is called."""
    path = tmp_path / "app.sqlite3"
    connection = apsw.Connection(str(path))
    sql = "CREATE INDEX t_name_a ON t (a) WHERE b > 0"
    connection.execute(
        f"CREATE TABLE t (a, b, name GENERATED ALWAYS AS (a || b)); {sql};"
        "INSERT INTO t (a, b) VALUES (1, 2)"
    ).fetchall()
    declare(connection, "t_name_a", sql.replace("(a)", "(b)"))
    connection.close()

    assert checked(path).problems


@pytest.mark.parametrize("where", ["name > 0", '"NAME" > 0', "[name]>0 AND b IN (1, 2)"])
def test_partial_index_by_a_generated_column_is_computed(tmp_path: Path, where: str) -> None:
    """However the column is written."""
    path = tmp_path / "app.sqlite3"
    connection = apsw.Connection(str(path))
    sql = f"CREATE INDEX i ON t (a) WHERE {where}"
    connection.execute(
        f"CREATE TABLE t (a, b, name GENERATED ALWAYS AS (a + b)); {sql};"
        "INSERT INTO t (a, b) VALUES (1, 2)"
    ).fetchall()
    declare(connection, "i", sql.replace("(a)", "(b)"))
    connection.close()

    found = checked(path)

    assert (found.problems, len(found.remarks)) == ((), 1)


def test_rows_that_only_a_computed_index_knows_are_damage(tmp_path: Path) -> None:
    """It has an entry for each row, whatever a function gives."""
    path = tmp_path / "app.sqlite3"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE t (a)").fetchall()
    sql = "CREATE INDEX i ON t (lower(a))"
    connection.execute(f"INSERT INTO t VALUES ('A'), ('B'), ('C'); {sql}").fetchall()
    row = connection.execute("SELECT * FROM sqlite_schema WHERE name = 'i'").fetchone()
    connection.execute(
        "PRAGMA writable_schema = 1; DELETE FROM sqlite_schema WHERE name = 'i'"
    ).fetchall()
    connection.close()
    connection = apsw.Connection(str(path))
    connection.execute("DELETE FROM t WHERE a = 'B'; PRAGMA writable_schema = 1").fetchall()
    connection.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", row).fetchall()
    connection.close()

    assert checked(path).problems == ("wrong # of entries in index i",)


@pytest.mark.parametrize("version", ["fts5", "fts4"])
def test_index_that_is_all_there_is_is_damaged(tmp_path: Path, version: str) -> None:
    """What a contentless table has lost, nothing brings back."""
    path = tmp_path / "app.sqlite3"
    connection = apsw.Connection(str(path))
    connection.execute(f"CREATE VIRTUAL TABLE f USING {version} (x, content='')").fetchall()
    for number in range(1, 2001):
        connection.execute(
            "INSERT INTO f (rowid, x) VALUES (?, ?)", (number, f"word{number}")
        ).fetchall()
    connection.execute("INSERT INTO f (f) VALUES ('optimize')").fetchall()
    assert checked(path) == Integrity()
    table, key = ("f_data", "id") if version == "fts5" else ("f_segments", "blockid")
    connection.execute(
        f"DELETE FROM {table} WHERE {key} = (SELECT {key} FROM {table} ORDER BY 1 LIMIT 1 OFFSET 3)"
    ).fetchall()
    connection.close()

    said = {"fts5": "fts5: corruption", "fts4": "malformed inverted index"}
    assert checked(path).problems[0].startswith(said[version])


@pytest.mark.parametrize("sql", ["CAST(v AS TEXT)", "'v=' || v"])
def test_index_that_an_older_sqlite_has_computed(tmp_path: Path, sql: str) -> None:
    """Real numbers had 15 digits as text, and have 17: sound for the application."""
    if sqlite3.sqlite_version_info >= (3, 43):
        pytest.skip("this Python's SQLite writes 17 digits too")
    path = tmp_path / "app.sqlite3"
    with sqlite3.connect(path) as application:
        application.execute("CREATE TABLE t (v REAL)")
        application.execute(f"CREATE INDEX i ON t ({sql})")
        application.execute("INSERT INTO t VALUES (0.1 + 0.2)")
    application.close()

    found = checked(path)

    assert found.problems == ()
    assert [remark.mend for remark in found.remarks] == ['REINDEX "i"']


@pytest.mark.parametrize(
    "kind",
    ["fts4", "fts5", "null", "text_for_number", "strict", "own_lower", "generated", "partial"],
)
def test_mend_mends(tmp_path: Path, kind: str) -> None:
    """And nothing that is not wrong is changed by it."""
    path = tmp_path / "app.sqlite3"
    make_remarkable(path, kind)
    (remark,) = checked(path).remarks
    assert remark.mend

    connection = apsw.Connection(str(path))
    connection.execute(remark.mend).fetchall()
    rows = connection.execute("SELECT * FROM t").fetchall() if kind != "fts5" else []
    connection.close()

    assert checked(path) == Integrity()
    assert (("a",) in rows) == (kind in ("null", "text_for_number"))


def test_mend_of_a_check_constraint_shows_the_rows(tmp_path: Path) -> None:
    """What they should hold, only the application knows."""
    path = tmp_path / "app.sqlite3"
    make_remarkable(path, "broken_check")
    (remark,) = checked(path).remarks
    with open_database(path) as connection:
        assert connection.execute(str(remark.mend)).fetchall() == [(9,)]


@every_kind
def test_remark_can_be_read_again(tmp_path: Path, kind: str) -> None:
    """Its text alone gives the same mend, also on another file of the same schema."""
    path, other = tmp_path / "app.sqlite3", tmp_path / "other.sqlite3"
    make_remarkable(path, kind)
    shutil.copy(path, other)
    remarks = checked(path).remarks
    with open_database(other) as connection:
        assert tuple(Sorter(connection).remark(one.text) for one in remarks) == remarks
