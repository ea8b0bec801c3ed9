"""The check of a database: integrity, row counts, schema."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import apsw

from sqlitekeeper.database.connection import (
    open_database,
    pragma_int,
    quoted,
    report_progress,
    scalar,
    sqlite_errors,
)
from sqlitekeeper.database.integrity import CheckKind, check_integrity, integrity_problems
from sqlitekeeper.database.remarks import Remark
from sqlitekeeper.database.stand_ins import stand_in_collations
from sqlitekeeper.errors import CheckError

CACHE_KIB = 8 * 1024
__all__ = ["CheckKind", "Checked", "check_integrity", "check_snapshot", "foreign_key_violations"]
__all__ += ["integrity_problems", "row_counts", "schema_sha256", "shadow_tables"]


def foreign_key_violations(connection: apsw.Connection) -> int | None:
    """The number of rows whose foreign key has no parent.

    None where SQLite cannot tell, because a foreign key refers to columns that
    are not unique in the parent table.
    """
    try:
        return sum(1 for _ in connection.execute("PRAGMA foreign_key_check"))
    except apsw.SQLError:
        return None


def schema_sha256(connection: apsw.Connection) -> str:
    """One hash for all of CREATE's words, in an order that does not depend on history."""
    select = "SELECT type, name, tbl_name, {} FROM sqlite_schema ORDER BY type, name, tbl_name"
    rows: list[tuple[object, ...]]
    try:
        rows = connection.execute(select.format("sql")).fetchall()
    except UnicodeDecodeError:
        # SQLite takes any bytes for text, as in a comment by a program that is not of our time.
        bytewise = connection.execute(select.format("CAST(sql AS BLOB)")).fetchall()
        rows = [
            (*names, sql.decode(errors="surrogateescape") if isinstance(sql, bytes) else sql)
            for *names, sql in bytewise
        ]
    return hashlib.sha256(json.dumps(rows, ensure_ascii=True).encode()).hexdigest()


def shadow_tables(connection: apsw.Connection) -> tuple[str, ...]:
    """The tables in which virtual ones (FTS5, R-Tree) keep what is theirs, by name."""
    rows = connection.execute(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow' ORDER BY name"
    ).fetchall()
    return tuple(str(name) for (name,) in rows)


@dataclass(frozen=True, slots=True)
class Checked:
    """What was measured and proven on a snapshot file. Sizes in bytes.

    `unchecked` says, a sentence each, what only the application could look at, `remarks`
    what SQLite's checks say that is no damage.
    """

    bytes: int
    sha256: str
    kind: CheckKind
    foreign_key_violations: int | None
    tables: dict[str, int]
    schema_sha256: str
    shadow_tables: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()

    @property
    def remarked(self) -> tuple[str, ...]:
        """All that is no damage, a text each, the same from day to day."""
        return (*(remark.text for remark in self.remarks), *self.unchecked)


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
    # One that may write, for SQLite to look at CHECK constraints too.
    with sqlite_errors(file), open_database(file, write=True) as connection:
        connection.pragma("query_only", 1)
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
            remarks=integrity.remarks,
        )


def row_counts(connection: apsw.Connection) -> dict[str, int]:
    """The rows of every table, by name; shadow tables stand for virtual ones.

    SQLite's own tables (sqlite_sequence, sqlite_stat1, ...) are left out.
    """
    names = connection.execute(
        "SELECT name FROM pragma_table_list"
        " WHERE schema = 'main' AND type IN ('table', 'shadow')"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    ).fetchall()
    with stand_in_collations(connection):
        return {
            str(name): scalar(connection, f"SELECT count(*) FROM {quoted(str(name))}")
            for (name,) in names
        }
