"""One line of progress: what it says, that it fits, that it goes away."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlitekeeper.events import Tick
from sqlitekeeper.output.progress import Activity, ProgressLine, progress_text, terminal_width

MIB = 2**20


def activity(label: str = "shop upload", done: int = 25 * MIB, seconds: float = 5.0) -> Activity:
    """One that began at 0 with nothing done, of 100 MiB in all."""
    return Activity(label, 0.0, 0, Tick("", "", done, 100 * MIB), seconds)


def drawn(line: ProgressLine, stream: io.StringIO, ticks: list[tuple[float, Tick]]) -> list[str]:
    """What the line has said in turn, as somebody who watches sees it."""
    for now, tick in ticks:
        line.tick(tick, now)
    return [text.rstrip() for text in stream.getvalue().split("\r") if text.strip()]


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    return io.StringIO()


def test_share_rate_and_time_left_are_said() -> None:
    """A quarter in five seconds leaves fifteen."""
    text = progress_text([activity()], 79)

    assert text == "shop upload [#####---------------] 25% 5.0 MiB/s 0:15 left"


def test_pages_are_no_bytes() -> None:
    """A rate is in what is counted."""
    one = Activity("shop vacuum", 0.0, 0, Tick("shop", "vacuum", 3000, 9000, "pages"), 2.0)

    assert one.text() == "shop vacuum 33% 1,500 pages/s 0:04 left"


def test_rate_counts_from_the_first_tick() -> None:
    """What was done before nobody has timed."""
    one = Activity("", 10.0, 50 * MIB, Tick("", "", 60 * MIB, 100 * MIB), 20.0)

    assert one.text().endswith("60% 1.0 MiB/s 0:40 left")


def test_long_times_have_hours() -> None:
    """As clocks show them."""
    assert activity(done=MIB, seconds=60).text().endswith("1:39:00 left")


def test_standstill_has_neither_rate_nor_time_left() -> None:
    """Nobody can say when it goes on."""
    assert activity(done=0).text() == "shop upload 0%"


def test_activities_stand_side_by_side() -> None:
    """Those that go on at the same time, in their order."""
    text = progress_text([activity("a snapshot"), activity("b upload", 50 * MIB)], 79)

    assert text == "a snapshot 25% 5.0 MiB/s 0:15 left | b upload 50% 10.0 MiB/s 0:05 left"


def test_activities_without_room_are_counted() -> None:
    """Nothing wraps, and nothing is hidden."""
    text = progress_text([activity(f"tenant-{n} snapshot") for n in range(9)], 60)

    assert text == "tenant-0 snapshot 25% 5.0 MiB/s 0:15 left +8"


@given(
    st.lists(st.builds(activity, st.text(max_size=40), st.integers(0, 100 * MIB)), max_size=5),
    st.integers(1, 200),
)
def test_line_never_wraps(activities: list[Activity], width: int) -> None:
    """Whatever goes on, on whatever terminal."""
    assert len(progress_text(activities, width)) <= width


def test_nothing_is_shown_within_the_first_second(stream: io.StringIO) -> None:
    """A line for something that is over at once only flickers."""
    ticks = [(n / 10, Tick("shop", "snapshot", n, 100)) for n in range(10)]

    assert drawn(ProgressLine(stream), stream, ticks) == []


def test_longer_stages_are_shown(stream: io.StringIO) -> None:
    """From the second second on."""
    ticks = [(n / 2, Tick("shop", "snapshot", n, 100)) for n in range(5)]

    seen = drawn(ProgressLine(stream), stream, ticks)

    assert [re.sub(r" \[.*\]", "", one)[:16] for one in seen] == [
        "shop snapshot 2%",
        "shop snapshot 3%",
        "shop snapshot 4%",
    ]


def test_line_is_not_redrawn_at_every_tick(stream: io.StringIO) -> None:
    """Ten times a second is as much as anybody can read."""
    ticks = [(1 + n / 1000, Tick("shop", "snapshot", n, 3000)) for n in range(2000)]

    assert len(drawn(ProgressLine(stream), stream, ticks)) <= 11


def test_interleaved_stages_do_not_flicker(stream: io.StringIO) -> None:
    """Each drawing has all of them, in the same order."""
    ticks = []
    for n in range(60):
        ticks.append((n / 10, Tick("a", "snapshot", n, 100)))
        ticks.append((n / 10, Tick("b", "check", n, 100)))

    seen = drawn(ProgressLine(stream), stream, ticks)[1:]

    assert seen
    assert all(re.match(r"a snapshot .* \| b check ", one) for one in seen)


def test_finished_stage_goes_away(stream: io.StringIO) -> None:
    """The rest of its line is blanked out."""
    line = ProgressLine(stream)
    drawn(line, stream, [(0, Tick("a", "upload", 0, 9)), (2, Tick("a", "upload", 5, 9))])
    length = len(stream.getvalue().rpartition("\r")[2])

    line.tick(Tick("a", "upload", 9, 9), 3)

    assert stream.getvalue().endswith("\r" + " " * length + "\r")


def test_stage_that_starts_over_is_timed_anew(stream: io.StringIO) -> None:
    """A second upload of the same name has a second of its own first."""
    line = ProgressLine(stream)
    line.tick(Tick("a", "upload", 5, 9), 0)
    line.tick(Tick("a", "upload", 1, 9), 2)

    assert stream.getvalue().strip() == ""


def test_silent_stage_is_forgotten(stream: io.StringIO) -> None:
    """One that failed without a last tick does not stand there for ever."""
    line = ProgressLine(stream)
    ticks = [(0.0, Tick("a", "upload", 1, 9)), (0.0, Tick("b", "check", 1, 9))]
    ticks += [(float(n), Tick("b", "check", 2, 9)) for n in range(1, 60)]

    assert "a upload" not in drawn(line, stream, ticks)[-1]


def test_control_characters_of_names_are_spelt_out(stream: io.StringIO) -> None:
    """Names are other people's."""
    ticks = [(float(n), Tick("\x1b[2J", "upload", n, 9)) for n in range(3)]

    assert "\x1b" not in "".join(drawn(ProgressLine(stream), stream, ticks))


@pytest.mark.parametrize(("columns", "width"), [("132", 132), ("", 80), ("0", 80), ("x", 80)])
def test_width_is_that_of_columns(
    monkeypatch: pytest.MonkeyPatch, columns: str, width: int
) -> None:
    """Or 80 where neither it nor a terminal says."""
    monkeypatch.setenv("COLUMNS", columns)

    assert terminal_width(io.StringIO()) == width
