"""The tables of an attached database: where their rows lie, their columns and their keys."""

import re
from dataclasses import dataclass
from typing import Literal

import apsw

from sqlitekeeper.database.connection import quoted
from sqlitekeeper.database.stand_ins import BUILT_IN

Schema = Literal["main", "there"]
_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# SQLite compares names without case, but only that of these letters.
_FOLD = str.maketrans(_UPPER, _UPPER.lower())
_MODULE = re.compile(r"\busing\s+[\"'`\[]?(\w+)", re.IGNORECASE)
_EXTERNAL = re.compile(r"[,(]\s*content\s*=\s*[\"'`\[]?([^\"'`\],)\s][^\"'`\],)]*)", re.IGNORECASE)
_FULL_TEXT = ("fts3", "fts4", "fts5")


def fold(name: str) -> str:
    """A name as SQLite compares it."""
    return name.translate(_FOLD)


@dataclass(frozen=True, slots=True)
class Column:
    """A column that is stored; `stored` is its name in the table that holds the rows."""

    name: str
    stored: str
    affinity: str = "BLOB"
    collation: str = "BINARY"
    not_null: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table that an application knows, and the table that holds its rows.

    They are two for a full-text table, whose rows are in a shadow table. `key` holds the
    primary key's columns; `rowid` a name for the rowid that no column has, None where there is
    none. `unreadable` says why the rows cannot be compared. `owner` is the virtual table that
    this may be a shadow of, where its module is not known here. `index` says that full-text
    search has its content elsewhere.
    """

    name: str
    source: str
    columns: tuple[Column, ...] = ()
    key: tuple[Column, ...] = ()
    rowid: str | None = None
    unreadable: str | None = None
    owner: str | None = None
    index: bool = False

    def in_schema(self, schema: Schema) -> str:
        """The table that holds the rows, as SQL text."""
        return f"{schema}.{quoted(self.source)}"

    @property
    def has_known_key(self) -> bool:
        """Whether SQLite can look rows up by the key: its collations are its own."""
        return bool(self.key) and all(one.collation.upper() in BUILT_IN for one in self.key)


def read_tables(connection: apsw.Connection, schema: Schema) -> dict[str, Table]:
    """The tables of a schema by folded name; shadow tables and SQLite's own are left out."""
    rows = connection.execute(
        "SELECT l.name, l.type, l.wr, l.strict, s.sql FROM pragma_table_list AS l"
        f" JOIN {schema}.sqlite_schema AS s ON s.name = l.name AND s.type = 'table'"
        " WHERE l.schema = ? AND l.type IN ('table', 'virtual')"
        " AND l.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY l.name",
        (schema,),
    ).fetchall()
    unknown = [
        str(name)
        for name, kind, *_, sql in rows
        if kind == "virtual" and not _is_known(connection, schema, str(name), str(sql))
    ]
    found: dict[str, Table] = {}
    for name, kind, without_rowid, strict, sql in rows:
        if kind == "virtual":
            table = _virtual(connection, schema, str(name), str(sql), str(name) in unknown)
        else:
            table = _plain(connection, schema, str(name), bool(without_rowid), bool(strict))
            owner = next((v for v in unknown if table.name.startswith(f"{v}_")), None)
            table = _owned(table, owner) if owner else table
        found[fold(table.name)] = table
    return found


def _owned(table: Table, owner: str) -> Table:
    return Table(table.name, table.source, table.columns, table.key, table.rowid, None, owner)


def _is_known(connection: apsw.Connection, schema: Schema, name: str, sql: str) -> bool:
    """Whether a virtual table's module is there, and its tokenizer, which a search asks for."""
    match = _MODULE.search(sql)
    search = f"WHERE {quoted(name)} MATCH 'a'" if match and fold(match[1]) == "fts5" else ""
    try:
        connection.execute(f"SELECT 1 FROM {schema}.{quoted(name)} {search} LIMIT 1").fetchall()
    except apsw.Error:
        return False
    return True


