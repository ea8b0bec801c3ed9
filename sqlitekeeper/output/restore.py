"""Restores and drills on a terminal and in a log."""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlitekeeper.output.snapshots import time_text
from sqlitekeeper.output.terminal import Console
from sqlitekeeper.wording import size

if TYPE_CHECKING:
    from sqlitekeeper.restore.drill import DrillResult
    from sqlitekeeper.restore.restore import RestoreResult


def show_restore(console: Console, results: "Sequence[RestoreResult]") -> None:
    """What was restored, and how to undo it."""
    for r in results:
        if r.exit_code:
            continue
        what = r.object or "what was set aside before"
        console.line(f"{r.name}: restored {what} to {r.path}")
        console.remark(r)
        if r.damage:
            console.line(f"{r.name}: it is damaged, as was said: {r.damage}")
        if r.set_aside and not r.can_be_undone:
            kept = ", ".join(map(str, r.set_aside))
            console.line(f"{r.name}: what lay there without a database is kept as {kept}")
        elif r.set_aside:
            console.line(f"{r.name}: the database before is kept as {r.set_aside[0]}")
            console.line(
                f"{r.name}: to bring it back: keeper restore {shlex.quote(str(r.path))} --undo"
            )


def show_drill(console: Console, results: "Sequence[DrillResult]") -> None:
    """What was proven."""
    if console.is_terminal:
        headings = ("database", "outcome", "snapshot taken (UTC)", "size", "seconds", "destination")
        console.table(
            headings,
            [
                (
                    r.name,
                    r.outcome,
                    time_text(r.taken_at),
                    size(r.bytes),
                    f"{r.seconds:.1f}",
                    r.to or "",
                )
                for r in results
            ],
        )
        return
    for r in results:
        if r.outcome == "skipped":
            console.remark(r)
        elif r.outcome == "proven":
            console.line(
                f"{r.name}: proven: {r.object} at {r.to}, {size(r.bytes)} in {r.seconds:.1f} s:"
                " sha256, integrity, rows and foreign keys ok"
            )
