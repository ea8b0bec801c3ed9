"""The check of a database: integrity, row counts, schema."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import apsw

from sqlitekeeper.database.connection import (
    open_database,
    pragma_int,
    report_progress,
    scalar,
    sqlite_errors,
)
from sqlitekeeper.database.unknown_collations import stand_in_collations
from sqlitekeeper.errors import CheckError

CACHE_KIB = 8 * 1024
CheckKind = Literal["integrity", "quick", "none"]


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

    `unchecked` says, a sentence each, what only the application could look at.
    """

    bytes: int
    sha256: str
    kind: CheckKind
    foreign_key_violations: int | None
    tables: dict[str, int]
    schema_sha256: str
    shadow_tables: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()


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


def quoted(identifier: str) -> str:
    """An identifier as SQL text."""
    return '"' + identifier.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class Integrity:
    """What a check complains of, and what it could not look at; a sentence each."""

    problems: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()


def check_integrity(connection: apsw.Connection, kind: CheckKind, most: int = 5) -> Integrity:
    """Ask integrity_check or quick_check, which stop after `most` problems.

    quick_check does not compare indexes with their tables, see
    https://sqlite.org/pragma.html#pragma_quick_check. CHECK constraints are
    left to the application, as foreign keys are: they may call functions that
    only it has, and SQLite looks at them on a writable connection only.

    Where the schema uses a collation, a function or a tokenizer of the
    application's own, SQLite gives up on the whole database. The tables are
    then asked one by one, and those that it still gives up on with quick_check.
    """
    if kind == "none":
        return Integrity()
    ignored = connection.pragma("ignore_check_constraints")
    connection.pragma("ignore_check_constraints", 1)
    try:
        try:
            return Integrity(tuple(_complaints(connection, f"{kind}_check({most})")))
        except apsw.SQLError:
            return _check_tables(connection, kind, most)
    finally:
        connection.pragma("ignore_check_constraints", ignored)


def integrity_problems(connection: apsw.Connection, kind: CheckKind, most: int = 5) -> list[str]:
    """What integrity_check or quick_check complains of; empty when sound."""
    return list(check_integrity(connection, kind, most).problems)


def _complaints(connection: apsw.Connection, check: str) -> list[str]:
    rows = connection.execute(f"PRAGMA {check}").fetchall()
    return [str(row[0]) for row in rows if row[0] != "ok"]


def _check_tables(connection: apsw.Connection, kind: CheckKind, most: int) -> Integrity:
    names = connection.execute(
        "SELECT name FROM pragma_table_list"
        " WHERE schema = 'main' AND type IN ('table', 'shadow', 'virtual') ORDER BY name"
    ).fetchall()
    problems: list[str] = []
    unchecked: list[str] = []
    left: dict[str, str] = {}
    for (name,) in names:
        try:
            problems += _complaints(connection, f"{kind}_check({quoted(str(name))})")
        except apsw.SQLError as error:
            left[str(name)] = str(error)
    with stand_in_collations(connection):
        for name, cause in left.items():
            try:
                problems += _complaints(connection, f"quick_check({quoted(name)})")
            except apsw.SQLError:
                unchecked.append(f"the table {name} could not be checked ({cause})")
            else:
                text = f"the indexes of {name} could not be compared with it ({cause})"
                unchecked.append(text)
        try:
            # Pages that belong to nothing or to two things, and the free list.
            problems += _complaints(connection, f"quick_check({most})")
        except apsw.SQLError as error:
            unchecked.append(f"the use of pages could not be checked as a whole ({error})")
    return Integrity(tuple(dict.fromkeys(problems))[:most], tuple(unchecked))


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
