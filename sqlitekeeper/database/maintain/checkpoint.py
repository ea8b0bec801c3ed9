"""Checkpoints that hold nobody up for long, or, on request, nobody at all."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import apsw

from sqlitekeeper.database.connection import pragma_int
from sqlitekeeper.database.processes import wal_readers
from sqlitekeeper.errors import KeeperError

# "passive" never takes the writer's lock: an application without a busy timeout has no error.
CheckpointMode: TypeAlias = Literal["truncate", "passive", "none"]

TRUNCATE_TRIES = 5
PAUSE_SECONDS = 0.05
# What may be copied while writers wait; SQLite's own automatic checkpoint copies as much.
MOST_LEFT_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What SQLite says of a checkpoint: -1 frames outside WAL mode."""

    busy: bool
    log_frames: int
    checkpointed_frames: int


def _run(connection: apsw.Connection, mode: str) -> Checkpoint:
    # The pragma returns "busy"; Connection.wal_checkpoint raises it.
    try:
        row = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()[0]
    except apsw.BusyError:
        return Checkpoint(True, -1, -1)
    busy, log_frames, checkpointed_frames = row
    if not isinstance(log_frames, int) or not isinstance(checkpointed_frames, int):
        raise KeeperError(f"PRAGMA wal_checkpoint({mode}) gave {row!r}")
    return Checkpoint(bool(busy), log_frames, checkpointed_frames)


def checkpoint_mode(asked: CheckpointMode | bool) -> CheckpointMode:
    """The mode that is meant, also by those who know of no other than yes and no."""
    if isinstance(asked, str):
        return asked
    return "truncate" if asked else "none"


def checkpoint_passive(connection: apsw.Connection) -> Checkpoint:
    """Copy what can be copied without waiting for anyone."""
    return _run(connection, "PASSIVE")


def checkpoint_truncate(
    connection: apsw.Connection, max_lock_seconds: float
) -> tuple[Checkpoint, float]:
    """Copy the whole WAL and truncate it to 0 bytes, if no reader is in the way.

    A TRUNCATE checkpoint blocks writers while it waits for readers, and while
    it then copies all that these had kept from being copied. So the bulk is
    copied by a PASSIVE one before, each of a few tries waits for a part of
    `max_lock_seconds` only, and none is made while readers hold more than
    MOST_LEFT_BYTES. Leaves the connection with a busy timeout of 0.

    Returns the last try's result, and the longest try in seconds: an upper
    bound for how long a writer was held up.
    """
    longest = 0.0
    result = checkpoint_passive(connection)
    most_frames = MOST_LEFT_BYTES // pragma_int(connection, "page_size")
    # SQLite waits up to the timeout for each of: the writer's lock, the readers.
    connection.set_busy_timeout(max(1, int(max_lock_seconds * 1000 / 4)))
    try:
        for attempt in range(TRUNCATE_TRIES):
            if attempt:
                time.sleep(PAUSE_SECONDS)
                result = checkpoint_passive(connection)
            left = result.log_frames - result.checkpointed_frames
            if result.busy or left > most_frames:
                result = replace(result, busy=True)
                continue
            began = time.monotonic()
            result = _run(connection, "TRUNCATE")
            longest = max(longest, time.monotonic() - began)
            if not result.busy:
                break
    finally:
        connection.set_busy_timeout(0)
    return result, longest


def pinned(path: Path, result: Checkpoint) -> str | None:
    """Who keeps the WAL from being emptied, or the rest of it from being copied, if anybody."""
    in_part = 0 <= result.checkpointed_frames < result.log_frames
    if not (result.busy or in_part):
        return None
    readers = wal_readers(path)
    who = ", ".join(map(str, readers)) if readers else "a reader"
    failed = "truncated" if result.busy else "copied as a whole"
    return f"the WAL could not be {failed}: {who} holds it in a read transaction"
