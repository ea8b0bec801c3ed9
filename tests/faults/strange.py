"""Sound databases that are unlike others: each kind by name, and how it is made."""

import struct
from collections.abc import Callable
from pathlib import Path

import apsw

Make = Callable[[apsw.Connection], None]


def _sql(*statements: str) -> Make:
    def make(connection: apsw.Connection) -> None:
        for statement in statements:
            connection.execute(statement).fetchall()

    return make


def _application(*statements: str) -> Make:
    """With what the application defines for itself: a collation, a function."""

    def make(connection: apsw.Connection) -> None:
        connection.create_collation("people", _by_length)
        connection.create_scalar_function("slug", _slug, 1, deterministic=True)
        _sql(*statements, "INSERT INTO t (a) VALUES ('b10'), ('b9'), ('A'), ('zz')")(connection)

    return make


def _by_length(one: str, other: str) -> int:
    return (len(one), one) > (len(other), other) or -((len(one), one) < (len(other), other))


def _slug(*values: "apsw.SQLiteValue") -> str:
    return str(values[0]).lower()


def _forged(*rows: tuple[str, str, str, int, str]) -> Make:
    """With rows in its schema that no CREATE here could make."""

    def make(connection: apsw.Connection) -> None:
        connection.execute("CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)").fetchall()
        connection.pragma("writable_schema", "on")
        connection.executemany("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", rows)

    return make


def _unknown_tokenizer(connection: apsw.Connection) -> None:
    _sql("CREATE TABLE t (a); INSERT INTO t VALUES ('x')")(connection)
    _sql("CREATE VIRTUAL TABLE f USING fts5 (a); INSERT INTO f VALUES ('some words')")(connection)
    connection.pragma("writable_schema", "on")
    sql = "CREATE VIRTUAL TABLE f USING fts5 (a, tokenize = ''simple'')"
    _sql(f"UPDATE sqlite_schema SET sql = '{sql}' WHERE name = 'f'")(connection)


def _many_tables(connection: apsw.Connection) -> None:
    with connection:
        for number in range(2000):
            connection.execute(f"CREATE TABLE t{number} (a); INSERT INTO t{number} VALUES (1)")


def _reserved(count: int) -> Make:
    def make(connection: apsw.Connection) -> None:
        connection.reserve_bytes(reserve=count)
        _sql("CREATE TABLE t (a, b UNIQUE)", "INSERT INTO t VALUES (1, 2), (3, 4)")(connection)

    return make


ODD_NAMES = (
    *('a""b', "a'b", "a\nb\tc", "", " ", "5", "sqlitestat1", "SQLITE-x", "sqlite\u0131_stat1"),
    *("select", "[x]", "x;--", "ü😀", "\x1b[31m"),
)

