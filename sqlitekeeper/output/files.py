"""How the sync of folders looks: a table on a terminal, one line for each in a log."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlitekeeper.output.terminal import Console
from sqlitekeeper.wording import counted, size

if TYPE_CHECKING:
    from sqlitekeeper.backups.files import FilesResult


def show_files(console: Console, results: "Sequence[FilesResult]") -> None:
    """What was synced."""
    if console.is_terminal:
        headings = (
            "files",
            "outcome",
            "in all",
            "size",
            "uploaded",
            "deleted",
            "SQLite",
            "seconds",
        )
        console.table(
            headings,
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
        if r.reason and not r.exit_code:
            console.line(f"{r.name}: {r.reason}")
