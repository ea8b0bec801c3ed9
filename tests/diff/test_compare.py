"""Rows and schemas of two databases, counted by SQLite."""

from pathlib import Path
from typing import Any

import apsw
import pytest

from sqlitekeeper.errors import CheckError, KeeperError
from tests.diff.databases import comparison, make, opened


def counts(tmp_path: Path, create: str, here: str, there: str, table: str = "t") -> tuple[Any, ...]:
    """Rows only here, only there and changed, and what they were matched by."""
    ours = make(tmp_path / "here", *create.split("; "), here)
    theirs = make(tmp_path / "there", *create.split("; "), there)
    with comparison(ours, theirs) as found:
        (one,) = (diff for diff in found.tables if diff.name == table)
        return one.only_here, one.only_there, one.changed, one.matched_by


@pytest.mark.parametrize(
    ("create", "here", "there", "expected"),
    [
        pytest.param(
            "CREATE TABLE t (a, b, PRIMARY KEY (a, b)) WITHOUT ROWID",
            "INSERT INTO t VALUES (1, 1), (1, 2)",
            "INSERT INTO t VALUES (1, 2), (2, 1), (2, 2)",
            (1, 2, 0, "key"),
            id="composite key",
        ),
        pytest.param(
            "CREATE TABLE t (a TEXT PRIMARY KEY, b)",
            "INSERT INTO t VALUES (NULL, 1), (NULL, 1), (NULL, 2), ('k', 1)",
            "INSERT INTO t VALUES (NULL, 1), (NULL, 3), ('k', 2)",
            (2, 1, 1, "key"),
            id="NULL in a key, any number of times",
        ),
        pytest.param(
            "CREATE TABLE t (a, b)",
            "INSERT INTO t VALUES (1, 1), (1, 1), (1, 1), (NULL, 2)",
            "INSERT INTO t VALUES (NULL, 2), (1, 1), (1, 1.0), (3, NULL)",
            (2, 2, 0, "columns"),
            id="no key, equal rows are counted, 1 is not 1.0",
        ),
        pytest.param(
            "CREATE TABLE t (a TEXT COLLATE NOCASE PRIMARY KEY, b TEXT COLLATE NOCASE)",
            "INSERT INTO t VALUES ('a', 'x'), ('b', 'y')",
            "INSERT INTO t VALUES ('A', 'x'), ('b', 'Y')",
            (0, 0, 2, "key"),
            id="a collation tells which rows are one, not whether they are the same",
        ),
        pytest.param(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a)",
            "INSERT INTO t VALUES (1, 'x'), (2, 9007199254740993), (3, CAST(X'610062' AS TEXT))",
            "INSERT INTO t VALUES (1, X'78'), (2, 9007199254740992.0), (3, CAST(X'61' AS TEXT))",
            (0, 0, 3, "key"),
            id="text is no blob, a large integer no real, and NUL ends no text",
        ),
        pytest.param(
            "CREATE VIRTUAL TABLE t USING fts5 (a)",
            "INSERT INTO t (rowid, a) VALUES (1, 'one'), (2, 'two')",
            "INSERT INTO t (rowid, a) VALUES (1, 'One'), (3, 'three')",
            (1, 1, 1, "key"),
            id="FTS5",
        ),
        pytest.param(
            "CREATE VIRTUAL TABLE t USING rtree (id, x, y)",
            "INSERT INTO t VALUES (1, 1, 2), (2, 1, 2)",
            "INSERT INTO t VALUES (1, 1, 3), (3, 1, 2)",
            (1, 1, 1, "key"),
            id="R-Tree",
        ),
        pytest.param(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b AS (a * 2))",
            "INSERT INTO t VALUES (1, 1)",
            "INSERT INTO t VALUES (1, 2)",
            (0, 0, 1, "key"),
            id="generated column",
        ),
    ],
)
def test_rows_are_matched(
    tmp_path: Path, create: str, here: str, there: str, expected: tuple[Any, ...]
) -> None:
    """By the key, else by all columns."""
    assert counts(tmp_path, create, here, there) == expected


def test_key_that_means_something_else_is_not_used(tmp_path: Path) -> None:
    """Text there would find the wrong number here, or none."""
    here = make(
        tmp_path / "here",
        "CREATE TABLE t (a INTEGER NOT NULL, b, PRIMARY KEY (a, b))",
        "INSERT INTO t VALUES (1, 1)",
    )
    there = make(
        tmp_path / "there",
        "CREATE TABLE t (a TEXT NOT NULL, b, PRIMARY KEY (a, b))",
        "INSERT INTO t VALUES ('1', 1)",
    )

    with comparison(here, there) as found:
        (table,) = found.tables

    assert (table.only_here, table.only_there, table.matched_by) == (1, 1, "columns")


def test_columns_that_both_have_are_compared(tmp_path: Path) -> None:
    """Those of one side alone are named, and are changes of the schema."""
    here = make(
        tmp_path / "here",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, A, new)",
        "INSERT INTO t VALUES (1, 'x', 'y')",
    )
    there = make(
        tmp_path / "there",
        "CREATE TABLE T (old, a TEXT NOT NULL, id INTEGER PRIMARY KEY)",
        "INSERT INTO t VALUES ('z', 'x', 1)",
    )

    with comparison(here, there) as found:
        (table,) = found.tables
        changes = {(c.type, c.name, c.change, c.here, c.there) for c in found.schema}

    assert not table.differs
    assert (table.columns_only_here, table.columns_only_there) == (("new",), ("old",))
    assert ("column", "new", "only_here", "", None) in changes
    assert ("column", "A", "changed", "", "TEXT NOT NULL") in changes


