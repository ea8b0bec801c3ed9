"""Counters of a database, against SQLite's own pragmas."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sqlitekeeper.database.measure import Measurement, measure
from tests.conftest import Companion, MakeDatabase, pragma


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
@pytest.mark.parametrize("auto_vacuum", ["none", "full", "incremental"])
def test_counters_are_the_pragmas(
    make_database: MakeDatabase, auto_vacuum: str, journal_mode: str
) -> None:
    """Every counter is what a fresh connection says."""
    path = make_database(rows=60, deleted=40, auto_vacuum=auto_vacuum, journal_mode=journal_mode)

    found = measure(path)

    assert found == Measurement(
        bytes=path.stat().st_size,
        page_size=pragma(path, "page_size"),
        pages=pragma(path, "page_count"),
        free_pages=pragma(path, "freelist_count"),
        wal_bytes=0,
        journal_mode=journal_mode,
        auto_vacuum=auto_vacuum,  # type: ignore[arg-type]
    )


def test_wal_beside_the_application_is_measured(
    make_database: MakeDatabase, beside: Callable[[str, Path], Companion]
) -> None:
    """The WAL's size is that of its file."""
    path = make_database(rows=1)
    writer = beside("write", path)
    found = measure(path)
    writer.end()

    assert found.wal_bytes > 0


def test_wal_of_a_linked_database_is_measured(
    make_database: MakeDatabase, beside: Callable[[str, Path], Companion], tmp_path: Path
) -> None:
    """Through a symlink the numbers are the same."""
    path = make_database("data/app.sqlite3", rows=1)
    link = tmp_path / "link.sqlite3"
    link.symlink_to(path)
    writer = beside("write", path)
    found = measure(link)
    writer.end()

    assert found.wal_bytes > 0


def test_empty_file_has_no_pages(tmp_path: Path) -> None:
    """A file of 0 bytes is measured as such, and stays so."""
    path = tmp_path / "empty.sqlite3"
    path.touch()

    found = measure(path)

    assert (found.pages, found.bytes, found.reclaimable_percent) == (0, 0, 0.0)
    assert path.stat().st_size == 0


def test_shares_and_sizes_follow_from_the_counters() -> None:
    """What is reclaimable, and what is live, in bytes and percent."""
    found = Measurement(8 * 4096, 4096, 8, 3, 0, "wal", "none")

    assert found.reclaimable_bytes == 3 * 4096
    assert found.live_bytes == 5 * 4096
    assert found.reclaimable_percent == 37.5
