"""A report: a table that fits the terminal, one line for each database in a log."""

import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from sqlitekeeper.output.printable import shortened
from sqlitekeeper.output.terminal import Console
from sqlitekeeper.wording import counted, size, span

if TYPE_CHECKING:
    from sqlitekeeper.report.report import ReportEntry
    from sqlitekeeper.report.tables import TableSpace
    from sqlitekeeper.state.history import HistoryPoint

BLOCKS = "▁▂▃▄▅▆▇█"
LEAST_NAME = 8
_COMMAND = re.compile(r"\bkeeper (config show|[a-z]+(?: --[a-z-]+)?)")


def show_report(console: Console, results: "Sequence[ReportEntry]") -> None:
    """How large everything is, how it grows, and what to do about it."""
    done = [r for r in results if r.outcome == "done"]
    if console.is_terminal:
        width = shutil.get_terminal_size().columns
        headings, rows = _table(done, width, _sparks_can_be_shown())
        console.table(headings, rows, left=(0, len(headings) - 1))
    else:
        width = None
        for r in done:
            console.line(f"{r.name}: {_in_words(r)}")
    if len(done) > 1:
        _wrapped(console, _totals(done), width)
    for r in results:
        remarks = [r.reason] if r.reason and not r.exit_code else []
        for remark in (*remarks, *r.advice):
            _wrapped(console, f"{r.name}: {remark}", width)
    for r in done:
        if r.tables is not None:
            _show_tables(console, r, r.tables, width)


HEADINGS = ("database", "size", "free", "WAL", "per day", "history", "to do")
# What goes first where a terminal is too narrow for everything.
EXPENDABLE = ("history", "WAL", "per day")


