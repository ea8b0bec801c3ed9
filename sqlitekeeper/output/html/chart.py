"""A chart of a database's size over time, as inline SVG with its labels and its numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape

from sqlitekeeper.wording import size

# The drawing's own units; it is stretched to whatever room there is.
WIDTH, HEIGHT = 1000, 300
MOST_ROWS = 12
STEPS_OF_DAYS = (1, 2, 5, 7, 14, 30, 61, 91, 183, 365, 730, 1826)
STEPS_OF_MINUTES = (1, 5, 15, 30, 60, 120, 180, 360, 720)


@dataclass(frozen=True, slots=True)
class SizeAt:
    """How large a file and the data in it were at a time, in bytes."""

    at: datetime
    file_bytes: int
    live_bytes: int


def size_chart(key: str, name: str, points: Sequence[SizeAt]) -> str:
    """A figure of file size and live data over time; `points` are oldest first.

    `key` makes the ids in it unique in the page. With fewer than two points,
    or none that are a second apart, it is a sentence.
    """
    if len(points) < 2 or (points[-1].at - points[0].at).total_seconds() < 1:
        return '<p class="none">No chart yet: it takes measurements of two runs.</p>'
    top = _ceiling(max(point.file_bytes for point in points))
    return f"""<figure>
<figcaption>Size over time
<span class="key"><span class="key-file"></span>file size</span>
<span class="key"><span class="key-live"></span>live data</span></figcaption>
<div class="plot">
<svg role="img" aria-labelledby="{key}-title {key}-desc" viewBox="0 0 {WIDTH} {HEIGHT}" \
preserveAspectRatio="none">
<title id="{key}-title">{escape(name)}: file size and live data over time</title>
<desc id="{key}-desc">{escape(_in_words(points))}</desc>
{_drawing(points, top)}
</svg>
{_size_labels(top)}
{_time_labels(points[0].at, points[-1].at)}
</div>
{_numbers(points)}
</figure>"""


def _in_words(points: Sequence[SizeAt]) -> str:
    first, last = points[0], points[-1]
    largest = max(points, key=lambda point: point.file_bytes)
    return (
        f"From {_minute(first.at)} to {_minute(last.at)} UTC the file went from"
        f" {size(first.file_bytes)} to {size(last.file_bytes)} and the live data in it from"
        f" {size(first.live_bytes)} to {size(last.live_bytes)}. The file was largest on"
        f" {_minute(largest.at)}, with {size(largest.file_bytes)}."
    )


def _drawing(points: Sequence[SizeAt], top: int) -> str:
    start = points[0].at
    span = (points[-1].at - start).total_seconds()

    def line(which: str) -> str:
        return " ".join(
            f"{WIDTH * (point.at - start).total_seconds() / span:.1f},"
            f"{HEIGHT * (1 - getattr(point, which) / top):.1f}"
            for point in points
        )

    grid = "".join(
        f'<path class="grid" d="M0 {HEIGHT * (1 - part):.1f}H{WIDTH}"/>' for part, _ in _ticks(top)
    )
    live = line("live_bytes")
    return (
        f'{grid}<polygon class="live-area" points="0,{HEIGHT} {live} {WIDTH},{HEIGHT}"/>'
        f'<polyline class="live-line" points="{live}"/>'
        f'<polyline class="file-line" points="{line("file_bytes")}"/>'
    )


def _step(largest: int) -> int:
    """A round number of KiB, MiB and so on, of which three to five make up `largest`."""
    unit: int = 1024 ** int(math.log(max(largest, 1), 1024))
    rough = largest / unit / 4
    power = 10.0 ** math.floor(math.log10(max(rough, 1 / unit)))
    factor = next(f for f in (1, 2, 2.5, 5, 10) if f * power >= rough * 0.999)
    return max(1, round(factor * power * unit))


def _ceiling(largest: int) -> int:
    """The value at the top of the chart: a whole number of steps, with room above the line."""
    step = _step(max(largest, 1))
    return step * (math.ceil(largest * 1.02 / step) or 1)


def _ticks(top: int) -> list[tuple[float, int]]:
    """The values to name on the vertical axis, each with its share of the height."""
    step = _step(top)
    return [(value / top, value) for value in range(0, top + 1, step)]


def _size_labels(top: int) -> str:
    labels = "".join(
        f'<span style="bottom:{100 * part:.2f}%">{_short(value)}</span>'
        for part, value in _ticks(top)
    )
    return f'<div class="sizes" aria-hidden="true">{labels}</div>'


def _short(value: int) -> str:
    """A round size without a needless ".0"; zero is a size too."""
    return size(value).replace(".0 ", " ") if value else "0"


def _time_labels(start: datetime, end: datetime) -> str:
    span = end - start
    labels = "".join(
        f'<span style="left:{100 * ((moment - start) / span):.2f}%">{text}</span>'
        for moment, text in _moments(start, end)
    )
    return f'<div class="times" aria-hidden="true">{labels}</div>'


def _moments(start: datetime, end: datetime) -> list[tuple[datetime, str]]:
    """Up to five round times between two others, with their texts."""
    days = (end - start).total_seconds() / 86400
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    if days > 3:
        step = timedelta(days=next((d for d in STEPS_OF_DAYS if days / d <= 5), days / 4))
        form = "%-d %b" if days < 300 else "%b %Y"
    else:
        minutes = days * 1440
        step = timedelta(minutes=next((m for m in STEPS_OF_MINUTES if minutes / m <= 5), 1440))
        form = "%H:%M" if days < 1 else "%-d %b %H:%M"
    first = midnight + step * math.ceil((start - midnight) / step)
    # What would stick out on the right is left out.
    last = end - (end - start) * 0.03
    found = [first + step * i for i in range(6) if first + step * i <= last]
    return [(moment, moment.strftime(form)) for moment in found or [start]]


def _numbers(points: Sequence[SizeAt]) -> str:
    """The same as a table, of a few points spread evenly."""
    last = len(points) - 1
    rows = min(MOST_ROWS, len(points))
    chosen = sorted({round(i * last / (rows - 1)) for i in range(rows)}, reverse=True)
    body = "".join(
        f'<tr><th scope="row">{_minute(points[i].at)}</th>'
        f"<td>{size(points[i].file_bytes)}</td><td>{size(points[i].live_bytes)}</td></tr>"
        for i in chosen
    )
    which = "" if rows == len(points) else f", {rows} of {len(points):,} measurements"
    return f"""<details><summary>The chart as a table</summary>
<table class="plain"><caption>File size and live data, newest first{which}</caption>
<thead><tr><th scope="col">Time (UTC)</th><th scope="col">File size</th>\
<th scope="col">Live data</th></tr></thead>
<tbody>{body}</tbody></table></details>"""


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
