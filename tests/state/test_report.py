"""What a report advises."""

from pathlib import Path

from sqlitekeeper.database.measure import AutoVacuum, Measurement
from sqlitekeeper.state.report import HistoryPoint, advise, report_entry

PATH = Path("/srv/app.db")
MEBIBYTE = 2**20


def found(
    *, size: int = MEBIBYTE, free: int = 0, wal: int = 0, auto_vacuum: AutoVacuum = "incremental"
) -> Measurement:
    return Measurement(size, 4096, size // 4096, free, wal, "wal", auto_vacuum)


def test_free_list_is_no_fault() -> None:
    """Steady databases reuse their free pages."""
    assert advise(PATH, found(free=250)) == []


def test_file_that_cannot_shrink_is_advised_to_convert() -> None:
    """With the command that does it."""
    assert advise(PATH, found(auto_vacuum="none")) == [
        "the file can never shrink: keeper convert /srv/app.db"
    ]


def test_empty_file_is_not_advised_to_convert() -> None:
    """There is nothing to convert in it."""
    assert advise(PATH, found(size=0, auto_vacuum="none")) == []


def test_wal_larger_than_the_database_is_advised_to_be_truncated() -> None:
    """A WAL only grows so far when something keeps it from being checkpointed."""
    assert advise(PATH, found(wal=17 * MEBIBYTE)) == [
        "the WAL is larger than the database: keeper vacuum /srv/app.db"
    ]


def test_small_wal_is_no_fault() -> None:
    """A few pages of WAL are larger than a small database, and mean nothing."""
    assert advise(PATH, found(wal=4 * MEBIBYTE)) == []


def test_entry_has_the_counters_and_the_memory() -> None:
    """Measured now, and before."""
    point = HistoryPoint("2026-11-23T03:00:00+00:00", 1, 2, 3)

    entry = report_entry("app", PATH, found(free=64), (point,))

    assert (entry.outcome, entry.exit_code, entry.history) == ("done", 0, (point,))
    assert (entry.reclaimable_bytes, entry.reclaimable_percent) == (64 * 4096, 25.0)
