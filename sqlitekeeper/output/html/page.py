"""A report as one HTML page that needs nothing else: no network, no script, no other file."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

from sqlitekeeper.output.html.chart import SizeAt, size_chart
from sqlitekeeper.output.html.style import STYLE
from sqlitekeeper.output.printable import printable
from sqlitekeeper.wording import counted, size

if TYPE_CHECKING:
    from sqlitekeeper.report.report import ReportEntry
    from sqlitekeeper.report.tables import TableSpace

# A browser that obeys it fetches and runs nothing, whatever should get into the page.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
MOST_TABLES = 40


def report_page(
    results: "Sequence[ReportEntry]",
    at: datetime,
    host: str,
) -> str:
    """The page of a report that was made at `at`."""
    title = _text(f"SQLite databases on {host}")
    sections = "\n".join(
        _section(f"database-{number}", entry, at) for number, entry in enumerate(results, 1)
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the databases</a>
<header>
<h1>{title}</h1>
<p class="soft">keeper report,
<time datetime="{at.astimezone(UTC).isoformat(timespec="seconds")}">\
{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC</time></p>
</header>
<main id="main">
{_overview(results)}
{sections}
</main>
</body>
</html>
"""


def _text(text: str) -> str:
    """Anybody's text, as HTML that shows it and does nothing else."""
    return escape(printable(text))


def _overview(results: "Sequence[ReportEntry]") -> str:
    rows = "\n".join(
        f'<tr role="row"><th role="rowheader" scope="row"><a href="#database-{number}">'
        f"{_text(entry.name)}</a></th>{_overview_cells(entry)}</tr>"
        for number, entry in enumerate(results, 1)
    )
    heads = ("Size", "Free", "WAL", "Growth a day")
    head = "".join(f'<th role="columnheader" scope="col">{text}</th>' for text in heads)
    done = [entry for entry in results if entry.outcome == "done"]
    free = sum(entry.reclaimable_bytes for entry in done)
    total = (
        _cell("Size", size(sum(entry.bytes for entry in done)))
        + _cell("Free", size(free))
        + _cell("WAL", size(sum(entry.wal_bytes for entry in done)))
        + _cell("Growth a day", "")
    )
    foot = f'<tr role="row"><th role="rowheader" scope="row">All</th>{total}</tr>'
    return f"""<section class="card" aria-labelledby="overview">
<h2 id="overview">Overview</h2>
<table class="stacked" role="table">
<caption>{counted(len(results), "database")}</caption>
<thead role="rowgroup"><tr role="row">\
<th role="columnheader" scope="col">Database</th>{head}\
<th role="columnheader" scope="col" class="words">To do</th></tr></thead>
<tbody role="rowgroup">
{rows}
</tbody>
{f'<tfoot role="rowgroup">{foot}</tfoot>' if len(done) > 1 else ""}
</table>
</section>"""


def _overview_cells(entry: "ReportEntry") -> str:
    if entry.outcome != "done":
        kind = "words bad" if entry.outcome == "failed" else "words"
        return (
            f'<td role="cell" class="{kind}" colspan="5">{entry.outcome}:'
            f" {_text(entry.reason or '')}</td>"
        )
    todo = counted(len(entry.advice), "hint") if entry.advice else "nothing"
    return (
        _cell("Size", size(entry.bytes))
        + _cell("Free", _free(entry))
        + _cell("WAL", size(entry.wal_bytes))
        + _cell("Growth a day", _growth(entry.growth_bytes_per_day))
        + _cell("To do", todo, "words")
    )


def _cell(label: str, text: str, kind: str = "") -> str:
    css = f' class="{kind}"' if kind else ""
    return f'<td role="cell"{css} data-label="{label}">{text}</td>'


def _free(entry: "ReportEntry") -> str:
    return f"{size(entry.reclaimable_bytes)} ({entry.reclaimable_percent:.0f} %)"


def _growth(per_day: float | None) -> str:
    if per_day is None:
        return "not known yet"
    amount = round(abs(per_day))
    return f"{'+' if per_day > 0 else '−'}{size(amount)}" if amount else "none"  # noqa: RUF001


