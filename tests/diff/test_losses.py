"""The rows that go with a database that a snapshot replaces."""

from pathlib import Path

import pytest

from sqlitekeeper.diff.diff import TooLongError
from sqlitekeeper.diff.losses import replaced_rows
from tests.conftest import MakeDatabase


def test_counting_ends_when_its_time_is_over(make_database: MakeDatabase, staging: Path) -> None:
    """Somebody waits for it; nothing of the copies is left."""
    live, snapshot = make_database(rows=20_000), make_database("other.sqlite3", rows=20_000)

    with pytest.raises(TooLongError):
        replaced_rows("app", live, snapshot, staging, seconds=0.0)

    assert list(staging.iterdir()) == []


def test_rows_of_both_sides_are_counted(make_database: MakeDatabase, staging: Path) -> None:
    """Each table that differs."""
    live, snapshot = make_database(rows=20), make_database("other.sqlite3", rows=30, deleted=15)

    (found,) = replaced_rows("app", live, snapshot, staging)

    assert (found.only_here, found.only_there, found.changed) == (15, 10, 5)
