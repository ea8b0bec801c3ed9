"""Backups and synced folders on a terminal and in a log."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlitekeeper.output.terminal import Console
from sqlitekeeper.wording import counted, size, stored_text

if TYPE_CHECKING:
    from sqlitekeeper.backup.result import BackupResult, BackupRun
    from sqlitekeeper.files.run import FilesResult


def show_backup(console: Console, results: "Sequence[BackupResult]") -> None:
    """What was shipped."""
    if console.is_terminal:
        console.table(
            ("database", "outcome", "snapshot", "check", "tables", "rows", "seconds"),
            [
                (
                    r.name,
                    r.outcome,
                    _bulk(r),
                    r.check or "",
                    f"{len(r.tables):,}",
                    f"{sum(r.tables.values()):,}",
                    f"{r.seconds.snapshot + r.seconds.check + r.seconds.ship:.1f}",
                )
                for r in results
            ],
        )
    for r in results:
        console.remark(r)


def _bulk(r: "BackupResult") -> str:
    """How large a snapshot is, and what is stored of it: the most, where destinations differ."""
    if not r.shipped:
        return size(r.bytes)
    most = max(r.shipped, key=lambda one: one.bytes)
    return stored_text(r.bytes, most.bytes, most.encoding)


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


def show_files(console: Console, results: "Sequence[FilesResult]") -> None:
    """What was synced."""
    if console.is_terminal:
        console.table(
            ("files", "outcome", "in all", "size", "uploaded", "deleted", "SQLite", "seconds"),
            [
                (
                    r.name,
                    r.outcome,
                    f"{r.files:,}",
                    size(r.bytes),
                    f"{r.uploaded_files:,} ({size(r.uploaded_bytes)})",
                    f"{r.deleted_files:,}",
                    f"{len(r.left_out):,} left out",
                    f"{r.seconds:.1f}",
                )
                for r in results
            ],
        )
    for r in results:
        if r.outcome == "synced" and not console.is_terminal:
            databases = counted(len(r.left_out), "SQLite database")
            console.line(
                f"{r.name}: synced to {r.to}: {r.uploaded_files:,} of {counted(r.files, 'file')}"
                f" uploaded ({size(r.uploaded_bytes)} of {size(r.bytes)}), {r.deleted_files:,}"
                f" deleted, {databases} left out, in {r.seconds:.1f} s"
            )
        console.remark(r)
