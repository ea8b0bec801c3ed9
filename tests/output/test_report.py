"""How a report looks."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlitekeeper.output.printable import shortened
from sqlitekeeper.output.report import per_day, show_report, sparkline, to_do
from sqlitekeeper.output.terminal import Console
from sqlitekeeper.report.report import ReportEntry
from sqlitekeeper.report.tables import TableSpace
from sqlitekeeper.state.history import HistoryPoint

MEBIBYTE = 2**20
ENTRY = ReportEntry(
    "app", Path("/srv/app.db"), "done", bytes=9 * MEBIBYTE, journal_mode="wal", auto_vacuum="full"
)


def points(*sizes: int) -> tuple[HistoryPoint, ...]:
    return tuple(HistoryPoint("2026-11-23T03:00:00.000+00:00", one, 0, 0) for one in sizes)


@pytest.fixture
def console() -> Console:
    """A console that takes itself for a terminal."""
    console = Console(quiet=False, verbose=False, color=False)
    console.is_terminal = True
    return console


def shown(
    console: Console,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    entries: list[ReportEntry],
    columns: int = 80,
) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    show_report(console, entries)
    return capsys.readouterr().out.splitlines()


LARGE = replace(
    ENTRY,
    name="production_errors_of_a_very_long_name",
    bytes=1023 * MEBIBYTE,
    reclaimable_bytes=1000 * MEBIBYTE,
    reclaimable_percent=100.0,
    wal_bytes=1000 * MEBIBYTE,
    growth_bytes_per_day=-1000.0 * MEBIBYTE,
    advice=("what takes the space: keeper report --tables /srv/app.db",),
    history=points(*range(50)),
)


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
def test_table_fits_the_terminal(
    console: Console,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
) -> None:
    """Whatever its numbers, and how long a name is."""
    lines = shown(console, capsys, monkeypatch, [ENTRY, LARGE], columns)

    assert max(map(len, lines)) <= columns


def test_wide_terminal_has_names_in_full(
    console: Console, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And more of the history."""
    _, line, *_ = shown(console, capsys, monkeypatch, [LARGE], 160)

    assert line.startswith(LARGE.name + " ")
    assert "▁▁▁" in line
    assert "█" in line


def test_totals_stand_below(
    console: Console, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all databases together."""
    grown = replace(
        ENTRY,
        reclaimable_bytes=MEBIBYTE,
        growth_bytes_per_day=1.0 * MEBIBYTE,
        days_to_full=12.0,
    )

    lines = shown(console, capsys, monkeypatch, [grown, grown], 120)

    assert lines[3] == (
        "2 databases: 18.0 MiB, 2.0 MiB free (11 %), WAL 0 Bytes, +2.0 MiB a day,"
        " disk full in 12.0 days"
    )


def test_tables_are_grouped_by_their_owner(
    console: Console, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest family first, with what is free at the end."""
    tables = (
        TableSpace("log", "table", "log", 4 * MEBIBYTE, 0, 1024, 7),
        TableSpace("item", "table", "item", 3 * MEBIBYTE, 0, 768, 1000),
        TableSpace("item_name", "index", "item", 2 * MEBIBYTE, 0, 512, None),
    )

    # Most of it is in the WAL still: shares are of the pages that there are.
    entry = replace(ENTRY, bytes=4096, pages=9 * MEBIBYTE // 4096, page_size=4096, tables=tables)
    lines = shown(console, capsys, monkeypatch, [entry])

    below = lines[lines.index("") + 2 :]
    assert [line.split()[0] for line in below] == ["item", "item", "item_name", "log", "free"]
    assert below[0].split()[1:] == ["with", "all", "1,000", "5.0", "MiB", "0", "Bytes", "55.6", "%"]


@pytest.mark.parametrize(
    ("growth", "text"),
    [(None, ""), (0.0, "0 Bytes"), (1536.0, "+1.5 KiB"), (-1536.0, "-1.5 KiB")],
)
def test_growth_has_a_sign(growth: float | None, text: str) -> None:
    """Nothing where it is unknown."""
    assert per_day(growth) == text


@pytest.mark.parametrize(
    ("advice", "trend", "text"),
    [
        (("free it: keeper vacuum --all /srv/app.db",), "growing", "vacuum --all"),
        (("set backup = false (keeper config show names the file)",), None, "config show"),
        (("to have WAL: sqlite3 /srv/app.db 'PRAGMA ...'",), None, "see below"),
        ((), "steady", "steady"),
        ((), None, ""),
    ],
)
def test_what_to_do_in_a_word(advice: tuple[str, ...], trend: str | None, text: str) -> None:
    """The command of the first advice; else how it goes."""
    assert to_do(replace(ENTRY, advice=advice, trend=trend)) == text  # type: ignore[arg-type]


def test_sparkline_goes_from_the_smallest_to_the_largest() -> None:
    """One bar for each measurement while there is room."""
    assert sparkline(points(0, 5), 10, 6) == "▁▄█"


def test_sparkline_of_what_stays_is_flat() -> None:
    """At the bottom."""
    assert sparkline(points(5, 5), 5, 6) == "▁▁▁"


def test_sparkline_without_a_history_is_empty() -> None:
    """One measurement is no line."""
    assert sparkline((), 5, 6) == ""


def test_long_history_is_drawn_in_few_bars() -> None:
    """The last is the present."""
    assert sparkline(points(*range(99)), 99, 6) == "▁▂▃▅▆█"


@given(st.text(), st.integers(2, 30))
def test_shortened_names_fit(text: str, width: int) -> None:
    """With an ellipsis where something is left out, both ends kept."""
    short = shortened(text, width)

    assert short == text if len(text) <= width else len(short) == width
    assert short[-1:] == text[-1:]