def _plain(
    connection: apsw.Connection, schema: Schema, name: str, without_rowid: bool, strict: bool
) -> Table:
    columns, positions = [], {}
    names = set()
    info = connection.execute(
        'SELECT name, type, "notnull", pk, hidden FROM pragma_table_xinfo(?, ?)', (name, schema)
    ).fetchall()
    for column, declared, not_null, position, hidden in info:
        names.add(fold(str(column)))
        if hidden:
            # Generated ones follow from the others.
            continue
        _, collation, *_ = connection.column_metadata(schema, name, str(column))
        one = Column(
            str(column),
            str(column),
            _affinity(str(declared), strict),
            collation or "BINARY",
            bool(not_null),
        )
        columns.append(one)
        if position:
            positions[int(str(position))] = one
    key = tuple(positions[i] for i in sorted(positions))
    free = [one for one in ("rowid", "_rowid_", "oid") if one not in names]
    if len(key) == 1 and not without_rowid and _is_rowid(connection, schema, name):
        # It is never NULL, whatever is declared.
        key = (Column(key[0].name, key[0].stored, "INTEGER", "BINARY", True),)
    return Table(name, name, tuple(columns), key, None if without_rowid or not free else free[0])


def _is_rowid(connection: apsw.Connection, schema: Schema, name: str) -> bool:
    """Whether a table's primary key is its rowid: it needs no index then."""
    query = "SELECT 1 FROM pragma_index_list(?, ?) WHERE origin = 'pk'"
    return not connection.execute(query, (name, schema)).fetchall()


