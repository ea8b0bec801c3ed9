"""The rows that a database loses where a snapshot takes its place, counted in a short time."""

import time
from datetime import UTC, datetime
from pathlib import Path

from sqlitekeeper.diff.compare import TableDiff
from sqlitekeeper.diff.diff import TooLongError, compared
from sqlitekeeper.diff.sides import Side, copy_live
from sqlitekeeper.events import Event, Tick
from sqlitekeeper.filesystem.private_folder import staging_folder

# Somebody waits for the answer at a terminal.
SECONDS = 20.0


def replaced_rows(
    name: str, live: Path, snapshot: Path, staging: Path, seconds: float = SECONDS
) -> list[TableDiff]:
    """The tables that differ between the live database (here) and a snapshot's file (there).

    Raises:
        TooLongError: it could not be counted in `seconds`.
        KeeperError: one of the two cannot be read, or there is no room for a copy.
    """
    deadline = time.monotonic() + seconds
    now = datetime.now(UTC)

    def on_event(event: Event) -> None:
        if isinstance(event, Tick) and time.monotonic() > deadline:
            raise TooLongError(f"copying it took more than {seconds:.0f} s")

    with staging_folder(staging) as folder:
        here = copy_live(name, live, folder, now, on_event)
        there = Side("snapshot", snapshot, "", object=snapshot.name, to="")
        left = max(deadline - time.monotonic(), 0)
        with compared(name, here, there, seconds=left) as found:
            return [one for one in found.tables if one.differs]
