"""Results of init, convert and vacuum: a table on a terminal, one line for each in a log."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlitekeeper.output.terminal import Console
from sqlitekeeper.wording import counted, size

if TYPE_CHECKING:
    from sqlitekeeper.database.maintain.convert import ConvertResult
    from sqlitekeeper.database.maintain.create import InitResult
    from sqlitekeeper.database.maintain.vacuum import VacuumResult


def show_init(console: Console, results: "Sequence[InitResult]") -> None:
    """What was created."""
    for r in results:
        if not r.exit_code:
            settings = f"auto_vacuum {r.auto_vacuum}, journal_mode {r.journal_mode}"
            console.line(f"{r.path}: {r.outcome}, {settings}, page_size {r.page_size}")
            console.remark(r)


def show_convert(console: Console, results: "Sequence[ConvertResult]") -> None:
    """What was converted."""
    for r in results:
        if r.outcome == "already":
            console.line(f"{r.name}: auto_vacuum is {r.auto_vacuum_after} already, nothing to do")
        elif r.outcome == "skipped":
            console.remark(r)
        elif not r.exit_code:
            modes = f"{r.auto_vacuum_before} -> {r.auto_vacuum_after}"
            sizes = f"{size(r.bytes_before)} -> {size(r.bytes_after)}"
            console.line(
                f"{r.name}: auto_vacuum {modes}, {sizes} in {r.seconds:.1f} s,"
                " integrity ok, rows compared"
            )
            console.remark(r)


def show_vacuum(console: Console, results: "Sequence[VacuumResult]") -> None:
    """What was freed."""
    if console.is_terminal:
        headings = ("database", "outcome", "freed", "free left", "longest lock", "size", "WAL")
        console.table(
            headings,
            [
                (
                    r.name,
                    r.outcome,
                    f"{r.freed_pages:,} ({size(r.freed_bytes)})",
                    f"{r.free_pages_left:,}",
                    f"{r.longest_lock_ms:.1f} ms",
                    _change(r.bytes_before, r.bytes_after),
                    _change(r.wal_bytes_before, r.wal_bytes_after),
                )
                for r in results
            ],
        )
    for r in results:
        if r.exit_code:
            continue
        if r.outcome == "done" and not console.is_terminal:
            console.line(
                f"{r.name}: freed {counted(r.freed_pages, 'page')} ({size(r.freed_bytes)}),"
                f" {r.free_pages_left:,} left; size {_change(r.bytes_before, r.bytes_after)},"
                f" WAL {_change(r.wal_bytes_before, r.wal_bytes_after)},"
                f" longest lock {r.longest_lock_ms:.1f} ms"
            )
        skipped = r.outcome == "skipped" and not (r.reason or "").startswith("dry run")
        console.remark(r, "skipped: " if skipped else "")


def _change(before: int, after: int) -> str:
    return size(after) if before == after else f"{size(before)} -> {size(after)}"
