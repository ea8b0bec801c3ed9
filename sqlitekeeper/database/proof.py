"""Proof that a database holds what it should: integrity, row counts, schema."""

import hashlib
import json
from typing import Literal

import apsw

from sqlitekeeper.database.connection import scalar

CheckKind = Literal["integrity", "quick", "none"]


def quoted(identifier: str) -> str:
    """An identifier as SQL text."""
    return '"' + identifier.replace('"', '""') + '"'


def integrity_problems(connection: apsw.Connection, kind: CheckKind, most: int = 5) -> list[str]:
    """What integrity_check or quick_check complains of; empty when sound.

    quick_check does not compare indexes with their tables, see
    https://sqlite.org/pragma.html#pragma_quick_check.
    """
    if kind == "none":
        return []
    rows = connection.execute(f"PRAGMA {kind}_check({most})").fetchall()
    return [str(row[0]) for row in rows if row[0] != "ok"]


def foreign_key_violations(connection: apsw.Connection) -> int | None:
    """The number of rows whose foreign key has no parent.

    None where SQLite cannot tell, because a foreign key refers to columns that
    are not unique in the parent table.
    """
    try:
        return sum(1 for _ in connection.execute("PRAGMA foreign_key_check"))
    except apsw.SQLError:
        return None


def row_counts(connection: apsw.Connection) -> dict[str, int]:
    """The rows of every table, by name; shadow tables stand for virtual ones.

    SQLite's own tables (sqlite_sequence, sqlite_stat1, ...) are left out.
    """
    names = connection.execute(
        "SELECT name FROM pragma_table_list"
        " WHERE schema = 'main' AND type IN ('table', 'shadow')"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    ).fetchall()
    return {
        str(name): scalar(connection, f"SELECT count(*) FROM {quoted(str(name))}")
        for (name,) in names
    }


def shadow_tables(connection: apsw.Connection) -> tuple[str, ...]:
    """The tables in which virtual ones (FTS5, R-Tree) keep what is theirs, by name."""
    rows = connection.execute(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow' ORDER BY name"
    ).fetchall()
    return tuple(str(name) for (name,) in rows)


def schema_sha256(connection: apsw.Connection) -> str:
    """One hash for all of CREATE's words, in an order that does not depend on history."""
    rows = connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name, tbl_name"
    ).fetchall()
    return hashlib.sha256(json.dumps(rows, ensure_ascii=True).encode()).hexdigest()
