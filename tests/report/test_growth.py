"""Growth, on made histories whose slopes are known."""

import random
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlitekeeper.report.growth import (
    MOST_POINTS,
    Drain,
    Growth,
    days_to_full,
    drain,
    evenly,
    growth,
    pinned_runs,
    slope_per_day,
    trend,
)
from sqlitekeeper.state.history import HistoryPoint
from tests.histories import kept

HOUR = 3600.0
DAY = 86400.0
KIBIBYTE = 2**10
MEBIBYTE = 2**20


def line(
    per_day: float, hours: int = 720, base: float = 100 * MEBIBYTE
) -> list[tuple[float, float]]:
    """Hourly sizes on a straight line."""
    return [(n * HOUR, base + per_day * n / 24) for n in range(hours)]


@given(st.floats(-1e9, 1e9), st.integers(2, 900))
def test_straight_line_has_its_own_slope(per_day: float, hours: int) -> None:
    """However steep, and however many samples."""
    assert slope_per_day(line(per_day, hours)) == pytest.approx(per_day, rel=1e-5, abs=1)


@pytest.mark.parametrize("seed", range(5))
def test_noise_hardly_matters(seed: int) -> None:
    """Sizes that go up and down by a tenth of the month's growth."""
    rng = random.Random(seed)
    noisy = [(at, size + rng.gauss(0, 3 * MEBIBYTE)) for at, size in line(MEBIBYTE)]

    assert slope_per_day(noisy) == pytest.approx(MEBIBYTE, rel=0.15)


@pytest.mark.parametrize("when", [1 / 10, 1 / 3, 1 / 2, 2 / 3, 9 / 10])
@pytest.mark.parametrize("height", [-90 * MEBIBYTE, 5000 * MEBIBYTE])
def test_single_step_is_not_growth(when: float, height: int) -> None:
    """A vacuum of everything or a bulk load, wherever it lies, leaves the slope as it is."""
    stepped = [(at, size + height * (at > when * 30 * DAY)) for at, size in line(MEBIBYTE)]

    assert slope_per_day(stepped) == pytest.approx(MEBIBYTE, rel=0.01)


