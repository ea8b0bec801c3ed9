"""Proving a snapshot before anyone relies on it."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import apsw

from sqlitekeeper.backups.manifest import Checked
from sqlitekeeper.database.connection import (
    open_database,
    pragma_int,
    report_progress,
    sqlite_errors,
)
from sqlitekeeper.database.proof import (
    CheckKind,
    check_integrity,
    foreign_key_violations,
    row_counts,
    schema_sha256,
    shadow_tables,
)
from sqlitekeeper.errors import CheckError
from sqlitekeeper.workers import stop_if_asked

READ_BYTES = 2**20
CACHE_KIB = 8 * 1024


def sha256_of(file: Path) -> str:
    """The sha256 of a file of keeper's own (never of a live database), in hex."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(READ_BYTES))
    with file.open("rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            stop_if_asked()
            digest.update(buffer[:count])
    return digest.hexdigest()


def check_snapshot(
    file: Path, sha256: str, kind: CheckKind, tick: Callable[[int], None] = lambda done: None
) -> Checked:
    """Prove a snapshot file, and count what is in it.

    `tick` gets about how many of its bytes were read, every few milliseconds.

    Foreign-key violations are the application's own affair: counted, not an error.

    Raises:
        CheckError: the check complains.
    """
    size = file.stat().st_size
    with sqlite_errors(file), open_database(file) as connection:
        # An index is looked up for each row of its table. Mapping the file would
        # be quicker still, but then keeper appears to be as large as the database.
        connection.pragma("cache_size", -CACHE_KIB)
        page_size = pragma_int(connection, "page_size")

        def progress() -> None:
            pages, _ = connection.status(apsw.SQLITE_DBSTATUS_CACHE_MISS)
            tick(pages * page_size)

        report_progress(connection, progress)
        integrity = check_integrity(connection, kind)
        if integrity.problems:
            raise CheckError(
                f"the snapshot fails {kind}_check: {integrity.problems[0]}",
                hint="the database is damaged: restore a good snapshot, or salvage it",
            )
        return Checked(
            bytes=size,
            sha256=sha256,
            kind=kind,
            foreign_key_violations=foreign_key_violations(connection),
            tables=row_counts(connection),
            schema_sha256=schema_sha256(connection),
            shadow_tables=shadow_tables(connection),
            unchecked=integrity.unchecked,
        )
