"""How drills and the freshness of backups look."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlitekeeper.output.terminal import Console
from sqlitekeeper.wording import size, span

if TYPE_CHECKING:
    from sqlitekeeper.backups.drill import DrillResult
    from sqlitekeeper.backups.status import StatusEntry

NEVER = "never"


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
                    _time(r.taken_at),
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
            console.line(f"{r.name}: {r.reason}")
        elif r.outcome == "proven":
            console.line(
                f"{r.name}: proven: {r.object} at {r.to}, {size(r.bytes)} in {r.seconds:.1f} s:"
                " sha256, integrity, rows and foreign keys ok"
            )


def show_status(console: Console, results: "Sequence[StatusEntry]") -> None:
    """How fresh everything is; by host where there are several."""
    fleet = any(r.host is not None for r in results)
    if console.is_terminal:
        console.table(
            (
                *(["host"] if fleet else []),
                *("database", "outcome", "age", "snapshot (UTC)", "confirmed", "proven", "size"),
            ),
            [(*([r.host or ""] if fleet else []), *_cells(r)) for r in results],
        )
    for r in results:
        if r.exit_code:
            continue
        name = f"{r.host}/{r.name}" if r.host else r.name
        if not console.is_terminal and r.age_seconds is not None:
            console.line(
                f"{name}: {r.outcome}, {span(r.age_seconds)} old, {size(r.bytes)},"
                f" snapshot {_time(r.last_snapshot_at)}, confirmed {_time(r.last_confirmed_at)},"
                f" proven {_time(r.last_proven_at)}"
            )
        if r.reason:
            console.line(f"{name}: {r.reason}")


def _cells(r: "StatusEntry") -> tuple[str, ...]:
    return (
        r.name,
        r.outcome,
        "" if r.age_seconds is None else span(r.age_seconds),
        _time(r.last_snapshot_at),
        _time(r.last_confirmed_at),
        _time(r.last_proven_at),
        size(r.bytes),
    )


def _time(text: str | None) -> str:
    """A time in ISO 8601 UTC, to the minute."""
    return text[:16].replace("T", " ") if text else NEVER