def test_steps_that_come_again_are_growth() -> None:
    """A load every night is what the database grows by."""
    stairs = [(at, 50 * MEBIBYTE * (at // DAY)) for at, _ in line(0)]

    assert slope_per_day(stairs) == pytest.approx(50 * MEBIBYTE, rel=0.05)


def test_sawtooth_is_not_growth() -> None:
    """A file that fills up and is vacuumed each day stays as it is."""
    teeth = [(at, 50 * MEBIBYTE * ((at % DAY) / DAY)) for at, _ in line(0)]

    assert slope_per_day(teeth) == pytest.approx(0, abs=2 * MEBIBYTE)


def test_gap_does_not_matter() -> None:
    """Ten days without a run, and the same slope."""
    holed = [(at, size) for at, size in line(MEBIBYTE) if not 10 < at / DAY < 20]

    assert slope_per_day(holed) == pytest.approx(MEBIBYTE, rel=0.01)


def test_two_samples_are_enough() -> None:
    """A month apart, they are all there is to know."""
    assert slope_per_day([(0, 0), (30 * DAY, 30)]) == 1


def test_order_does_not_matter() -> None:
    """Samples may come as they are."""
    assert slope_per_day(line(MEBIBYTE)[::-1]) == slope_per_day(line(MEBIBYTE))


@pytest.mark.parametrize("series", [[], [(0.0, 5.0)], [(0.0, 5.0), (HOUR - 1, 9.0)]])
def test_too_little_is_unknown(series: list[tuple[float, float]]) -> None:
    """Fewer than two samples, or less than an hour, say nothing of a day."""
    assert slope_per_day(series) is None


@given(st.lists(st.integers(0, 10**7), max_size=400, unique=True), st.integers(1, 50))
def test_evenly_keeps_the_newest_and_no_more_than_asked(times: list[int], most: int) -> None:
    """Whatever the gaps, sorted, and only what was there."""
    points = [(float(time), 0.0) for time in sorted(times)]

    few = evenly(points, most)

    assert len(few) <= most
    assert set(few) <= set(points)
    assert all(one < other for one, other in pairwise(few))
    assert few[-1:] == points[-1:]


@given(st.floats(-1e8, 1e8), st.integers(0, 2**32))
def test_thinning_keeps_slopes(per_day: float, seed: int) -> None:
    """What is left of sixty days with some noise has nearly the slope of all samples."""
    rng = random.Random(seed)
    now = datetime(2026, 11, 23, 3, 17, tzinfo=UTC).timestamp()
    noise = abs(per_day) / 2
    whole = {
        int((now - n * HOUR) * 1000): -per_day * n / 24 + rng.uniform(-noise, noise)
        for n in range(60 * 24)
    }
    few = [(time / 1000, whole[time]) for time in kept(whole, int(now * 1000))]

    assert slope_per_day(few) == pytest.approx(per_day, rel=0.05, abs=1)


def test_file_data_and_free_list_grow_apart() -> None:
    """A file that grows although its data does not has a growing free list."""
    samples = [
        HistoryPoint(
            datetime.fromtimestamp(n * DAY, UTC).isoformat(),
            10 * MEBIBYTE + n * MEBIBYTE,
            n * MEBIBYTE,
            0,
        )
        for n in range(MOST_POINTS)
    ]

    assert growth(samples) == Growth(file=MEBIBYTE, live=0, free=MEBIBYTE)


@pytest.mark.parametrize(
    ("grown", "word"),
    [
        (Growth(None, None, None), None),
        (Growth(MEBIBYTE, MEBIBYTE, 0.0), "growing"),
        (Growth(MEBIBYTE, 10.0 * KIBIBYTE, MEBIBYTE), "bloating"),
        (Growth(0.0, 0.0, 0.0), "steady"),
        (Growth(KIBIBYTE, 0.0, KIBIBYTE), "steady"),
        (Growth(-MEBIBYTE, 0.0, -MEBIBYTE), "shrinking"),
    ],
)
def test_trend(grown: Growth, word: str | None) -> None:
    """In a word; a few KiB a day are none."""
    assert trend(grown, 100 * MEBIBYTE) == word


def test_days_to_full_add_up() -> None:
    """What shrinks makes room for what grows; what is unknown counts for nothing."""
    assert days_to_full(1000, [30.0, -10.0, None]) == 50


@pytest.mark.parametrize("growths", [[], [None], [0.0], [-5.0, 3.0]])
def test_what_does_not_grow_never_fills(growths: list[float | None]) -> None:
    """No number rather than infinity."""
    assert days_to_full(1000, growths) is None


def test_free_list_is_drained_by_hourly_vacuums() -> None:
    """48,000 pages at 1,000 an hour, 0 of them kept."""
    assert drain(48_000, 4096, 0.0, 1000, 0) == Drain(2.0)
    assert drain(48_000, 4096, None, 1000, 24_000) == Drain(1.0)


def test_all_pages_are_drained_by_the_next_vacuum() -> None:
    """Within the hour; and nothing takes no time."""
    assert drain(48_000, 4096, 0.0, 0, 0) == Drain(1 / 24)
    assert drain(0, 4096, 0.0, 0, 0) == Drain(0.0)


def test_deletes_outpace_the_vacuum() -> None:
    """A long free list that still grows."""
    assert drain(48_000, 4096, 2000.0 * 4096, 1000, 0) == Drain(None, outpaced=True)


def test_short_free_list_is_not_outpaced() -> None:
    """One that a day's vacuums can deal with goes up and down."""
    assert not drain(20_000, 4096, 2000.0 * 4096, 1000, 0).outpaced


@pytest.mark.parametrize(
    ("sizes", "runs"),
    [
        ([], 0),
        ([9], 0),
        ([9, 10, 11], 3),
        ([9, 9, 10], 3),
        ([10, 10, 10], 0),
        ([12, 9, 10, 11], 3),
        ([9, 10, 0], 0),
        ([1, 2, 3], 0),
    ],
)
def test_runs_that_saw_the_wal_pinned(sizes: list[int], runs: int) -> None:
    """Large, growing, and up to now (in MiB)."""
    assert pinned_runs([one * MEBIBYTE for one in sizes]) == runs
