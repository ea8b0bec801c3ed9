"""Proving a snapshot file."""

import hashlib
from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.check import Checked, CheckKind, check_snapshot
from sqlitekeeper.errors import CheckError, KeeperError
from sqlitekeeper.filesystem.checksum import sha256_of
from tests.conftest import MakeDatabase
from tests.damage import (
    damage_pages,
    make_foreign_key_malformed,
    make_index_disagree,
    make_orphan,
)


def check(path: Path, kind: CheckKind = "integrity") -> Checked:
    return check_snapshot(path, "not looked at", kind)


def execute(path: Path, *statements: str) -> None:
    connection = apsw.Connection(str(path))
    for statement in statements:
        connection.execute(statement).fetchall()
    connection.close()


def test_sound_snapshot_passes(make_database: MakeDatabase) -> None:
    """What was measured comes back with the verdict."""
    path = make_database(rows=10)

    found = check(path)

    assert (found.kind, found.bytes, found.tables) == ("integrity", path.stat().st_size, {"t": 10})
    assert found.foreign_key_violations == 0


def test_integrity_check_finds_an_index_that_disagrees(make_database: MakeDatabase) -> None:
    """A row that an index lacks is a failed check, in SQLite's own words."""
    path = make_database(rows=10)
    make_index_disagree(path)

    with pytest.raises(CheckError, match=r"integrity_check: .*index stale") as caught:
        check(path)

    assert caught.value.exit_code == 12
    assert caught.value.hint


@pytest.mark.parametrize("kind", ["quick", "none"])
def test_weaker_checks_do_not_compare_indexes(make_database: MakeDatabase, kind: CheckKind) -> None:
    """`quick` and `none` let such an index pass, and say so by their kind."""
    path = make_database(rows=10)
    make_index_disagree(path)

    assert check(path, kind).kind == kind


def test_quick_check_finds_damaged_pages(make_database: MakeDatabase) -> None:
    """Overwritten pages fail the quick check too."""
    path = make_database(rows=100)
    damage_pages(path)

    with pytest.raises(CheckError):
        check(path, "quick")


def test_no_check_still_counts(make_database: MakeDatabase) -> None:
    """With `none` the rows are counted all the same."""
    assert check(make_database(rows=3), "none").tables == {"t": 3}


def test_something_else_is_no_snapshot(tmp_path: Path) -> None:
    """A file that is no database is an error, not a pass."""
    file = tmp_path / "x.sqlite3"
    file.write_bytes(b"hello" * 1000)

    with pytest.raises(KeeperError, match="not an SQLite database"):
        check(file)


def test_foreign_key_violations_are_counted(make_database: MakeDatabase) -> None:
    """Rows without a parent are the application's affair: a number, no failure."""
    path = make_database(rows=1)
    make_orphan(path)

    assert check(path).foreign_key_violations == 1


def test_malformed_foreign_key_is_not_a_failure(make_database: MakeDatabase) -> None:
    """Where SQLite cannot check foreign keys, there is no number."""
    path = make_database(rows=1)
    make_foreign_key_malformed(path)

    assert check(path).foreign_key_violations is None


@pytest.mark.parametrize("name", ['say "hi"', "it's", "two\nlines", "naïve ☃", "select", "a;b--"])
def test_rows_are_counted_whatever_the_table_is_called(
    make_database: MakeDatabase, name: str
) -> None:
    """Quotes, newlines and keywords in a table's name change nothing."""
    path = make_database(rows=0)
    quoted = '"' + name.replace('"', '""') + '"'
    execute(path, f"CREATE TABLE {quoted} (x)", f"INSERT INTO {quoted} VALUES (1), (2)")

    assert check(path).tables == {"t": 0, name: 2}


def test_rows_of_a_table_without_rowid_are_counted(make_database: MakeDatabase) -> None:
    """WITHOUT ROWID tables count like others."""
    path = make_database(rows=0)
    execute(
        path,
        "CREATE TABLE w (k TEXT PRIMARY KEY) WITHOUT ROWID",
        "INSERT INTO w VALUES ('a'), ('b'), ('c')",
    )

    assert check(path).tables["w"] == 3


def test_rows_of_a_search_index_are_counted_in_its_shadow_tables(
    make_database: MakeDatabase,
) -> None:
    """An FTS5 table is counted by the tables that hold its content; views are not counted."""
    path = make_database(rows=0)
    execute(
        path,
        "CREATE VIRTUAL TABLE posts USING fts5 (body)",
        "INSERT INTO posts VALUES ('one'), ('two')",
        "CREATE VIEW v AS SELECT * FROM t",
    )

    tables = check(path).tables

    assert tables["posts_content"] == 2
    assert {"posts_data", "posts_idx", "posts_docsize", "posts_config"} <= tables.keys()
    assert not {"posts", "v"} & tables.keys()


def test_virtual_table_of_an_unknown_extension_is_no_obstacle(make_database: MakeDatabase) -> None:
    """An extension that only the application loads does not keep the rest from being proven."""
    path = make_database(rows=2)
    execute(
        path,
        "PRAGMA writable_schema = on",
        "INSERT INTO sqlite_schema VALUES"
        " ('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING of_the_application (x)')",
    )

    assert check(path).tables == {"t": 2}


def test_schema_hash_does_not_depend_on_the_order_of_creation(make_database: MakeDatabase) -> None:
    """The same schema, made in another order, has the same hash; another schema another."""
    create_a, create_b = "CREATE TABLE a (x)", "CREATE TABLE b (x)"
    paths = [make_database(f"{name}.sqlite3", rows=0) for name in ("ab", "ba", "only-a")]
    execute(paths[0], create_a, create_b)
    execute(paths[1], create_b, create_a)
    execute(paths[2], create_a)

    one, same, other = (check(path).schema_sha256 for path in paths)

    assert one == same != other


def test_hash_is_that_of_the_whole_file(tmp_path: Path) -> None:
    """More than one read's worth is hashed to its end."""
    file = tmp_path / "big"
    content = bytes(range(256)) * 12_000 + b"end"
    file.write_bytes(content)

    assert sha256_of(file) == hashlib.sha256(content).hexdigest()
