"""PRAGMA optimize beside an application: statistics for the query planner, in short tries."""

import time

import apsw

from sqlitekeeper.database.connection import wait_for_locks
from sqlitekeeper.workers import stop_if_asked

# Everything that plain `PRAGMA optimize` does, and 0x10000: also look at tables that this
# connection has not queried, which for keeper is all of them (https://sqlite.org/pragma.html).
OPTIMIZE = "PRAGMA optimize = 0x1fffe"
# Of its virtual machine between two looks at the clock: each may read pages from the disk.
STEPS = 1
TRIES = 20
GIVEN_UP = "PRAGMA optimize would have held the write lock for too long and was given up"
PAUSE_SECONDS = 0.02


def optimize(connection: apsw.Connection, max_lock_seconds: float) -> tuple[str | None, float]:
    """Run it, or say why not; and the longest that writers were held up, in seconds.

    Each try is rolled back when it takes longer than `max_lock_seconds`. What takes
    long is to read the samples from a disk, and whatever one try has read the next one
    has in memory, so it gets further (measured with 850 MB that were not cached: in one
    try 1.2 s and given up, in several at most 0.28 s and done).
    """
    began = longest = 0.0
    wait_for_locks(connection, max_lock_seconds)
    connection.set_progress_handler(lambda: time.monotonic() - began > max_lock_seconds, STEPS)
    try:
        for tries_left in reversed(range(TRIES)):
            began = time.monotonic()
            try:
                connection.execute(OPTIMIZE).fetchall()
                break
            except apsw.InterruptError:
                if not tries_left:
                    return GIVEN_UP, longest
            finally:
                seconds = time.monotonic() - began
                longest = max(longest, seconds)
            stop_if_asked()
            time.sleep(max(PAUSE_SECONDS, seconds))
    except apsw.BusyError:
        return "PRAGMA optimize found the database locked and was left out", longest
    except apsw.SQLError as error:
        return f"only the application can run PRAGMA optimize here ({error})", longest
    finally:
        connection.set_progress_handler(None)
    return None, longest