SOUND: dict[str, Make] = {
    "utf16le": _sql(
        "PRAGMA encoding = 'UTF-16le'", "CREATE TABLE tä (ö)", "INSERT INTO tä VALUES ('ü😀')"
    ),
    "utf16be": _sql(
        "PRAGMA encoding = 'UTF-16be'", "CREATE TABLE tä (ö)", "INSERT INTO tä VALUES ('ü😀')"
    ),
    "pages_64k": _sql(
        "PRAGMA page_size = 65536", "CREATE TABLE t (a)", "INSERT INTO t VALUES (zeroblob(200000))"
    ),
    "pages_512": _sql(
        "PRAGMA page_size = 512", "CREATE TABLE t (a)", "INSERT INTO t VALUES (zeroblob(200000))"
    ),
    "without_rowid": _sql(
        "CREATE TABLE t (a, b, PRIMARY KEY (b, a)) WITHOUT ROWID",
        "INSERT INTO t VALUES (1, 2), (2, 1)",
    ),
    "strict": _sql(
        "CREATE TABLE t (a INT, b TEXT, c ANY) STRICT", "INSERT INTO t VALUES (1, '2', x'03')"
    ),
    "generated": _sql(
        "CREATE TABLE t (a, b AS (a * 2) VIRTUAL, c AS (a || 'x') STORED UNIQUE)",
        "INSERT INTO t VALUES (1), (2)",
    ),
    "indexes": _sql(
        "CREATE TABLE t (a, b)",
        "CREATE INDEX p ON t (a) WHERE b > 1",
        "CREATE INDEX e ON t (lower(a) COLLATE NOCASE DESC)",
        "INSERT INTO t VALUES ('A', 1), ('b', 2)",
    ),
    "fts5_external": _sql(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a)",
        "CREATE VIRTUAL TABLE f USING fts5 (a, content = t, content_rowid = id)",
        "INSERT INTO t VALUES (1, 'one'), (2, 'two')",
        "INSERT INTO f (f) VALUES ('rebuild')",
    ),
    "fts5_contentless": _sql(
        "CREATE VIRTUAL TABLE f USING fts5 (a, content = '')",
        "INSERT INTO f (rowid, a) VALUES (1, 'one')",
    ),
    "rtree": _sql(
        "CREATE VIRTUAL TABLE r USING rtree (id, x0, x1)",
        "INSERT INTO r VALUES (1, 0, 1), (2, 1, 2)",
    ),
    "unknown_module": _forged(("table", "v", "v", 0, "CREATE VIRTUAL TABLE v USING vec0 (x)")),
    "unknown_tokenizer": _unknown_tokenizer,
    "unknown_function_in_view": _application(
        "CREATE TABLE t (a)", "CREATE VIEW v AS SELECT slug(a) FROM t"
    ),
    "unknown_function_in_trigger": _application(
        "CREATE TABLE t (a)", "CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT slug(new.a); END"
    ),
    "unknown_function_in_default": _application("CREATE TABLE t (a, b DEFAULT (slug('B')))"),
    "unknown_function_in_check": _application("CREATE TABLE t (a CHECK (slug(a) <> 'q'))"),
    "unknown_function_in_index": _application(
        "CREATE TABLE t (a)", "CREATE INDEX i ON t (slug(a))"
    ),
    "unknown_function_in_partial_index": _application(
        "CREATE TABLE t (a)", "CREATE INDEX i ON t (a) WHERE slug(a) = 'a'"
    ),
    "unknown_function_in_generated": _application(
        "CREATE TABLE t (a, b AS (slug(a)), c AS (slug(a)) STORED)"
    ),
    "unknown_collation_in_column": _application("CREATE TABLE t (a COLLATE people)"),
    "unknown_collation_in_index": _application(
        "CREATE TABLE t (a)", "CREATE INDEX i ON t (a COLLATE people)"
    ),
    "unknown_collation_in_unique": _application("CREATE TABLE t (a COLLATE people UNIQUE)"),
    "unknown_collation_in_key": _application(
        "CREATE TABLE t (a COLLATE people PRIMARY KEY) WITHOUT ROWID"
    ),
    "two_thousand_tables": _many_tables,
    "names": _sql(
        *(f'CREATE TABLE "{name}" (x); INSERT INTO "{name}" VALUES (1)' for name in ODD_NAMES)
    ),
    "statistics": _sql(
        "CREATE TABLE t (a UNIQUE)",
        "INSERT INTO t VALUES (1), (2)",
        "ANALYZE",
        "DROP TABLE IF EXISTS sqlite_stat4",
    ),
    "reserved_bytes": _reserved(32),
    "checksums": _reserved(8),
    "wide_row": _sql("CREATE TABLE t (a)", "INSERT INTO t VALUES (zeroblob(5000000))"),
    "many_columns": _sql(
        f"CREATE TABLE t ({', '.join(f'c{n}' for n in range(1999))})",
        "INSERT INTO t (c1998) VALUES (1)",
    ),
    "oldest_format": _sql(
        "PRAGMA legacy_file_format = on", "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)"
    ),
    "no_tables": _sql("PRAGMA user_version = 7"),
    "broken_constraints": _sql(
        "PRAGMA ignore_check_constraints = on",
        "CREATE TABLE t (a CHECK (a > 0))",
        "INSERT INTO t VALUES (-1)",
    ),
}


class _ChecksumFile(apsw.VFSFile):
    """A database file whose pages get a checksum, and are refused without the right one."""

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        data = super().xRead(amount, offset)
        if amount == 4096 and data[-8:] != _checksum(data[:-8]):
            raise apsw.IOError(f"wrong checksum at {offset}")
        return data

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if len(data) == 4096:
            data = data[:-8] + _checksum(data[:-8])
        super().xWrite(data, offset)


def _checksum(content: bytes) -> bytes:
    """As https://sqlite.org/src/file/ext/misc/cksumvfs.c computes it."""
    words = struct.unpack(f"<{len(content) // 4}I", content)
    sums = [0, 0]
    for number, word in enumerate(words):
        sums[number % 2] = (sums[number % 2] + word + sums[1 - number % 2]) % 2**32
    return struct.pack("<2I", *sums)


class ChecksumVFS(apsw.VFS):
    """The checksum VFS, as an application has it, for main databases with pages of 4096 bytes."""

    def __init__(self) -> None:
        # It stays registered for as long as it is referred to.
        super().__init__("checksums", base="")

    def xOpen(  # noqa: N802
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        is_database = flags[0] & apsw.SQLITE_OPEN_MAIN_DB
        return (_ChecksumFile if is_database else apsw.VFSFile)("", name, flags)


def make_strange(path: Path, kind: str, journal_mode: str = "wal") -> Path:
    """Make a database of a kind, with some free pages in it."""
    registered = ChecksumVFS() if kind == "checksums" else None
    vfs = "checksums" if registered else None
    connection = apsw.Connection(str(path), vfs=vfs)
    connection.config(apsw.SQLITE_DBCONFIG_LEGACY_FILE_FORMAT, int(kind == "oldest_format"))
    if kind not in ("reserved_bytes", "checksums"):
        connection.pragma("auto_vacuum", "incremental")
    SOUND[kind](connection)
    connection.close()
    connection = apsw.Connection(str(path), vfs=vfs)
    _sql("CREATE TABLE gone (x)", "INSERT INTO gone VALUES (zeroblob(300000))")(connection)
    _sql("DROP TABLE gone")(connection)
    connection.pragma("journal_mode", journal_mode)
    connection.close()
    return path