def _table(
    entries: "Sequence[ReportEntry]", width: int, sparks: bool
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headings and rows that fit the terminal: names are shortened, columns left out if need be."""
    spare = max(0, width - 80)
    rows = [
        (
            r.name,
            short(size(r.bytes)),
            f"{short(size(r.reclaimable_bytes))} {r.reclaimable_percent:.0f}%",
            short(size(r.wal_bytes)),
            short(per_day(r.growth_bytes_per_day)),
            sparkline(r.history, r.bytes, 6 + spare // 4) if sparks else "",
            to_do(r),
        )
        for r in entries
    ]
    columns = list(zip(HEADINGS, *rows, strict=True))
    for heading in EXPENDABLE:
        if width - _width(columns[1:]) < LEAST_NAME:
            columns = [column for column in columns if column[0] != heading]
    room = max(LEAST_NAME, width - _width(columns[1:]))
    columns[0] = tuple(shortened(name, room) for name in columns[0])
    headings, *fitting = zip(*columns, strict=True)
    return headings, fitting


def _width(columns: Sequence[Sequence[str]]) -> int:
    """What columns take up beside the first one, gaps included."""
    return sum(2 + max(map(len, column)) for column in columns)


def _in_words(r: "ReportEntry") -> str:
    words = [
        f"size {size(r.bytes)}",
        f"free {size(r.reclaimable_bytes)} ({r.reclaimable_percent:.0f} %)",
        f"WAL {size(r.wal_bytes)}",
        f"journal {r.journal_mode}",
        f"auto_vacuum {r.auto_vacuum}",
    ]
    if r.growth_bytes_per_day is not None:
        words.append(f"growth {per_day(r.growth_bytes_per_day)} a day")
    return ", ".join(words)


def _totals(entries: "Sequence[ReportEntry]") -> str:
    whole = sum(r.bytes for r in entries)
    free = sum(r.reclaimable_bytes for r in entries)
    known = [r.growth_bytes_per_day for r in entries if r.growth_bytes_per_day is not None]
    words = [
        f"{counted(len(entries), 'database')}: {size(whole)}",
        f"{size(free)} free ({100 * free / whole if whole else 0:.0f} %)",
        f"WAL {size(sum(r.wal_bytes for r in entries))}",
    ]
    if known:
        words.append(f"{per_day(sum(known))} a day")
    soonest = min((r.days_to_full for r in entries if r.days_to_full is not None), default=None)
    if soonest is not None and soonest < 3650:
        words.append(f"disk full in {span(soonest * 86400)}")
    return ", ".join(words)


def _wrapped(console: Console, text: str, width: int | None) -> None:
    """A long line in several on a terminal, without breaking a path or an option."""
    if width is None:
        console.line(text)
        return
    for line in textwrap.wrap(
        text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    ):
        console.line(line)


def per_day(growth: float | None) -> str:
    """A growth with its sign, such as "+1.2 MiB"; "" where it is not known."""
    if growth is None:
        return ""
    whole = round(growth)
    return f"{'+' if whole > 0 else ''}{size(whole)}"


def short(text: str) -> str:
    """A size as it stands in a narrow table."""
    return text.replace(" Bytes", " B").replace(" Byte", " B")


def to_do(entry: "ReportEntry") -> str:
    """What to do in a word: the command of the most pressing advice, else how it goes."""
    if entry.advice:
        command = _COMMAND.search(entry.advice[0])
        return command[1] if command else "see below"
    return entry.trend or ""


def sparkline(history: "Sequence[HistoryPoint]", now_bytes: int, width: int) -> str:
    """The sizes of the past and now as `width` bars, the lowest for the smallest; "" without any.

    Each bar is a share of the measurements, not of the time.
    """
    sizes = [*(point.bytes for point in history), now_bytes]
    if len(sizes) < 2:
        return ""
    if len(sizes) > width:
        sizes = [sizes[(index + 1) * len(sizes) // width - 1] for index in range(width)]
    low, high = min(sizes), max(sizes)
    top = len(BLOCKS) - 1
    return "".join(BLOCKS[(one - low) * top // (high - low) if high > low else 0] for one in sizes)


def _sparks_can_be_shown() -> bool:
    try:
        BLOCKS.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _show_tables(
    console: Console, r: "ReportEntry", tables: "Sequence[TableSpace]", width: int | None
) -> None:
    """The tables of one database, each with its indexes and shadow tables, largest first."""
    grouped = groupby(sorted(tables, key=lambda t: t.table), key=lambda t: t.table)
    families = sorted(
        ((owner, list(members)) for owner, members in grouped),
        key=lambda family: (-sum(t.bytes for t in family[1]), family[0]),
    )
    rows = []
    for owner, members in families:
        own = [t for t in members if t.name == owner]
        parts = [t for t in members if t.name != owner]
        if parts:
            rows.append((owner, "with all", *_space(r, members, own)))
        rows += [(t.name, t.kind, *_space(r, [t], [t])) for t in own]
        rows += [(f"  {t.name}", t.kind, *_space(r, [t], [t])) for t in parts]
    free = r.reclaimable_bytes
    rows.append(("free pages", "", "", size(free), "", _share(free, r)))
    headings = (r.name, "kind", "rows", "size", "unused", "share")
    if width is None:
        for name, kind, *cells in rows:
            pairs = zip(headings[2:], cells, strict=True)
            said = ", ".join(f"{head} {cell}" for head, cell in pairs if cell)
            console.line(" ".join(filter(None, (f"{r.name}:", kind, f"{name.strip()}:", said))))
        return
    columns = list(zip(headings, *rows, strict=True))
    room = max(LEAST_NAME, width - _width(columns[1:]))
    console.line("")
    heading = (shortened(headings[0], room), *headings[1:])
    console.table(heading, [(shortened(row[0], room), *row[1:]) for row in rows], left=(0, 1))


def _space(
    r: "ReportEntry", spaces: "Sequence[TableSpace]", counted_in: "Sequence[TableSpace]"
) -> tuple[str, str, str, str]:
    """Rows, size, unused bytes and share of the file."""
    rows = [t.rows for t in counted_in if t.rows is not None]
    whole = sum(t.bytes for t in spaces)
    return (
        f"{sum(rows):,}" if rows else "",
        size(whole),
        size(sum(t.unused_bytes for t in spaces)),
        _share(whole, r),
    )


def _share(part: int, r: "ReportEntry") -> str:
    """Of all pages: some may not be in the file yet, but in the WAL."""
    whole = r.pages * (r.page_size or 0)
    return f"{100 * part / whole:.1f} %" if whole else ""
