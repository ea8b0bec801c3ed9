"""Letting SQLite bring what lies beside a database into its one file."""

import os
from pathlib import Path

from sqlitekeeper.database.connection import open_database, sqlite_errors
from sqlitekeeper.database.exclusive import HINT
from sqlitekeeper.errors import BusyError, CheckError, NotADatabaseError


def try_to_settle(target: Path) -> tuple[int, int] | None:
    """Settle a database that was copied; None where it is too damaged for SQLite to do so."""
    try:
        return settle(target)
    except (CheckError, NotADatabaseError):
        return None


def settle(path: Path) -> tuple[int, int]:
    """Let SQLite bring the WAL or the hot journal of a database into its one file.

    Returns a fingerprint of the file, taken while nobody else could write.

    Raises:
        BusyError: somebody else has it open.
        CheckError: it is damaged.
    """
    with sqlite_errors(path), open_database(path, write=True, wait_seconds=0) as connection:
        # The lock then stays until the connection is closed.
        connection.pragma("locking_mode", "exclusive")
        connection.execute("BEGIN EXCLUSIVE; COMMIT").fetchall()
        if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]:
            raise BusyError(f"{path}: another process has it open", hint=HINT)
        return fingerprint(path.stat())


def fingerprint(facts: os.stat_result) -> tuple[int, int]:
    """What changes when somebody writes to a file: its size and time."""
    return facts.st_size, facts.st_mtime_ns
