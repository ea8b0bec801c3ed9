"""The proofs that a database holds what it should."""

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.check import (
    foreign_key_violations,
    integrity_problems,
    row_counts,
    schema_sha256,
)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    """A database that the test fills."""
    connection = apsw.Connection(str(tmp_path / "app.sqlite3"))
    yield connection
    connection.close()


def run(connection: apsw.Connection, sql: str) -> None:
    connection.execute(sql).fetchall()


def break_index(connection: apsw.Connection) -> None:
    """Let the index claim to be on another column than the one that it was built from."""
    run(connection, "CREATE TABLE t (a, b); CREATE INDEX i ON t (a); INSERT INTO t VALUES (1, 2)")
    run(connection, "PRAGMA writable_schema = 1")
    run(connection, "UPDATE sqlite_schema SET sql = 'CREATE INDEX i ON t (b)' WHERE name = 'i'")
    run(connection, "PRAGMA writable_schema = RESET")


def test_sound_database_has_no_problems(connection: apsw.Connection) -> None:
    """SQLite's "ok" is no problem."""
    run(connection, "CREATE TABLE t (a)")

    assert integrity_problems(connection, "integrity") == []


def test_integrity_check_sees_a_broken_index(connection: apsw.Connection) -> None:
    """An index that does not match its table is found by the full check."""
    break_index(connection)

    assert any("index i" in problem for problem in integrity_problems(connection, "integrity"))


def test_quick_check_does_not_see_it(connection: apsw.Connection) -> None:
    """SQLite itself: quick_check does not compare indexes, so it is not the default."""
    break_index(connection)

    assert integrity_problems(connection, "quick") == []


def test_no_check_says_nothing(connection: apsw.Connection) -> None:
    """`none` means none."""
    break_index(connection)

    assert integrity_problems(connection, "none") == []


def test_orphans_are_counted(connection: apsw.Connection) -> None:
    """Rows whose parent is gone."""
    run(connection, "CREATE TABLE p (id INTEGER PRIMARY KEY)")
    run(connection, "CREATE TABLE c (p REFERENCES p (id))")
    run(connection, "INSERT INTO c VALUES (1), (2), (NULL)")

    assert foreign_key_violations(connection) == 2


def test_mismatched_foreign_key_cannot_be_counted(connection: apsw.Connection) -> None:
    """A parent column that is not unique makes SQLite refuse; that is not a crash."""
    run(connection, "CREATE TABLE p (id); CREATE TABLE c (p REFERENCES p (id))")
    run(connection, "INSERT INTO c VALUES (1)")

    assert foreign_key_violations(connection) is None


@pytest.mark.parametrize("name", ['with "quotes"', "with space", "sqliteish", "tabelle ü", "a;b"])
def test_rows_are_counted_under_any_name(connection: apsw.Connection, name: str) -> None:
    """Names are quoted, not trusted."""
    quoted = name.replace('"', '""')
    run(connection, f'CREATE TABLE "{quoted}" (x); INSERT INTO "{quoted}" VALUES (1), (2)')

    assert row_counts(connection) == {name: 2}


def test_tables_of_sqlite_are_left_out(connection: apsw.Connection) -> None:
    """sqlite_sequence and its kind are SQLite's affair; views have no rows of their own."""
    run(connection, "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT)")
    run(connection, "INSERT INTO t DEFAULT VALUES; CREATE VIEW v AS SELECT * FROM t; ANALYZE")

    assert row_counts(connection) == {"t": 1}


def test_shadow_tables_stand_for_virtual_ones(connection: apsw.Connection) -> None:
    """A full-text index is proven by the tables that hold it."""
    run(connection, "CREATE VIRTUAL TABLE f USING fts5 (x); INSERT INTO f VALUES ('a'), ('b')")

    counts = row_counts(connection)

    assert "f" not in counts
    assert counts["f_content"] == 2


def test_schema_hash_does_not_depend_on_history(tmp_path: Path) -> None:
    """The same tables made in another order are the same schema."""
    hashes = set()
    for number, names in enumerate(("ab", "ba")):
        connection = apsw.Connection(str(tmp_path / f"{number}.sqlite3"))
        for name in names:
            run(connection, f"CREATE TABLE {name} (x)")
        hashes.add(schema_sha256(connection))
        connection.close()

    assert len(hashes) == 1


def test_schema_hash_sees_a_new_column(connection: apsw.Connection) -> None:
    """A migration changes the hash."""
    run(connection, "CREATE TABLE t (a)")
    before = schema_sha256(connection)
    run(connection, "ALTER TABLE t ADD COLUMN b")

    assert schema_sha256(connection) != before
