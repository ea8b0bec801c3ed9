"""The size of a database and its free pages: counters, no scans."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import apsw

from sqlitekeeper.database.connection import (
    in_wal_mode,
    open_database,
    pragma_int,
    pragma_text,
    sqlite_errors,
)
from sqlitekeeper.database.files import sidecar, size_of

AutoVacuum = Literal["none", "full", "incremental"]
AUTO_VACUUM: tuple[AutoVacuum, ...] = ("none", "full", "incremental")


@dataclass(frozen=True, slots=True)
class Measurement:
    """Sizes in bytes; pages of `page_size` bytes each."""

    bytes: int
    page_size: int
    pages: int
    free_pages: int
    wal_bytes: int
    journal_mode: str
    auto_vacuum: AutoVacuum

    @property
    def reclaimable_bytes(self) -> int:
        """What the free pages take up."""
        return self.free_pages * self.page_size

    @property
    def reclaimable_percent(self) -> float:
        """The free pages' share of all pages, 0 to 100."""
        return round(100 * self.free_pages / self.pages, 1) if self.pages else 0.0

    @property
    def live_bytes(self) -> int:
        """What the pages in use take up: about the size of a snapshot."""
        return (self.pages - self.free_pages) * self.page_size


def read_measurement(connection: apsw.Connection, path: Path) -> Measurement:
    """Read the counters of an open database, all from one state of it."""
    with connection:
        pages = pragma_int(connection, "page_count")
        free_pages = pragma_int(connection, "freelist_count")
    return Measurement(
        bytes=size_of(path),
        page_size=pragma_int(connection, "page_size"),
        pages=pages,
        free_pages=free_pages,
        wal_bytes=size_of(sidecar(path, "-wal")),
        # What is read as immutable says "delete" of itself.
        journal_mode="wal" if in_wal_mode(connection) else pragma_text(connection, "journal_mode"),
        auto_vacuum=AUTO_VACUUM[pragma_int(connection, "auto_vacuum")],
    )


def measure(path: Path) -> Measurement:
    """Open a database read-only and read its counters.

    Raises:
        KeeperError: as `open_database`.
    """
    with sqlite_errors(path), open_database(path) as connection:
        return read_measurement(connection, path)
