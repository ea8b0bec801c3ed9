"""Which samples are kept, as values and in SQL."""

from collections.abc import Iterator
from datetime import UTC, datetime

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlitekeeper.state.history_file import SCHEMA
from sqlitekeeper.state.thinning import DAY_MS, HOUR_MS, thin
from tests.histories import kept

NOW = int(datetime(2026, 11, 23, 3, 17, tzinfo=UTC).timestamp() * 1000)
TIMES = st.lists(
    st.integers(0, 40 * 24 * 4).map(lambda quarters: NOW - quarters * HOUR_MS // 4), max_size=200
)


@pytest.fixture
def memory() -> Iterator[apsw.Connection]:
    """A history in memory that knows of two databases."""
    connection = apsw.Connection(":memory:")
    connection.execute(SCHEMA + "INSERT INTO watched VALUES (1, '/a'), (2, '/b')").fetchall()
    yield connection
    connection.close()


def fill(connection: apsw.Connection, times: list[int]) -> None:
    connection.execute("DELETE FROM sample").fetchall()
    connection.executemany(
        "INSERT OR IGNORE INTO sample VALUES (?, ?, 1, 1, 1)",
        [(database, time) for time in times for database in (1, 2)],
    ).fetchall()


def left(connection: apsw.Connection, database: int = 1) -> list[int]:
    rows = connection.execute("SELECT at FROM sample WHERE database = ? ORDER BY at", (database,))
    return [int(str(at)) for (at,) in rows]


def test_two_days_are_kept_whole() -> None:
    """Every sample, even one a minute."""
    minutes = [NOW - n * 60_000 for n in range(48 * 60)]

    assert kept(minutes, NOW) == sorted(minutes)


def test_a_month_is_kept_hourly() -> None:
    """The last sample of each hour."""
    hour = NOW - 10 * DAY_MS - NOW % HOUR_MS

    assert kept([hour, hour + 60_000, hour + HOUR_MS - 1, hour + HOUR_MS], NOW) == [
        hour + HOUR_MS - 1,
        hour + HOUR_MS,
    ]


def test_older_ones_are_kept_daily() -> None:
    """The last sample of each day."""
    day = NOW - 100 * DAY_MS - NOW % DAY_MS

    assert kept([day, day + HOUR_MS, day + DAY_MS - 1, day + DAY_MS], NOW) == [
        day + DAY_MS - 1,
        day + DAY_MS,
    ]


@given(TIMES)
def test_thinning_twice_is_thinning_once(times: list[int]) -> None:
    """What was kept stays."""
    assert kept(kept(times, NOW), NOW) == kept(times, NOW)


@given(TIMES, st.integers(0, 40 * DAY_MS))
def test_thinning_on_the_way_changes_nothing(times: list[int], ago: int) -> None:
    """However often it was done before, the same is left now."""
    before = NOW - ago
    early = [time for time in times if time <= before]
    late = [time for time in times if time > before]

    assert kept([*kept(early, before), *late], NOW) == kept(times, NOW)


@given(TIMES)
def test_the_newest_is_always_kept(times: list[int]) -> None:
    """Whatever its age."""
    assert kept(times, NOW)[-1:] == sorted(times)[-1:]


def test_sql_keeps_what_the_function_keeps(memory: apsw.Connection) -> None:
    """For each database."""

    @given(TIMES)
    def compare(times: list[int]) -> None:
        fill(memory, times)
        thin(memory, NOW)
        assert left(memory, 1) == left(memory, 2) == kept(times, NOW)

    compare()


def test_sql_goes_on_where_it_left_off(memory: apsw.Connection) -> None:
    """Looking only at what came of age since is as good as looking at everything."""

    @given(TIMES, st.integers(0, 40 * DAY_MS))
    def compare(times: list[int], ago: int) -> None:
        before = NOW - ago
        fill(memory, kept([time for time in times if time <= before], before))
        memory.executemany(
            "INSERT OR IGNORE INTO sample VALUES (1, ?, 1, 1, 1)",
            [(time,) for time in times if time > before],
        ).fetchall()
        thin(memory, NOW, before)
        assert left(memory) == kept(times, NOW)

    compare()


def test_clock_that_was_ahead_is_forgiven(memory: apsw.Connection) -> None:
    """Everything is looked at once, rather than nothing until then."""
    hour = NOW - 10 * DAY_MS - NOW % HOUR_MS
    fill(memory, [hour, hour + 1])

    thin(memory, NOW, NOW + 999 * DAY_MS)

    assert left(memory) == [hour + 1]


def test_thinning_reads_no_more_than_what_came_of_age(memory: apsw.Connection) -> None:
    """SQLite goes by the key to the span of time of each database."""
    plans: list[str] = []

    def note(cursor: apsw.Cursor, statement: str, bindings: object) -> bool:
        if statement.startswith("DELETE"):
            rows = memory.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", bindings)  # type: ignore[arg-type]
            plans.extend(str(row[3]) for row in rows)
        return True

    memory.exec_trace = note
    thin(memory, NOW, NOW - DAY_MS)

    searches = [plan for plan in plans if " sample " in plan]
    assert searches
    assert all("database=? AND at>? AND at<?" in plan for plan in searches), plans
