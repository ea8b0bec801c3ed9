"""The report on a database: its size now, its history, and what to do about it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from sqlitekeeper.database.measure import Measurement
from sqlitekeeper.report.advice import Circumstances, advise
from sqlitekeeper.report.growth import (
    MOST_POINTS,
    Drain,
    Growth,
    Trend,
    days_to_full,
    drain,
    growth,
    pinned_runs,
    trend,
)
from sqlitekeeper.report.tables import TableSpace
from sqlitekeeper.result import Result
from sqlitekeeper.state.history import HistoryPoint

Sort = Literal["attention", "growth", "free", "size", "name"]
# Comparing all pairs of a history takes its time: with many databases, fewer points of each.
POINTS_OF_ALL = 6000
LEAST_POINTS = 30


@dataclass(frozen=True, slots=True)
class ReportEntry(Result):
    """One database's counters. Sizes in bytes; None where nothing could be measured.

    `growth_bytes_per_day` is the file's, `live_growth_bytes_per_day` that of the
    data in it (without free pages). `disk_free_bytes` is what its file system has
    left, `days_to_full` is for all databases on it together. `trend` says what
    the growth means, `attention` how pressing the advice is (0: there is none).
    `tables` is None unless it was asked for.
    """

    path: Path
    outcome: Literal["done", "skipped", "failed"]
    bytes: int = 0
    page_size: int | None = None
    pages: int = 0
    free_pages: int = 0
    reclaimable_bytes: int = 0
    reclaimable_percent: float = 0.0
    wal_bytes: int = 0
    journal_mode: str | None = None
    auto_vacuum: str | None = None
    growth_bytes_per_day: float | None = None
    live_growth_bytes_per_day: float | None = None
    days_to_drained: float | None = None
    days_to_full: float | None = None
    disk_free_bytes: int | None = None
    trend: Trend | None = None
    tables: tuple[TableSpace, ...] | None = None
    history: tuple[HistoryPoint, ...] = ()
    advice: tuple[str, ...] = ()
    attention: int = 0


@dataclass(frozen=True, slots=True)
class MeasuredDatabase:
    """One database that was measured, with what is remembered of it.

    `device` tells file systems apart (st_dev); `modified_at` is when its files
    changed last, in seconds since 1970; `configured_backup` that keeper.toml
    names it and lets it be backed up.
    """

    name: str
    path: Path
    found: Measurement
    device: int
    disk_free_bytes: int
    modified_at: float
    history: tuple[HistoryPoint, ...] = ()
    configured_backup: bool = False
    tables: tuple[TableSpace, ...] | None = None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A database that is not reported now, but fills the same file system."""

    device: int
    history: tuple[HistoryPoint, ...]


def report_entries(
    subjects: Sequence[MeasuredDatabase],
    now: float,
    vacuum_pages: int = 1000,
    keep_free_pages: int = 0,
    neighbours: Sequence[Neighbour] = (),
) -> list[ReportEntry]:
    """Put measurements and the memory of earlier ones together, and say what they mean.

    `now` is when they were made, in seconds since 1970; `vacuum_pages` and
    `keep_free_pages` what an hourly vacuum does. When a file system is full is
    told by all databases on it together, `neighbours` included.
    """
    most = most_points(len(subjects))
    samples = [_samples(subject, now) for subject in subjects]
    growths = [growth(one, most) for one in samples]
    by_device: dict[int, list[float | None]] = {}
    for subject, grown in zip(subjects, growths, strict=True):
        by_device.setdefault(subject.device, []).append(grown.file)
    for neighbour in neighbours:
        if neighbour.device in by_device:
            grown_file = growth(_earlier(neighbour.history, now), most).file
            by_device[neighbour.device].append(grown_file)
    free = {subject.device: subject.disk_free_bytes for subject in subjects}
    full_in = {device: days_to_full(free[device], found) for device, found in by_device.items()}
    entries = []
    for subject, sizes, grown in zip(subjects, samples, growths, strict=True):
        known = Circumstances(
            growth=grown,
            drain=_drain(subject.found, grown, vacuum_pages, keep_free_pages),
            days_to_full=full_in[subject.device],
            pinned_runs=pinned_runs([one.wal_bytes for one in sizes]),
            vacuum_pages=vacuum_pages,
            configured_backup=subject.configured_backup,
            written_lately=now - subject.modified_at < 86400
            or len({(one.bytes, one.free_bytes) for one in sizes}) > 1,
        )
        entries.append(_entry(subject, known))
    return entries


def most_points(databases: int) -> int:
    """How many points of each database's history are compared, when there are so many."""
    return max(LEAST_POINTS, min(MOST_POINTS, POINTS_OF_ALL // max(1, databases)))


def _samples(subject: MeasuredDatabase, now: float) -> list[HistoryPoint]:
    """The history and the present; what a wrong clock dated after it is left out."""
    found = subject.found
    at = datetime.fromtimestamp(now, UTC).isoformat()
    present = HistoryPoint(at, found.bytes, found.reclaimable_bytes, found.wal_bytes)
    return [*_earlier(subject.history, now), present]


def _earlier(history: Sequence[HistoryPoint], now: float) -> list[HistoryPoint]:
    return [point for point in history if point.seconds < now]


def _drain(found: Measurement, grown: Growth, pages: int, keep_free_pages: int) -> Drain:
    if found.auto_vacuum != "incremental":
        return Drain(None)
    return drain(found.free_pages, found.page_size, grown.free, pages, keep_free_pages)


def _entry(subject: MeasuredDatabase, known: Circumstances) -> ReportEntry:
    found = subject.found
    advice = advise(subject.name, subject.path, found, known)
    return ReportEntry(
        name=subject.name,
        path=subject.path,
        outcome="done",
        bytes=found.bytes,
        page_size=found.page_size,
        pages=found.pages,
        free_pages=found.free_pages,
        reclaimable_bytes=found.reclaimable_bytes,
        reclaimable_percent=found.reclaimable_percent,
        wal_bytes=found.wal_bytes,
        journal_mode=found.journal_mode,
        auto_vacuum=found.auto_vacuum,
        growth_bytes_per_day=known.growth.file,
        live_growth_bytes_per_day=known.growth.live,
        days_to_drained=known.drain.days,
        days_to_full=known.days_to_full,
        disk_free_bytes=subject.disk_free_bytes,
        trend=trend(known.growth, found.bytes),
        tables=subject.tables,
        history=subject.history,
        advice=tuple(one.text for one in advice),
        attention=max((one.attention for one in advice), default=0),
    )


def in_order(entries: Sequence[ReportEntry], by: Sort) -> list[ReportEntry]:
    """Sorted; what failed stands first, and equals by their names."""
    keys: dict[Sort, Callable[[ReportEntry], float]] = {
        "attention": lambda entry: -entry.attention,
        "growth": lambda entry: -(entry.growth_bytes_per_day or 0.0),
        "free": lambda entry: -entry.reclaimable_bytes,
        "size": lambda entry: -entry.bytes,
        "name": lambda entry: 0,
    }
    return sorted(entries, key=lambda e: (not e.exit_code, keys[by](e), e.name))
