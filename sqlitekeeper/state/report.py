"""How large a database is now, what keeper remembers of it, and what to do about it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlitekeeper.database.measure import Measurement


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """An earlier measurement; `at` is ISO 8601 UTC, sizes in bytes."""

    at: str
    bytes: int
    free_bytes: int
    wal_bytes: int


@dataclass(frozen=True, slots=True)
class ReportEntry:
    """One database's counters. Sizes in bytes; None where nothing could be measured."""

    name: str
    path: Path
    outcome: Literal["done", "skipped", "failed"]
    reason: str | None = None
    bytes: int = 0
    page_size: int | None = None
    pages: int = 0
    free_pages: int = 0
    reclaimable_bytes: int = 0
    reclaimable_percent: float = 0.0
    wal_bytes: int = 0
    journal_mode: str | None = None
    auto_vacuum: str | None = None
    growth_bytes_per_day: float | None = None
    days_to_full: float | None = None
    history: tuple[HistoryPoint, ...] = ()
    advice: tuple[str, ...] = ()
    exit_code: int = 0


def report_entry(
    name: str, path: Path, found: Measurement, history: tuple[HistoryPoint, ...]
) -> ReportEntry:
    """Put a measurement and the memory of earlier ones together."""
    return ReportEntry(
        name=name,
        path=path,
        outcome="done",
        bytes=found.bytes,
        page_size=found.page_size,
        pages=found.pages,
        free_pages=found.free_pages,
        reclaimable_bytes=found.reclaimable_bytes,
        reclaimable_percent=found.reclaimable_percent,
        wal_bytes=found.wal_bytes,
        journal_mode=found.journal_mode,
        auto_vacuum=found.auto_vacuum,
        history=history,
        advice=tuple(advise(path, found)),
    )


def advise(path: Path, found: Measurement) -> list[str]:
    """What to do about a database, each with the command that does it.

    A free list alone is no fault: steady databases reuse it. Free pages that
    nothing can ever give back are, and so is a WAL larger than its database.
    """
    advice = []
    if found.auto_vacuum == "none" and found.pages:
        advice.append(f"the file can never shrink: keeper convert {path}")
    if found.wal_bytes > max(found.bytes, 16 * 2**20):
        advice.append(f"the WAL is larger than the database: keeper vacuum {path}")
    return advice
