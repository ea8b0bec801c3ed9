"""The growth of databases, learnt from earlier measurements: pure functions of numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from sqlitekeeper.state.history import HistoryPoint

DAY_SECONDS = 86400.0
# Sizes over less time than this say nothing about a day.
LEAST_SECONDS = 3600.0
MOST_POINTS = 120

Series = Sequence[tuple[float, float]]
Trend = Literal["growing", "bloating", "steady", "shrinking"]


@dataclass(frozen=True, slots=True)
class Growth:
    """Bytes per day, each None where too little is known: of the file, its data, its free list."""

    file: float | None = None
    live: float | None = None
    free: float | None = None


UNKNOWN_GROWTH = Growth()


def growth(samples: Sequence[HistoryPoint], most: int = MOST_POINTS) -> Growth:
    """How the file, the data in it (size minus free pages) and the free list grow."""
    timed = [(sample.seconds, sample) for sample in samples]
    return Growth(
        file=slope_per_day([(at, s.bytes) for at, s in timed], most),
        live=slope_per_day([(at, s.bytes - s.free_bytes) for at, s in timed], most),
        free=slope_per_day([(at, s.free_bytes) for at, s in timed], most),
    )


def slope_per_day(series: Series, most: int = MOST_POINTS) -> float | None:
    """The slope of (seconds, bytes) in bytes per day, by Theil and Sen: the median of all pairs'.

    Not least squares, because sizes have steps: a vacuum of everything, a bulk
    load or a conversion would be spread over the whole time as if it happened
    every day. Only pairs up to half of the points apart are taken: so a single
    step, wherever it lies, is in a third of them at most, and the median does
    not see it; steps that come again and again are seen as the growth they are.

    At most `most` points are compared (the last of each of as many equal spans
    of time), so that a long history costs no more than a short one. None with
    fewer than two points, or less than an hour from the first to the last.
    """
    points = evenly(sorted(series), most)
    if len(points) < 2 or points[-1][0] - points[0][0] < LEAST_SECONDS:
        return None
    reach = math.ceil(len(points) / 2)
    slopes = [
        (later_size - size) / (later - at)
        for index, (at, size) in enumerate(points)
        for later, later_size in points[index + 1 : index + 1 + reach]
        if later > at
    ]
    return median(slopes) * DAY_SECONDS


def evenly(points: Series, most: int) -> Series:
    """At most `most` of the points (sorted by time): the last of each of equal spans of time."""
    if len(points) <= most:
        return points
    first, last = points[0][0], points[-1][0]
    width = (last - first) / most or 1.0
    return list({min(most - 1, int((at - first) / width)): (at, y) for at, y in points}.values())


def is_notable(per_day: float, size: int) -> bool:
    """Whether a growth is worth a word: 16 KiB and half a thousandth of the size, each day."""
    return abs(per_day) >= max(16 * 1024, size / 2000)


def trend(grown: Growth, size: int) -> Trend | None:
    """What the growth means; None where it is not known.

    "bloating": the file grows although the data does not. "steady": neither
    does; free pages get reused.
    """
    if grown.file is None or grown.live is None:
        return None
    if not is_notable(grown.file, size):
        return "steady"
    if grown.file < 0:
        return "shrinking"
    return "bloating" if grown.live <= grown.file / 10 else "growing"


def days_to_full(disk_free_bytes: int, growths: Sequence[float | None]) -> float | None:
    """When databases that grow like this fill up the file system that they share.

    None when they do not grow together, or nothing is known of any.
    """
    combined_error = sum(one for one in growths if one is not None)
    return disk_free_bytes / combined_error if combined_error > 0 else None


@dataclass(frozen=True, slots=True)
class Drain:
    """How long the free list lasts: `days` None when unknown, or never because `outpaced`."""

    days: float | None
    outpaced: bool = False


UNKNOWN_DRAIN = Drain(None)


def drain(
    free_pages: int, page_size: int, free_growth: float | None, pages: int, keep_free_pages: int
) -> Drain:
    """When an hourly vacuum of `pages` (0: all) has drained the free list down to what it keeps.

    Outpaced by deletes is a free list of more than a day's vacuums that still
    grows, by more than a twentieth of what they free: one that stays as it is
    may well be reused, and a large one after a single delete is only a matter
    of time.
    """
    spare = max(0, free_pages - keep_free_pages)
    if pages == 0 or spare == 0:
        return Drain(1 / 24 if spare else 0.0)
    capacity = 24 * pages
    grown = (free_growth or 0.0) / page_size
    if spare > capacity and grown > capacity / 20:
        return Drain(None, outpaced=True)
    return Drain(spare / capacity)


def pinned_runs(wal_sizes: Sequence[int], least_bytes: int = 8 * 2**20) -> int:
    """How many of the newest measurements, in a row, saw the WAL large and only growing.

    SQLite starts the WAL over when no reader is in it, so a WAL keeps to some
    4 MiB (https://sqlite.org/wal.html) unless somebody stays; 0 where that did
    not happen, or the WAL stayed as it was because nobody wrote.
    """
    runs = 0
    for index in range(len(wal_sizes) - 1, -1, -1):
        later = wal_sizes[index + 1] if runs else None
        if wal_sizes[index] < least_bytes or (later is not None and wal_sizes[index] > later):
            break
        runs += 1
    return runs if runs and wal_sizes[-1] > wal_sizes[-runs] else 0
