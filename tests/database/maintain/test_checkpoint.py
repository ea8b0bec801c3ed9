"""Checkpoints that wait for nobody for long."""

from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.connection import open_database
from sqlitekeeper.database.maintain.checkpoint import (
    Checkpoint,
    checkpoint_passive,
    checkpoint_truncate,
)
from tests.conftest import Companion, MakeDatabase, count_rows


def add_row(connection: apsw.Connection) -> None:
    connection.execute("INSERT INTO t (body) VALUES (randomblob(900))").fetchall()


def test_wal_is_truncated(make_database: MakeDatabase) -> None:
    """The whole WAL goes into the database, and its file is cut to 0 bytes."""
    path = make_database(rows=1)
    with open_database(path, write=True) as connection:
        add_row(connection)

        result, _ = checkpoint_truncate(connection, 0.1)

        assert result == Checkpoint(busy=False, log_frames=0, checkpointed_frames=0)
        assert path.with_name(path.name + "-wal").stat().st_size == 0


def test_reader_makes_it_busy(
    make_database: MakeDatabase, beside: Callable[[str, Path], Companion]
) -> None:
    """A reader of an older state keeps the WAL: said as busy, not raised, not waited out."""
    path = make_database(rows=1)
    beside("read", path)
    with open_database(path, write=True) as connection:
        add_row(connection)

        result, longest = checkpoint_truncate(connection, 0.1)

    assert result.busy
    assert longest < 2


def test_large_wal_that_a_reader_holds_is_not_waited_for(
    make_database: MakeDatabase, beside: Callable[[str, Path], Companion]
) -> None:
    """If the reader ended meanwhile, SQLite would copy all of it while writers wait."""
    path = make_database(rows=1)
    beside("read", path)
    with open_database(path, write=True) as connection:
        connection.wal_autocheckpoint(0)
        connection.execute("INSERT INTO t (body) VALUES (zeroblob(5000000))").fetchall()

        result, longest = checkpoint_truncate(connection, 0.1)

    assert result.busy
    assert longest == 0


def test_large_wal_is_truncated_once_its_reader_has_gone(
    make_database: MakeDatabase, beside: Callable[[str, Path], Companion]
) -> None:
    """What was copied without keeping writers out leaves little to do."""
    path = make_database(rows=1)
    reader = beside("read", path)
    with open_database(path, write=True) as connection:
        connection.wal_autocheckpoint(0)
        connection.execute("INSERT INTO t (body) VALUES (zeroblob(5000000))").fetchall()
        checkpoint_truncate(connection, 0.1)
        reader.end()

        result, _ = checkpoint_truncate(connection, 0.1)

    assert result == Checkpoint(busy=False, log_frames=0, checkpointed_frames=0)


def test_writers_come_in_while_a_reader_holds_the_wal(
    make_database: MakeDatabase, beside: Callable[[str, Path], Companion]
) -> None:
    """After a checkpoint that did not finish, nothing keeps writers out."""
    path = make_database(rows=1)
    beside("read", path)
    application = apsw.Connection(str(path))
    with open_database(path, write=True) as connection:
        add_row(connection)
        checkpoint_truncate(connection, 0.1)

        add_row(application)

    application.close()
    assert count_rows(path) == 3


def test_passive_checkpoint_leaves_what_a_reader_needs(
    make_database: MakeDatabase, beside: Callable[[str, Path], Companion]
) -> None:
    """PASSIVE copies what it can, beside a reader too."""
    path = make_database(rows=1)
    with open_database(path, write=True) as connection:
        add_row(connection)
        beside("read", path)
        add_row(connection)

        result = checkpoint_passive(connection)

    assert 0 < result.checkpointed_frames < result.log_frames


def test_rollback_journal_has_nothing_to_checkpoint(make_database: MakeDatabase) -> None:
    """Outside WAL mode SQLite answers with -1."""
    path = make_database(rows=1, journal_mode="delete")
    with open_database(path, write=True) as connection:
        result, _ = checkpoint_truncate(connection, 0.1)

    assert result == Checkpoint(busy=False, log_frames=-1, checkpointed_frames=-1)


def test_pragma_returns_what_the_method_raises(
    make_database: MakeDatabase, beside: Callable[[str, Path], Companion]
) -> None:
    """SQLite itself: a busy checkpoint is a row from the pragma, an exception from the call."""
    path = make_database(rows=1)
    beside("read", path)
    with open_database(path, write=True, wait_seconds=0) as connection:
        add_row(connection)

        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0] == 1
        with pytest.raises(apsw.BusyError):
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
