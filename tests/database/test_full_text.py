"""Whether FTS5 indexes can be relied on, whatever they are of."""

from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.connection import open_database
from sqlitekeeper.database.full_text import FullText, check_full_text
from tests.conftest import MakeDatabase
from tests.full_text import CONTENT, add_full_text, run_sql


def checked(path: Path) -> FullText:
    with open_database(path, write=True) as connection:
        return check_full_text(connection)


@pytest.fixture
def database(make_database: MakeDatabase) -> Path:
    return make_database(rows=5)


@pytest.mark.parametrize("kind", ["own", "none", "table"])
def test_sound_index_has_neither_problem_nor_remark(database: Path, kind: str) -> None:
    """Its own content, none, or that of a table."""
    add_full_text(database, CONTENT[kind])
    assert checked(database) == FullText((), ())


def test_index_of_a_view_is_checked_as_far_as_it_can_be(database: Path) -> None:
    """A view runs the schema's code, which keeper does not; the index itself is sound."""
    add_full_text(database, CONTENT["view"])
    found = checked(database)
    assert found.problems == ()
    assert found.remarks == ("the FTS5 index f is sound, but has unreadable content",)


@pytest.mark.parametrize("kind", CONTENT)
def test_damaged_index_is_a_problem(database: Path, kind: str) -> None:
    """Half of it is gone."""
    add_full_text(database, CONTENT[kind])
    run_sql(database, "DELETE FROM f_data WHERE id > 10")
    assert "the FTS5 index f is damaged" in checked(database).problems[0]


def test_index_that_disagrees_with_its_own_content_is_a_problem(database: Path) -> None:
    """Nobody but SQLite writes either of them."""
    add_full_text(database)
    run_sql(database, "UPDATE f_content SET c0 = 'other' WHERE id = 3")
    assert len(checked(database).problems) == 1


def test_index_that_disagrees_with_external_content_is_a_remark(database: Path) -> None:
    """To keep them together is the application's affair."""
    add_full_text(database, CONTENT["table"])
    run_sql(database, "UPDATE doc SET body = 'other' WHERE id = 3")
    found = checked(database)
    assert found.problems == ()
    assert "differs from its external content" in found.remarks[0]


def test_index_with_a_tokenizer_of_the_applications_own_is_a_remark(database: Path) -> None:
    """keeper lacks it, so there is no telling."""
    add_full_text(database)
    connection = apsw.Connection(str(database))
    connection.pragma("writable_schema", "on")
    connection.execute(
        "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE name = 'f'",
        ("fts5(body", "fts5(body, tokenize='own'"),
    ).fetchall()
    connection.close()
    found = checked(database)
    assert found.problems == ()
    assert "f could not be checked" in found.remarks[0]


@pytest.mark.parametrize(
    "sql", ['CREATE VIRTUAL TABLE "o""dd x" USING "fts5"(body)', "CREATE TABLE fts5 (f)"]
)
def test_name_does_not_matter(database: Path, sql: str) -> None:
    """Quotes in names are no trouble, and what only is called so is left alone."""
    run_sql(database, sql)
    assert checked(database) == FullText((), ())
