"""What keeper remembers of a database's size at one time."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """An earlier measurement; `at` is ISO 8601 UTC, sizes in bytes."""

    at: str
    bytes: int
    free_bytes: int
    wal_bytes: int
