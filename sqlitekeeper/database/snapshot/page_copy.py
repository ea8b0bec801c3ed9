"""A copy of a live database page by page, for what VACUUM INTO cannot copy.

VACUUM INTO builds every index anew, so it needs each collation and function
that the schema uses; those that an application defines for itself exist in
its own process only. A stand-in for them would build an index that is
silently wrong. Pages are copied as they are, and nothing is compared.
"""

import os
from collections.abc import Callable
from pathlib import Path

import apsw

from sqlitekeeper.database.checksums import has_checksums, renew_first_checksum
from sqlitekeeper.database.connection import harden, pragma_int

# Between two steps signals are heard and progress is told.
STEP_PAGES = 1024


def copy_pages(
    connection: apsw.Connection,
    target: Path,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Copy all pages of a database, free ones too, into the empty file `target`.

    They are those of one moment: a read transaction keeps SQLite's backup
    from starting over when somebody commits meanwhile. In WAL mode writers go
    on; with a rollback journal they wait, as they do for VACUUM INTO. The
    copy is in journal_mode delete, as VACUUM INTO leaves it. `tick` gets the
    pages done and all of them.

    Raises:
        apsw.Error: the database is locked or damaged, or the copy cannot be written.
    """
    copy = apsw.Connection(os.fspath(target), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        harden(copy)
        # Nobody relies on it before it is complete; who ships it hashes what was written.
        copy.pragma("synchronous", "off")
        with connection:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            with copy.backup("main", connection, "main") as backup:
                while not backup.done:
                    backup.step(STEP_PAGES)
                    tick(backup.page_count - backup.remaining, backup.page_count)
        copy.pragma("journal_mode", "delete")
    finally:
        copy.close()
    if has_checksums(connection):
        renew_first_checksum(target, pragma_int(connection, "page_size"))