def _affinity(declared: str, strict: bool) -> str:
    """See https://sqlite.org/datatype3.html#determination_of_column_affinity."""
    text = declared.upper()
    if "INT" in text:
        return "INTEGER"
    if any(word in text for word in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if not text or "BLOB" in text or (strict and text == "ANY"):
        return "BLOB"
    if any(word in text for word in ("REAL", "FLOA", "DOUB")):
        return "REAL"
    return "NUMERIC"


def _virtual(
    connection: apsw.Connection, schema: Schema, name: str, sql: str, unknown: bool
) -> Table:
    """A virtual table whose rows lie in it or in its content table; or why they do not."""
    match = _MODULE.search(sql)
    module = fold(match[1]) if match else "?"
    shown = (
        connection.execute(
            "SELECT name FROM pragma_table_xinfo(?, ?) WHERE hidden = 0", (name, schema)
        ).fetchall()
        if not unknown
        else []
    )
    names = [str(column) for (column,) in shown]
    content = _content(connection, schema, name) if module in _FULL_TEXT else []
    if content:
        if unknown:
            # Its tokenizer is the application's own; the names are not known without it.
            names = [column[len(f"c{i}") :] or column for i, column in enumerate(content[1:])]
        stored = content[1 : len(names) + 1]
        if "compress" in fold(sql) or not all(
            column.startswith(f"c{i}") for i, column in enumerate(stored)
        ):
            return Table(name, name, unreadable=f"{module} keeps its content in a way of its own")
        key = Column("rowid", content[0], "INTEGER", not_null=True)
        columns = [Column(n, s) for n, s in zip(names, stored, strict=False)]
        return Table(
            name,
            f"{name}_content",
            (key, *columns),
            (key,),
            "rowid",
            owner=name if unknown else None,
        )
    if module in _FULL_TEXT:
        found = _EXTERNAL.search(sql)
        where = f"its content is the table {found[1]}" if found else "it keeps no content"
        return Table(name, name, unreadable=where, index=bool(found) and not unknown)
    if unknown:
        return Table(name, name, unreadable=f"its module {module} is not known here")
    if module in ("rtree", "rtree_i32"):
        key = Column(names[0], names[0], "INTEGER", not_null=True)
        return Table(name, name, (key, *(Column(n, n) for n in names[1:])), (key,), names[0])
    if module == "geopoly":
        key = Column("rowid", "rowid", "INTEGER", not_null=True)
        return Table(name, name, (key, *(Column(n, n) for n in names)), (key,), "rowid")
    return Table(name, name, unreadable=f"{module} has no rows of its own")


def _content(connection: apsw.Connection, schema: Schema, name: str) -> list[str]:
    """The columns of the shadow table that holds a full-text table's own content."""
    rows = connection.execute(
        "SELECT name FROM pragma_table_xinfo(?, ?)", (f"{name}_content", schema)
    ).fetchall()
    return [str(column) for (column,) in rows]


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """Something of the schema that one side has, or has otherwise; None where it has not."""

    type: str
    name: str
    table: str
    change: Literal["only_here", "only_there", "changed"]
    here: str | None
    there: str | None


def schema_changes(connection: apsw.Connection) -> list[SchemaChange]:
    """Tables, indexes, triggers and views that differ, and the columns of tables in both."""
    here, there = _objects(connection, "main"), _objects(connection, "there")
    changes = _changes(here, there)
    for kind, name in sorted(here.keys() & there.keys()):
        if kind == "table" and here[kind, name][2] != there[kind, name][2]:
            table = here[kind, name][0]
            changes += _changes(
                _columns(connection, "main", table),
                _columns(connection, "there", there[kind, name][0]),
            )
    return changes


_Objects = dict[tuple[str, str], tuple[str, str, str | None]]


def _changes(here: _Objects, there: _Objects) -> list[SchemaChange]:
    """Each is a name, its table, and what defines it; by kind and folded name."""
    found = []
    for key in sorted(here.keys() | there.keys()):
        one, other = here.get(key), there.get(key)
        ours, theirs = (side[2] if side else None for side in (one, other))
        name, table, _ = one or other or ("", "", None)
        if one is None:
            found.append(SchemaChange(key[0], name, table, "only_there", None, theirs))
        elif other is None:
            found.append(SchemaChange(key[0], name, table, "only_here", ours, None))
        elif ours != theirs:
            found.append(SchemaChange(key[0], name, table, "changed", ours, theirs))
    return found


def _objects(connection: apsw.Connection, schema: Schema) -> _Objects:
    rows = connection.execute(
        f"SELECT type, name, tbl_name, CAST(sql AS BLOB) FROM {schema}.sqlite_schema"
        " WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND tbl_name NOT IN"
        " (SELECT name FROM pragma_table_list WHERE schema = ? AND type = 'shadow')",
        (schema,),
    ).fetchall()
    codec = text_codec(connection)
    return {
        (str(kind), fold(str(name))): (
            str(name),
            str(table),
            sql.decode(codec, "backslashreplace") if isinstance(sql, bytes) else None,
        )
        for kind, name, table, sql in rows
    }


def _columns(connection: apsw.Connection, schema: Schema, table: str) -> _Objects:
    try:
        rows = connection.execute(
            'SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?, ?)'
            " WHERE hidden <> 1",
            (table, schema),
        ).fetchall()
    except apsw.Error:
        # A virtual table whose module is not known.
        return {}
    found: _Objects = {}
    for name, declared, not_null, default, position, hidden in rows:
        words = [
            str(declared),
            "NOT NULL" if not_null else "",
            f"DEFAULT {default}" if default is not None else "",
            "PRIMARY KEY" if position else "",
            "GENERATED" if hidden else "",
        ]
        found["column", fold(str(name))] = (str(name), table, " ".join(filter(None, words)))
    return found


def text_codec(connection: apsw.Connection) -> str:
    """Python's name for the encoding of a database's text; all that are attached share it."""
    name = str(connection.pragma("encoding")).lower()
    return {"utf-16le": "utf-16-le", "utf-16be": "utf-16-be"}.get(name, "utf-8")
