"""How each command's results look: a table on a terminal, one line for each in a log."""

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlitekeeper.output.terminal import Console
from sqlitekeeper.wording import counted, size

if TYPE_CHECKING:
    from sqlitekeeper.backups.restore import RestoreResult
    from sqlitekeeper.backups.results import BackupResult, BackupRun
    from sqlitekeeper.database.convert import ConvertResult
    from sqlitekeeper.database.create import InitResult
    from sqlitekeeper.database.vacuum import VacuumResult


def show_init(console: Console, results: "Sequence[InitResult]") -> None:
    """What was created."""
    for r in results:
        if not r.exit_code:
            settings = f"auto_vacuum {r.auto_vacuum}, journal_mode {r.journal_mode}"
            console.line(f"{r.path}: {r.outcome}, {settings}, page_size {r.page_size}")
            _remark(console, r.name, r.reason)


def show_convert(console: Console, results: "Sequence[ConvertResult]") -> None:
    """What was converted."""
    for r in results:
        if r.outcome == "already":
            console.line(f"{r.name}: auto_vacuum is {r.auto_vacuum_after} already, nothing to do")
        elif not r.exit_code:
            modes = f"{r.auto_vacuum_before} -> {r.auto_vacuum_after}"
            sizes = f"{size(r.bytes_before)} -> {size(r.bytes_after)}"
            console.line(
                f"{r.name}: auto_vacuum {modes}, {sizes} in {r.seconds:.1f} s,"
                " integrity ok, rows compared"
            )
            _remark(console, r.name, r.reason)


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
        _remark(console, r.name, r.reason, "skipped: " if skipped else "")


def show_backup(console: Console, results: "Sequence[BackupResult]") -> None:
    """What was shipped."""
    if console.is_terminal:
        console.table(
            ("database", "outcome", "snapshot", "check", "tables", "rows", "seconds"),
            [
                (
                    r.name,
                    r.outcome,
                    size(r.bytes),
                    r.check or "",
                    f"{len(r.tables):,}",
                    f"{sum(r.tables.values()):,}",
                    f"{r.seconds.snapshot + r.seconds.check + r.seconds.ship:.1f}",
                )
                for r in results
            ],
        )
    for r in results:
        if not r.exit_code:
            _remark(console, r.name, r.reason)


def show_backup_total(
    console: Console, results: "Sequence[BackupResult]", run: "BackupRun"
) -> None:
    """The last line of a backup run."""
    counts = [
        f"{sum(r.outcome == outcome for r in results)} {outcome}"
        for outcome in ("shipped", "unchanged", "skipped", "failed")
        if any(r.outcome == outcome for r in results)
    ]
    uploaded = sum(s.bytes for r in results for s in r.shipped if s.outcome == "uploaded")
    total = counted(len(results), "database")
    console.line(f"{total}: {', '.join(counts)}; {size(uploaded)} uploaded in {run.seconds:.1f} s")
    if run.api_calls:
        large = counted(run.uncounted_uploads, "large upload")
        but = f"; those of {large} are not counted" if run.uncounted_uploads else ""
        console.line(f"{_calls_text(run.api_calls)}{but}")


def _calls_text(calls: Mapping[str, int]) -> str:
    """How many calls of which kind: "4 API calls: 3 PUT, 1 LIST"."""
    kinds = sorted(calls.items(), key=lambda one: (-one[1], one[0]))
    said = ", ".join(f"{count:,} {kind}" for kind, count in kinds)
    return f"{counted(sum(calls.values()), 'API call')}: {said}"


def show_restore(console: Console, results: "Sequence[RestoreResult]") -> None:
    """What was restored, and how to undo it."""
    for r in results:
        if r.exit_code:
            continue
        what = r.object or "what was set aside before"
        console.line(f"{r.name}: restored {what} to {r.path}")
        _remark(console, r.name, r.reason)
        if r.set_aside and not r.can_be_undone:
            kept = ", ".join(map(str, r.set_aside))
            console.line(f"{r.name}: what lay there without a database is kept as {kept}")
        elif r.set_aside:
            console.line(f"{r.name}: the database before is kept as {r.set_aside[0]}")
            console.line(
                f"{r.name}: to bring it back: keeper restore {shlex.quote(str(r.path))} --undo"
            )


def _remark(console: Console, name: str, reason: str | None, prefix: str = "") -> None:
    if reason:
        console.line(f"{name}: {prefix}{reason}")


def _change(before: int, after: int) -> str:
    return size(after) if before == after else f"{size(before)} -> {size(after)}"
