"""The checksum VFS: its pages, and how they are told."""

from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.checksums import has_checksums, page_checksum, renew_first_checksum
from sqlitekeeper.database.maintain.vacuum import vacuum
from tests.conftest import MakeDatabase
from tests.faults.strange import ChecksumVFS, make_strange


def test_checksum_is_that_of_sqlite() -> None:
    """Two sums of little-endian words, each added to the other; these are counted by hand."""
    assert page_checksum(b"\1\0\0\0\2\0\0\0").hex() == "0100000003000000"
    assert page_checksum(b"\xff" * 16).hex() == "fcfffffff9ffffff"


def test_reserved_bytes_tell(tmp_path: Path, make_database: MakeDatabase) -> None:
    """Eight of them are what the checksum VFS goes by."""
    found = []
    for path in (make_strange(tmp_path / "a", "checksums"), make_database()):
        connection = apsw.Connection(str(path))
        found.append(has_checksums(connection))
        connection.close()

    assert found == [True, False]


def test_vacuum_writes_to_none_of_them(tmp_path: Path) -> None:
    """A page without its checksum would be an I/O error for the application."""
    path = make_strange(tmp_path / "app.sqlite3", "checksums")
    before = path.read_bytes()

    result = vacuum(path)

    assert (result.outcome, result.exit_code) == ("skipped", 0)
    assert "checksum" in str(result.reason)
    assert path.read_bytes() == before


def test_first_page_can_be_put_right(tmp_path: Path) -> None:
    """After SQLite alone has changed its header."""
    path = make_strange(tmp_path / "app.sqlite3", "checksums")
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "delete")
    connection.close()
    application = ChecksumVFS()
    connection = apsw.Connection(str(path), vfs="checksums")
    with pytest.raises(apsw.IOError):
        connection.execute("SELECT count(*) FROM t").fetchall()
    connection.close()

    renew_first_checksum(path, 4096)

    connection = apsw.Connection(str(path), vfs="checksums")
    assert connection.execute("SELECT count(*) FROM t").get == 2
    connection.close()
    del application
