"""Whether two databases hold the same: their schema, and every row with its rowid."""

from collections.abc import Iterable

import apsw

from sqlitekeeper.database.connection import quoted, scalar

_ROWIDS = ("rowid", "_rowid_", "oid")
_GENERATED = 2  # and not stored: https://sqlite.org/pragma.html#pragma_table_xinfo


def differences(connection: apsw.Connection, other: str) -> list[str]:
    """What differs between a connection's main database and another one attached to it.

    The names of tables, the shadow tables of virtual ones among them, or "the
    schema". Equal content under equal rowids gives equal answers to every query, also
    where a full-text index, an R-Tree or the application itself refers to rowids.

    Raises:
        apsw.SQLError: a table uses a collation that only the application has.
    """
    entries = "SELECT type, name, tbl_name, sql FROM {}.sqlite_schema"
    if not _same_set(connection, entries.format("main"), entries.format(other)):
        return ["the schema"]
    tables = connection.execute(
        "SELECT name, wr FROM pragma_table_list WHERE schema = 'main'"
        " AND type IN ('table', 'shadow') AND name <> 'sqlite_schema' ORDER BY name"
    ).fetchall()
    return [
        str(name) for name, wr in tables if not _same_rows(connection, str(name), bool(wr), other)
    ]


def _same_rows(connection: apsw.Connection, table: str, without_rowid: bool, other: str) -> bool:
    columns = connection.execute(
        "SELECT name, pk FROM pragma_table_xinfo(?, 'main') WHERE hidden <> ?", (table, _GENERATED)
    ).fetchall()
    names = [str(name) for name, _ in columns]
    here, there = (f"{schema}.{quoted(table)}" for schema in ("main", other))
    if without_rowid:
        keys = [quoted(str(name)) for name, pk in columns if pk]
    else:
        taken = {name.lower() for name in names}
        keys = [name for name in _ROWIDS if name not in taken][:1]
    counts = [scalar(connection, f"SELECT count(*) FROM {one}") for one in (here, there)]
    if counts[0] != counts[1]:
        return False
    if not keys:
        # Columns hide the rowid from everybody, the application too.
        values = f"SELECT {_listed(map(quoted, names))} FROM "
        return _same_set(connection, values + here, values + there)
    # Text is compared byte by byte, whatever the column's own collation takes for equal.
    values = _listed(f"a.{quoted(name)} COLLATE BINARY" for name in names)
    return counts[0] == scalar(
        connection,
        f"SELECT count(*) FROM {here} AS a CROSS JOIN {there} AS b"
        f" ON {' AND '.join(f'a.{key} = b.{key}' for key in keys)}"
        f" WHERE ({values}) IS ({_listed(f'b.{quoted(name)}' for name in names)})",
    )


def _listed(expressions: Iterable[str]) -> str:
    return ", ".join(expressions)


def _same_set(connection: apsw.Connection, one: str, other: str) -> bool:
    found = scalar(
        connection,
        f"SELECT EXISTS ({one} EXCEPT {other}) OR EXISTS ({other} EXCEPT {one})",
    )
    return not found
