"""Measurements and memory, put together."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sqlitekeeper.database.measure import Measurement
from sqlitekeeper.report.report import (
    MeasuredDatabase,
    Neighbour,
    ReportEntry,
    Sort,
    in_order,
    most_points,
    report_entries,
)
from sqlitekeeper.state.history import HistoryPoint

PATH = Path("/srv/app.db")
MEBIBYTE = 2**20
NOW = 1_800_000_000.0
DAY = 86400.0


def found(size: int = MEBIBYTE, free: int = 0, wal: int = 0) -> Measurement:
    return Measurement(size, 4096, size // 4096, free, wal, "wal", "incremental")


def point(days_ago: float, size: int, free: int = 0, wal: int = 0) -> HistoryPoint:
    at = datetime.fromtimestamp(NOW - days_ago * DAY, UTC)
    return HistoryPoint(at.isoformat(timespec="milliseconds"), size, free, wal)


SUBJECT = MeasuredDatabase(
    "app", PATH, found(), device=1, disk_free_bytes=100 * MEBIBYTE, modified_at=0
)


def test_entry_has_the_counters_and_the_memory() -> None:
    """Measured now, and before."""
    history = (point(1, 1),)

    (entry,) = report_entries([replace(SUBJECT, found=found(free=64), history=history)], NOW)

    assert (entry.outcome, entry.exit_code, entry.history) == ("done", 0, history)
    assert (entry.reclaimable_bytes, entry.reclaimable_percent) == (64 * 4096, 25.0)


def test_growth_counts_from_the_history_to_now() -> None:
    """The present measurement is a sample too."""
    subject = replace(SUBJECT, found=found(11 * MEBIBYTE), history=(point(10, MEBIBYTE),))

    (entry,) = report_entries([subject], NOW)

    assert entry.growth_bytes_per_day == MEBIBYTE
    assert entry.live_growth_bytes_per_day == MEBIBYTE
    assert entry.trend == "growing"


def test_growth_without_a_history_is_unknown() -> None:
    """One measurement tells nothing."""
    (entry,) = report_entries([SUBJECT], NOW)

    assert entry.growth_bytes_per_day is None
    assert entry.days_to_full is None
    assert entry.trend is None


def test_databases_of_one_file_system_fill_it_together() -> None:
    """100 MiB are left; two grow by 1 and 4 MiB a day, a third lies elsewhere."""
    slow = replace(SUBJECT, found=found(11 * MEBIBYTE), history=(point(10, MEBIBYTE),))
    fast = replace(SUBJECT, found=found(41 * MEBIBYTE), history=(point(10, MEBIBYTE),))
    elsewhere = replace(fast, device=2)

    entries = report_entries([slow, fast, elsewhere], NOW)

    assert [entry.days_to_full for entry in entries] == [20, 20, 25]


def test_database_that_is_not_reported_fills_the_file_system_too() -> None:
    """It is known by its history alone: 4 MiB a day beside the 1 of what is reported."""
    slow = replace(SUBJECT, found=found(11 * MEBIBYTE), history=(point(10, MEBIBYTE),))
    beside = Neighbour(slow.device, (point(11, MEBIBYTE), point(1, 41 * MEBIBYTE)))
    elsewhere = replace(beside, device=2)

    (entry,) = report_entries([slow], NOW, neighbours=[beside, elsewhere])

    assert entry.days_to_full == 20


def test_sample_of_a_wrong_clock_is_left_out() -> None:
    """What was dated after the present says nothing about growth."""
    history = (point(10, MEBIBYTE), point(-3000, 900 * MEBIBYTE))
    subject = replace(SUBJECT, found=found(11 * MEBIBYTE), history=history)

    (entry,) = report_entries([subject], NOW)

    assert entry.growth_bytes_per_day == MEBIBYTE


def test_reader_that_stays_is_seen_in_the_history() -> None:
    """Three runs with a large and growing WAL, the present one included."""
    history = tuple(point(n / 24, MEBIBYTE, wal=(30 - n) * MEBIBYTE) for n in (2, 1))

    (entry,) = report_entries(
        [replace(SUBJECT, found=found(wal=30 * MEBIBYTE), history=history)], NOW
    )

    assert "pinned the WAL on 3 runs in a row" in entry.advice[0]


def test_only_incremental_auto_vacuum_drains() -> None:
    """Free pages of others stay, whatever keeper vacuum is told."""
    full = replace(found(free=64), auto_vacuum="none")

    (entry,) = report_entries([replace(SUBJECT, found=full)], NOW)

    assert entry.days_to_drained is None


def test_attention_is_that_of_the_most_pressing_advice() -> None:
    """And 0 where there is nothing to do."""
    quiet, loud = report_entries([SUBJECT, replace(SUBJECT, found=found(wal=99 * MEBIBYTE))], NOW)

    assert (quiet.attention, quiet.advice) == (0, ())
    assert loud.attention > 0


def entry(name: str, **fields: object) -> ReportEntry:
    return replace(ReportEntry(name, PATH, "done"), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("attention", "b a c"),
        ("growth", "c a b"),
        ("free", "a c b"),
        ("size", "c b a"),
        ("name", "a b c"),
    ],
)
def test_order(by: Sort, names: str) -> None:
    """The most comes first, names as in the alphabet."""
    entries = [
        entry("c", bytes=9, reclaimable_bytes=2, growth_bytes_per_day=7.0),
        entry("a", bytes=3, reclaimable_bytes=3, growth_bytes_per_day=None),
        entry("b", bytes=4, reclaimable_bytes=1, growth_bytes_per_day=-1.0, attention=2),
    ]

    assert [one.name for one in in_order(entries, by)] == names.split()


def test_failures_come_first() -> None:
    """Whatever the order asked for."""
    entries = [entry("a", attention=5), entry("b", exit_code=1)]

    assert [one.name for one in in_order(entries, "attention")] == ["b", "a"]


def test_many_databases_have_fewer_points_compared() -> None:
    """The work for all of them is bounded."""
    assert [most_points(n) for n in (1, 100, 1000)] == [120, 60, 30]
