"""Free pages given back to the file system, one short write transaction at a time."""

import time
from dataclasses import dataclass

import apsw

from sqlitekeeper.database.connection import pragma_int, wait_for_locks

FIRST_BATCH_PAGES = 64
# Below this a commit costs the same however few the pages: fewer would only mean more commits.
LEAST_BATCH_PAGES = 16
# The lock is aimed at this share of the limit: the commit's fsync can be slower than the last.
LOCK_TARGET = 0.7
# How long to wait for the application's own locks before calling the database busy.
WAIT_SECONDS = 5.0
# A freed page takes up to three frames of the WAL: itself, its parent and the pointer map. An
# application checkpoints at 1,000 frames by default, in a commit that somebody waits for
# (https://sqlite.org/pragma.html#pragma_wal_autocheckpoint): so few that it never has to.
MOST_BATCH_PAGES = 256


@dataclass(slots=True)
class WriteLocks:
    """The longest time a write lock was held, in seconds."""

    longest: float = 0.0

    def add(self, seconds: float) -> None:
        """Note a lock that has been given up."""
        self.longest = max(self.longest, seconds)


@dataclass(frozen=True, slots=True)
class Freed:
    """The pages that one transaction freed, and how long it took."""

    freed: int
    seconds: float


def free_batch(
    connection: apsw.Connection, pages: int, max_lock: float, locks: WriteLocks
) -> Freed:
    """Free up to `pages` pages in one write transaction.

    Stops early when the deadline comes: closing the cursor keeps what was
    freed so far, where an interrupt would roll it all back. The commit of a
    rollback-journal database waits for readers while new ones are kept out,
    so that wait is bounded too, and the batch is given up when it is over.
    """
    wait_for_locks(connection, WAIT_SECONDS)
    connection.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    try:
        wait_for_locks(connection, max_lock / 2)
        free_before = pragma_int(connection, "freelist_count")
        cursor = connection.execute(f"PRAGMA incremental_vacuum({pages})")
        stop_at = began + max_lock * LOCK_TARGET / 2
        # One page is freed each time the cursor is stepped.
        for _ in cursor:
            if time.monotonic() >= stop_at:
                break
        cursor.close()
        freed = free_before - pragma_int(connection, "freelist_count")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    finally:
        seconds = time.monotonic() - began
        locks.add(seconds)
    return Freed(freed, seconds)


def next_batch(batch: int, freed: int, seconds: float, max_lock: float) -> int:
    """How many pages to free in the next transaction, by what the last one took.

    Grows at most fourfold at a time, so that one lucky measurement does not
    lead to a long lock; shrinks at once, though not below what a commit costs
    anyway. (On a disk whose pages are slow, the deadline within a batch helps.)
    """
    affordable = int(freed * max_lock * LOCK_TARGET / max(seconds, 1e-6))
    return max(LEAST_BATCH_PAGES, min(affordable, 4 * batch, MOST_BATCH_PAGES))
