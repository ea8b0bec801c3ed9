"""Stand-ins for collations that only the application has."""

from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.unknown_collations import stand_in_collations
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
