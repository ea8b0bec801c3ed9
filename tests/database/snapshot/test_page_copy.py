"""Copies of pages as they are."""

from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.check import integrity_problems
from sqlitekeeper.database.connection import open_database
from sqlitekeeper.database.snapshot.page_copy import copy_pages
from tests.conftest import Beside, MakeDatabase, contents, count_rows, pragma


def copied(path: Path, target: Path) -> Path:
    target.touch(0o600)
    with open_database(path) as connection:
        copy_pages(connection, target)
    return target


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_copy_beside_a_writer_is_one_state(
    make_database: MakeDatabase, tmp_path: Path, beside: Beside, journal_mode: str
) -> None:
    """It ends, sees no transaction in part, and the writer loses nothing."""
    path = make_database(rows=8000, journal_mode=journal_mode)
    writer = beside("write", path)

    copy = copied(path, tmp_path / "copy")

    committed = int(writer.end())
    connection = apsw.Connection(str(copy))
    assert connection.execute("SELECT total(amount) FROM ledger").get == 0
    assert integrity_problems(connection, "integrity") == []
    connection.close()
    assert count_rows(path, "ledger") == 2 * committed


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_copy_is_private_alone_and_without_a_wal(
    make_database: MakeDatabase, tmp_path: Path, journal_mode: str
) -> None:
    """Like what VACUUM INTO leaves; free pages are copied too, and the source stays as it is."""
    path = make_database("data/app.sqlite3", rows=400, deleted=200, journal_mode=journal_mode)
    (tmp_path / "out").mkdir()
    before = contents(path.parent)

    copy = copied(path, tmp_path / "out" / "copy")

    assert contents(path.parent) == before
    assert list(contents(copy.parent)) == ["copy"]
    assert copy.stat().st_mode & 0o777 == 0o600
    assert pragma(copy, "journal_mode") == "delete"
    assert pragma(copy, "freelist_count") == pragma(path, "freelist_count") > 0


def test_same_content_gives_the_same_bytes(make_database: MakeDatabase, tmp_path: Path) -> None:
    """Also with some of it in the WAL, and after a checkpoint."""
    path = make_database(rows=50)
    connection = apsw.Connection(str(path))
    connection.execute("INSERT INTO t (body) VALUES (1)").fetchall()

    one = copied(path, tmp_path / "one").read_bytes()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    two = copied(path, tmp_path / "two").read_bytes()
    connection.close()

    assert one == two


def test_progress_is_told_and_may_end_it(make_database: MakeDatabase, tmp_path: Path) -> None:
    """A signal is heard between two steps."""
    path, told = make_database(rows=8000), []
    (tmp_path / "copy").touch()

    def stop(done: int, total: int) -> None:
        told.append((done, total))
        raise KeyboardInterrupt

    with open_database(path) as connection, pytest.raises(KeyboardInterrupt):
        copy_pages(connection, tmp_path / "copy", stop)

    ((done, total),) = told
    assert 0 < done < total == pragma(path, "page_count")