def _section(key: str, entry: "ReportEntry", at: datetime) -> str:
    parts = [f'<h2 id="{key}">{_text(entry.name)}</h2>']
    parts.append(f'<p class="soft">{_text(str(entry.path))}</p>')
    if entry.outcome != "done":
        kind = "bad" if entry.outcome == "failed" else "none"
        parts.append(f'<p class="{kind}">{entry.outcome}: {_text(entry.reason or "")}</p>')
    else:
        parts += [_facts(entry), _advice(entry), _chart(key, entry, at)]
        if entry.tables is not None:
            parts.append(_tables(entry.tables, entry))
    body = "\n".join(filter(None, parts))
    return f'<section class="card" aria-labelledby="{key}">\n{body}\n</section>'


def _facts(entry: "ReportEntry") -> str:
    facts = [
        ("Size", size(entry.bytes)),
        ("Free", _free(entry)),
        ("WAL", size(entry.wal_bytes)),
        ("Pages", f"{entry.pages:,} of {size(entry.page_size or 0)}"),
        ("Journal", entry.journal_mode or ""),
        ("Auto-vacuum", entry.auto_vacuum or ""),
        ("Growth a day, file", _growth(entry.growth_bytes_per_day)),
        ("Growth a day, data", _growth(entry.live_growth_bytes_per_day)),
    ]
    if entry.days_to_drained:
        facts.append(("Free pages gone in", _days(entry.days_to_drained)))
    if entry.days_to_full is not None:
        facts.append(("Disk full in", _days(entry.days_to_full)))
    pairs = "".join(f"<div><dt>{name}</dt><dd>{_text(value)}</dd></div>" for name, value in facts)
    return f"<dl>{pairs}</dl>"


def _days(days: float) -> str:
    """A forecast; what is further away than ten years is no more than that."""
    if days > 3650:
        return "over 10 years"
    return counted(round(days), "day") if days >= 1 else "less than a day"


def _advice(entry: "ReportEntry") -> str:
    if not entry.advice:
        return ""
    items = "".join(f"<li>{_text(advice)}</li>" for advice in entry.advice)
    return f'<h3>What to do</h3>\n<ul class="advice" role="list">{items}</ul>'


def _chart(key: str, entry: "ReportEntry", at: datetime) -> str:
    points = [
        SizeAt(datetime.fromisoformat(point.at), point.bytes, point.bytes - point.free_bytes)
        for point in entry.history
    ]
    now = SizeAt(at, entry.bytes, entry.bytes - entry.reclaimable_bytes)
    if not points or points[-1].at < at:
        points.append(now)
    chart = size_chart(key, printable(entry.name), points)
    return f"<h3>History</h3>\n{chart}"


def _share(count: int, entry: "ReportEntry") -> str:
    # Some pages may not be in the file yet, but in the WAL.
    whole = entry.pages * (entry.page_size or 0)
    percent = 100 * count / whole if whole else 0.0
    return f"{percent:.1f} %" if percent >= 0.1 else "under 0.1 %"


def _tables(tables: "Sequence[TableSpace]", entry: "ReportEntry") -> str:
    ordered = sorted(tables, key=lambda table: -table.bytes)
    rows = "\n".join(_table_row(table, entry) for table in ordered[:MOST_TABLES])
    more = ordered[MOST_TABLES:]
    rest = (
        f'<p class="soft">And {len(more):,} smaller, together'
        f" {size(sum(table.bytes for table in more))}.</p>"
        if more
        else ""
    )
    heads = "".join(
        f'<th role="columnheader" scope="col">{text}</th>'
        for text in ("Size", "Share of the file", "Unused", "Rows")
    )
    return f"""<h3>Tables and indexes</h3>
<table class="stacked" role="table">
<caption>Largest first</caption>
<thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col">Name</th>\
{heads}</tr></thead>
<tbody role="rowgroup">
{rows}
</tbody>
</table>
{rest}"""


def _table_row(table: "TableSpace", entry: "ReportEntry") -> str:
    owner = f" on {table.table}" if table.table != table.name else ""
    what = _text(f"{table.kind}{owner}")
    share = _share(table.bytes, entry)
    width = round(100 * table.bytes / entry.bytes, 1) if entry.bytes else 0
    bar = f'<span class="bar" style="width:{width}%"></span>'
    return (
        f'<tr role="row"><th role="rowheader" scope="row">{_text(table.name)}'
        f' <span class="soft">{what}</span></th>'
        + _cell("Size", size(table.bytes))
        + _cell("Share of the file", share + bar)
        + _cell("Unused", size(table.unused_bytes))
        + _cell("Rows", "" if table.rows is None else f"{table.rows:,}")
        + "</tr>"
    )
