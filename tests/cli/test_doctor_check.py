"""`keeper doctor --check`: the live file, and what a check of a snapshot cannot see."""

import shlex
from pathlib import Path
from typing import Any

import apsw
import pytest

from sqlitekeeper.database.connection import open_database
from sqlitekeeper.database.integrity import check_in_turns
from tests.conftest import Beside, Keeper, MakeDatabase, count_rows, pragma
from tests.damage import make_index_disagree

PAGE = 4096


def found(keeper: Keeper, *arguments: object) -> list[dict[str, Any]]:
    """What a check of the live file says."""
    done = keeper("doctor", "--check", *arguments, "--json")
    return [one for one in done.json["findings"] if one["check"] in ("integrity", "remark")]


@pytest.fixture(params=["wal", "delete"])
def wrong(request: pytest.FixtureRequest, make_database: MakeDatabase) -> Path:
    """A database with free pages, whose pointer map tells lies of the last pages."""
    path = make_database(rows=400, deleted=200)
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", request.param)
    connection.close()
    data = bytearray(path.read_bytes())
    for page in range(len(data) // PAGE - 20, len(data) // PAGE + 1):
        data[PAGE + (page - 3) * 5] = 4  # a page of an overflow chain, which it is not
    path.write_bytes(data)
    return path


def test_sound_file_is_in_order(keeper: Keeper, make_database: MakeDatabase) -> None:
    """It says so, with --verbose and in JSON."""
    (finding,) = found(keeper, make_database(rows=5))
    assert (finding["level"], finding["check"]) == ("ok", "integrity")


def test_live_file_is_read_only_when_asked(keeper: Keeper, make_database: MakeDatabase) -> None:
    """It takes as long as it is large."""
    path = make_database(rows=5)
    make_index_disagree(path)
    assert keeper("doctor", path).status == 0
    assert keeper("doctor", "--check", path).status == 1


def test_index_that_lacks_a_row_has_its_mend(keeper: Keeper, make_database: MakeDatabase) -> None:
    """All of it can be computed again."""
    path = make_database(rows=5)
    make_index_disagree(path)
    finding = found(keeper, path)[0]
    program, file, sql = shlex.split(finding["fix"])
    connection = apsw.Connection(file)
    connection.execute(sql).fetchall()
    connection.close()
    assert (finding["level"], program) == ("fail", "sqlite3")
    assert [one["level"] for one in found(keeper, path)] == ["ok"]


def test_wrong_pointer_map_is_found_and_mended(keeper: Keeper, wrong: Path) -> None:
    """By the two commands that it says; no row is lost, and pages are freed again."""
    (finding,) = found(keeper, wrong)
    assert (finding["level"], "pointer map is wrong" in finding["message"]) == ("fail", True)

    first, second = finding["fix"].split(" && ")
    assert [keeper(*shlex.split(one)[1:]).status for one in (first, second)] == [0, 0]

    assert [one["level"] for one in found(keeper, wrong)] == ["ok"]
    assert (count_rows(wrong), pragma(wrong, "auto_vacuum")) == (200, 2)
    assert keeper("vacuum", wrong).status == 0


def test_vacuum_frees_nothing_by_a_wrong_pointer_map(keeper: Keeper, wrong: Path) -> None:
    """It looks before it frees the first page, and says what to do."""
    before = pragma(wrong, "freelist_count")
    assert before > 0

    done = keeper("vacuum", wrong, "--json")

    assert (done.status, done.entry["freed_pages"]) == (12, 0)
    assert pragma(wrong, "freelist_count") == before
    assert "keeper doctor --check" in done.entry["reason"]


def test_vacuum_remembers_what_a_check_has_found(keeper: Keeper, wrong: Path) -> None:
    """Of files that are too large to be looked at each hour; until a check finds it right."""
    found(keeper, wrong)
    healthy = wrong.with_name("healthy.sqlite3")
    connection = apsw.Connection(str(wrong))
    connection.execute("VACUUM INTO ?", (str(healthy),)).fetchall()
    connection.close()
    # Mended without keeper, in the same file.
    wrong.write_bytes(healthy.read_bytes())

    remembered = keeper("vacuum", wrong).status
    found(keeper, wrong)

    assert (remembered, keeper("vacuum", wrong).status) == (12, 0)


def test_writers_of_a_rollback_journal_are_not_held_up(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn that takes too long is cut off, and that is said."""
    path = make_database(rows=3000)
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "delete")
    connection.close()
    monkeypatch.setattr("sqlitekeeper.database.integrity.TURN_SECONDS", 0.0)
    monkeypatch.setattr("sqlitekeeper.database.integrity._STEPS", 10)
    with open_database(path) as connection:
        found = check_in_turns(connection)
    assert found.problems == ()
    assert "the use of pages could not be checked within 0 s" in found.unchecked[0]


def test_application_writes_on_meanwhile(
    keeper: Keeper, make_database: MakeDatabase, beside: Beside
) -> None:
    """In WAL mode nobody waits for a reader."""
    path = make_database(rows=500)
    writer = beside("write", path)
    (finding,) = found(keeper, path)
    assert finding["level"] == "ok"
    writer.end()
