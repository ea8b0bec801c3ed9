"""Stand-ins for collations that only the application has."""

from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.stand_ins import stand_in_collations
from tests.faults.strange import make_strange


def test_rows_can_be_counted_under_a_stand_in(tmp_path: Path) -> None:
    """And not before it, nor after it: a statement that compares must go on failing."""
    path = make_strange(tmp_path / "app.sqlite3", "unknown_collation_in_key")
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    count = "SELECT count(*) FROM t"

    with pytest.raises(apsw.SQLError, match="no such collation sequence: people"):
        connection.execute(count).fetchall()
    with stand_in_collations(connection):
        assert connection.execute(count).get == 4
    with pytest.raises(apsw.SQLError, match="no such collation sequence: people"):
        connection.execute(count).fetchall()
    connection.close()


def test_built_in_collations_stay_what_they_are(tmp_path: Path) -> None:
    """SQLite asks for one that compares UTF-16 before it takes its own, and would find nothing."""
    path = tmp_path / "app.sqlite3"
    connection = apsw.Connection(str(path))
    for sql in (
        "PRAGMA encoding = 'UTF-16le'",
        "CREATE TABLE t (name TEXT COLLATE NOCASE PRIMARY KEY)",
        "INSERT INTO t VALUES ('a'), ('B')",
    ):
        connection.execute(sql).fetchall()
    connection.close()
    connection = apsw.Connection(str(path))

    with stand_in_collations(connection):
        assert connection.execute("SELECT count(*) FROM t WHERE name = 'A'").get == 1
    assert connection.execute("SELECT count(*) FROM t WHERE name = 'b'").get == 1
    connection.close()
