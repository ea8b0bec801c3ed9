"""The HTML page: what is in it, and how it escapes what others named."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlitekeeper.output.html.chart import SizeAt, size_chart
from sqlitekeeper.output.html.page import report_page
from sqlitekeeper.report.report import ReportEntry
from sqlitekeeper.report.tables import TableSpace
from sqlitekeeper.state.history import HistoryPoint

AT = datetime(2026, 11, 23, 3, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>"
ENTRY = ReportEntry("app", Path("/srv/app.sqlite3"), "done", bytes=2**20, page_size=4096, pages=256)
VOID = {"meta", "path", "polyline", "polygon"}


class Elements(HTMLParser):
    """Collects the elements of a page, and checks that each is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of a kind."""
        return [attributes for name, attributes in self.found if name == tag]


def history(days: int) -> tuple[HistoryPoint, ...]:
    """A point a day, the file growing by 10,000 bytes each."""
    return tuple(
        HistoryPoint((AT - timedelta(days=days - d)).isoformat(), 10_000 * d, 4096, 0)
        for d in range(days)
    )


def page(*entries: ReportEntry) -> str:
    return report_page(entries, AT, "web1")


def points(*sizes: int) -> list[SizeAt]:
    return [SizeAt(AT + timedelta(days=i), size, size // 2) for i, size in enumerate(sizes)]


def test_page_is_well_formed() -> None:
    """Every element is closed in its turn."""
    entry = replace(ENTRY, history=history(60), advice=("keeper convert /srv/app.sqlite3",))

    assert Elements(page(entry)).of("h1")


def test_page_asks_for_nothing_from_elsewhere() -> None:
    """No link but within it, no image, no script, no font."""
    text = page(replace(ENTRY, history=history(60)))

    elements = Elements(text)
    assert not {"script", "img", "link", "iframe", "object"} & {tag for tag, _ in elements.found}
    assert all(str(link["href"]).startswith("#") for link in elements.of("a"))
    assert not re.search(r"url\(|@import|https?:", text)


def test_links_lead_to_a_section() -> None:
    """From the overview to each database."""
    elements = Elements(page(ENTRY, ENTRY))

    ids = {attributes["id"] for _, attributes in elements.found if "id" in attributes}
    assert {str(link["href"])[1:] for link in elements.of("a")} <= ids


@pytest.mark.parametrize("hostile", [HOSTILE, '" onmouseover="x', "</title></svg>", "&lt;"])
def test_names_show_as_text(hostile: str) -> None:
    """Of databases, paths, tables, reasons, advice and hosts."""
    table = TableSpace(hostile, "index", hostile, 4096, 0, 1, None)
    entry = replace(
        ENTRY,
        name=hostile,
        path=Path("/srv") / hostile,
        history=history(3),
        advice=(hostile,),
        tables=(table,),
    )
    failed = ReportEntry(hostile, Path(hostile), "failed", hostile, exit_code=1)

    elements = Elements(report_page([entry, failed], AT, hostile))

    assert not elements.of("script")
    assert not any("onmouseover" in attributes for _, attributes in elements.found)


def test_control_characters_are_spelt_out() -> None:
    """Among them those that turn the reading direction around."""
    text = page(replace(ENTRY, name="a\x1b\u202eb"))

    assert r"a\x1b\u202eb" in text


def test_failed_database_is_in_the_overview_with_its_reason() -> None:
    """It must not hide behind the others."""
    text = page(ENTRY, ReportEntry("gone", Path("/gone"), "failed", "no such file", exit_code=1))

    assert text.count("failed: no such file") == 2


def test_totals_are_of_what_could_be_measured() -> None:
    """With two or more databases."""
    failed = ReportEntry("gone", Path("/gone"), "failed", "no such file", exit_code=1)

    text = page(ENTRY, replace(ENTRY, bytes=2**20 * 3), failed)

    assert '<td role="cell" data-label="Size">4.0 MiB</td>' in text


@pytest.mark.parametrize(
    ("days", "words"),
    [(0.1, "less than a day"), (1.2, "1 day"), (812.4, "812 days"), (8e6, "over 10 years")],
)
def test_forecast_is_no_more_exact_than_it_can_be(days: float, words: str) -> None:
    """Eight million days say nothing to anybody."""
    assert f"<dt>Disk full in</dt><dd>{words}</dd>" in page(replace(ENTRY, days_to_full=days))


def test_free_pages_that_are_not_there_are_never_gone() -> None:
    """Where hourly vacuums have nothing left to do, no forecast is needed."""
    assert "Free pages gone in" not in page(replace(ENTRY, days_to_drained=0.0))
    assert "Free pages gone in" in page(replace(ENTRY, days_to_drained=0.1))


def test_every_heading_of_a_table_has_a_scope_and_every_table_a_caption() -> None:
    """For screen readers."""
    table = TableSpace("t", "table", "t", 4096, 0, 1, 5)
    elements = Elements(page(replace(ENTRY, history=history(9), tables=(table,))))

    assert all("scope" in heading for heading in elements.of("th"))
    assert len(elements.of("caption")) == len(elements.of("table")) == 3


def test_chart_is_told_in_words() -> None:
    """Start, end and peak."""
    text = size_chart("k", "app", points(1024, 4096, 2048))

    assert "the file went from 1.0 KiB to 2.0 KiB" in text
    assert "largest on 2026-11-24 03:00, with 4.0 KiB" in text


def test_chart_has_a_table_of_at_most_twelve_rows() -> None:
    """Newest first, the first and the last among them."""
    text = size_chart("k", "app", points(*range(1000, 1100)))

    rows = re.findall(r'<th scope="row">(\S+)', text)
    assert len(rows) == 12
    assert (rows[0], rows[-1]) == ("2027-03-02", "2026-11-23")


def test_axes_have_labels() -> None:
    """Round sizes on one, days on the other."""
    text = size_chart("k", "app", points(*(2**20 * i for i in range(61))))

    assert re.findall(r'bottom:[\d.]+%">([^<]+)<', text) == [
        "0", "20 MiB", "40 MiB", "60 MiB", "80 MiB",
    ]  # fmt: skip
    assert len(re.findall(r'left:[\d.]+%">\d+ [A-Z][a-z]{2}<', text)) in range(3, 6)


def test_one_measurement_makes_no_chart() -> None:
    """A line needs two."""
    assert "<svg" not in size_chart("k", "app", points(1024))


@given(
    st.lists(
        st.tuples(st.integers(0, 2**45), st.integers(0, 3650 * 86400)), min_size=2, max_size=30
    )
)
def test_any_history_stays_within_the_chart(samples: list[tuple[int, int]]) -> None:
    """Empty files, huge ones, a second or ten years."""
    made = sorted(
        (SizeAt(AT + timedelta(seconds=when), size, size // 3) for size, when in samples),
        key=lambda point: point.at,
    )

    text = size_chart("k", "app", made)

    for pair in re.findall(r"(-?[\d.]+),(-?[\d.]+)", " ".join(re.findall('points="(.*?)"', text))):
        assert 0 <= float(pair[0]) <= 1000
        assert 0 <= float(pair[1]) <= 300
    assert len(re.findall(r'bottom:[\d.]+%">', text)) <= 7
    assert len(re.findall(r'left:[\d.]+%">', text)) <= 7
