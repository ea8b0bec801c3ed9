"""The result of a backup run, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sqlitekeeper.database.snapshot.snapshot import Source
from sqlitekeeper.result import Result

Outcome = Literal["uploaded", "unchanged", "failed"]


@dataclass(frozen=True, slots=True)
class Shipped:
    """One destination's copy of a snapshot; `object` is its path below `to`.

    `bytes` are those that are stored there.
    """

    to: str
    object: str | None
    outcome: Outcome
    bytes: int
    encoding: str = "plain"


@dataclass(frozen=True, slots=True)
class Seconds:
    """Where the time went."""

    snapshot: float = 0.0
    check: float = 0.0
    ship: float = 0.0


@dataclass(frozen=True, slots=True)
class BackupResult(Result):
    """One database's backup. `bytes` and `sha256` are the snapshot's.

    For `longest_lock_ms` the application could not commit: without WAL mode only.
    """

    path: Path
    outcome: Literal["shipped", "unchanged", "skipped", "failed"]
    bytes: int = 0
    sha256: str | None = None
    check: Literal["ok", "failed", "none"] | None = None
    check_remarks: tuple[str, ...] = ()
    foreign_key_violations: int | None = None
    tables: dict[str, int] = field(default_factory=dict)
    shipped: tuple[Shipped, ...] = ()
    seconds: Seconds = field(default_factory=Seconds)
    longest_lock_ms: float = 0.0

    @property
    def uploaded_bytes(self) -> int:
        """What was uploaded to all destinations together."""
        return sum(one.bytes for one in self.shipped if one.outcome == "uploaded")


@dataclass(frozen=True, slots=True)
class BackupRun:
    """All databases of a run, in the order they were given.

    `pruned` holds the objects that were deleted, below their destinations,
    `api_calls` what the run asked of providers, by kind: what they bill. Those of
    `uncounted_uploads`, which were large, are not among them. `sources` has what the
    databases were like, None for one that nobody has written to since its last snapshot.
    """

    databases: tuple[BackupResult, ...]
    uploaded_bytes: int
    seconds: float
    pruned: tuple[str, ...] = ()
    api_calls: dict[str, int] = field(default_factory=dict)
    uncounted_uploads: int = 0
    sources: Mapping[Path, Source | None] = field(default_factory=dict)