def test_objects_of_the_schema_are_compared(tmp_path: Path) -> None:
    """Of any kind, but for what SQLite keeps for itself."""
    here = make(
        tmp_path / "here",
        "CREATE TABLE t (a UNIQUE)",
        "CREATE INDEX i ON t (a)",
        "CREATE VIEW v AS SELECT 1",
        "CREATE VIRTUAL TABLE f USING fts5 (a)",
        "ANALYZE",
    )
    there = make(
        tmp_path / "there",
        "CREATE TABLE t (a UNIQUE)",
        "CREATE VIEW v AS SELECT 2",
        "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END",
    )

    with comparison(here, there) as found:
        changes = {(c.type, c.name, c.change) for c in found.schema}

    assert changes == {
        ("table", "f", "only_here"),
        ("index", "i", "only_here"),
        ("view", "v", "changed"),
        ("trigger", "g", "only_there"),
    }


def test_full_text_of_other_content_is_said_by_that_table(tmp_path: Path) -> None:
    """An index alone holds nothing to compare."""
    schema = (
        "CREATE TABLE posts (id INTEGER PRIMARY KEY, title)",
        "CREATE VIRTUAL TABLE search USING fts5 (title, content='posts', content_rowid='id')",
        "CREATE VIRTUAL TABLE old USING fts4 (title, content=posts)",
        "CREATE VIRTUAL TABLE bare USING fts5 (title, content='')",
    )
    path = make(tmp_path / "here", *schema)

    with comparison(path, make(tmp_path / "there", *schema)) as found:
        notes = {table.name: table.note for table in found.tables}

    assert notes == {
        "bare": "it keeps no content",
        "old": "its content is the table posts",
        "posts": None,
        "search": "its content is the table posts",
    }


def _own(*values: "apsw.SQLiteValue") -> "apsw.SQLiteValue":
    return values[0]


def test_functions_and_tokenizers_of_the_application_are_not_needed(tmp_path: Path) -> None:
    """In a generated column, a CHECK, an index, a full-text table."""
    for name in ("here", "there"):
        with opened(tmp_path / name) as connection:
            connection.create_scalar_function("own", _own, deterministic=True)
            connection.execute(
                "CREATE TABLE t (a CHECK (own(a) <> 7), b AS (own(a)));"
                "CREATE INDEX i ON t (own(a)); INSERT INTO t VALUES (1), (2)"
            ).fetchall()
            connection.register_fts5_tokenizer("own", lambda *_: lambda *_: [])
            connection.execute("CREATE VIRTUAL TABLE f USING fts5 (a, tokenize='own')").fetchall()

    with comparison(tmp_path / "here", tmp_path / "there") as found:
        assert found.same
        assert {table.name for table in found.tables} == {"f", "t"}


def test_shadow_of_an_unknown_module_is_never_written_to(tmp_path: Path) -> None:
    """Nobody here knows which of its tables it keeps itself."""

    class Module:
        def Create(self, *_: object) -> tuple[str, "Module"]:  # noqa: N802
            return "CREATE TABLE x (a)", self

        Connect = Create

        def BestIndex(self, *_: object) -> None: ...  # noqa: N802

        def Disconnect(self) -> None: ...  # noqa: N802

        Destroy = Disconnect

    for name, rows in (("here", "(1)"), ("there", "(1), (2)")):
        with opened(tmp_path / name) as connection:
            connection.create_module("own", Module())  # type: ignore[arg-type]
            for sql in (
                "CREATE VIRTUAL TABLE v USING own",
                "CREATE TABLE v_data (a)",
                f"INSERT INTO v_data VALUES {rows}",
            ):
                connection.execute(sql).fetchall()

    with comparison(tmp_path / "here", tmp_path / "there") as found:
        notes = {table.name: table.note for table in found.tables}
        script = list(found.statements())

    assert notes["v"] == "its module own is not known here"
    assert "belongs to the virtual table v" in str(notes["v_data"])
    assert not [line for line in script if line.startswith("INSERT")]


def test_encodings_have_to_be_one(tmp_path: Path) -> None:
    """SQLite attaches nothing else."""
    here = make(tmp_path / "here", "CREATE TABLE t (a)")
    there = make(tmp_path / "there", "PRAGMA encoding = 'UTF-16'", "CREATE TABLE t (a)")

    with pytest.raises(KeeperError, match="UTF-16"), comparison(here, there):
        pass


def test_damage_is_told_of_the_side_that_has_it(tmp_path: Path) -> None:
    """And not of keeper's own copy of it."""
    here = make(tmp_path / "here", "CREATE TABLE t (a)")
    there = make(tmp_path / "there", "CREATE TABLE t (a)", "INSERT INTO t VALUES (zeroblob(90000))")
    content = bytearray(there.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    there.write_bytes(content)

    with pytest.raises(CheckError) as failure, comparison(here, there):
        pass

    assert str(there) not in failure.value.message
    assert "damaged" in failure.value.message


def test_many_columns_and_names_of_any_kind(tmp_path: Path) -> None:
    """SQLite nests no expression more than 1,000 deep, and takes any name."""
    names = [f'"c{i} ""x"""' for i in range(700)]
    create = f"CREATE TABLE t (id INTEGER PRIMARY KEY, {', '.join(names)})"
    here = make(tmp_path / "here", create, "INSERT INTO t (id) VALUES (1)")
    there = make(tmp_path / "there", create, f"INSERT INTO t (id, {names[650]}) VALUES (1, 1)")

    with comparison(here, there) as found:
        assert found.tables[0].changed == 1
        assert len(list(found.statements())) > 1
