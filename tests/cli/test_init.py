"""`keeper init`."""

import re
from pathlib import Path

import pytest

from tests.conftest import Keeper, MakeDatabase, contents, pragma

KEYS = {"name", "path", "outcome", "reason", "auto_vacuum", "journal_mode", "page_size"}


def test_database_is_created(keeper: Keeper, tmp_path: Path) -> None:
    """The everyday command: incremental auto-vacuum and WAL mode."""
    run = keeper("init", "storage.sqlite3", "--json")

    path = tmp_path / "storage.sqlite3"
    assert run.status == 0
    assert (run.entry["outcome"], run.entry["reason"]) == ("created", None)
    assert [pragma(path, name) for name in ("auto_vacuum", "journal_mode")] == [2, "wal"]


def test_json_has_the_documented_keys(keeper: Keeper) -> None:
    """Scripts rely on them."""
    run = keeper("init", "a.sqlite3", "--json")

    assert run.json.keys() >= {"command", "ok", "error", "databases"}
    assert run.entry.keys() >= KEYS
    assert (run.json["command"], run.json["ok"], run.json["error"]) == ("init", True, None)


def test_options_reach_the_file(keeper: Keeper, tmp_path: Path) -> None:
    """Each option names a setting of the new file."""
    options = ("--auto-vacuum", "full", "--journal-mode", "delete", "--page-size", 8192)

    run = keeper("init", "a.sqlite3", *options, "--json")

    path = tmp_path / "a.sqlite3"
    found = [pragma(path, name) for name in ("auto_vacuum", "journal_mode", "page_size")]
    assert found == [1, "delete", 8192]
    shown = [run.entry[key] for key in ("auto_vacuum", "journal_mode", "page_size")]
    assert shown == ["full", "delete", 8192]


def test_existing_database_fails(keeper: Keeper, make_database: MakeDatabase) -> None:
    """Nothing of it changes, and the hint says how to accept it."""
    path = make_database("data/app.sqlite3", rows=3, auto_vacuum="none")
    before = contents(path.parent)

    run = keeper("init", path)

    assert run.status == 1
    assert "exists already" in run.err
    assert "--exist-ok" in run.err
    assert contents(path.parent) == before


def test_existing_database_is_fine_with_exist_ok(
    keeper: Keeper, make_database: MakeDatabase
) -> None:
    """A provisioning script may run twice."""
    run = keeper("init", make_database(rows=3), "--exist-ok", "--json")

    assert (run.status, run.entry["outcome"]) == (0, "exists")


def test_one_refusal_does_not_stop_the_others(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Some failed, the others are done: 3."""
    existing = make_database(rows=1)

    run = keeper("init", existing, tmp_path / "new.sqlite3", "--json")

    assert run.status == 3
    assert [entry["outcome"] for entry in run.json["databases"]] == ["failed", "created"]
    assert run.json["error"]["code"] == 3


def test_same_path_twice_is_created_once(keeper: Keeper) -> None:
    """A path that a shell lists twice is no error."""
    run = keeper("init", "a.sqlite3", "a.sqlite3", "--json")

    assert (run.status, run.entry["outcome"]) == (0, "created")


@pytest.mark.parametrize(
    "arguments",
    [[":memory:"], ["a.db", "--page-size", "1000"], ["a.db", "--journal-mode", "off"], []],
)
def test_impossible_wishes_are_usage_errors(
    keeper: Keeper, tmp_path: Path, arguments: list[str]
) -> None:
    """Status 2, and no file."""
    run = keeper("init", *arguments)

    assert run.status == 2
    assert run.err
    assert not list(tmp_path.glob("*.db")) + list(tmp_path.glob(":memory:*"))


def test_uri_is_a_file_name(keeper: Keeper, tmp_path: Path) -> None:
    """`file:x?mode=memory` names a file."""
    assert keeper("init", "file:x?mode=memory").status == 0
    assert pragma(tmp_path / "file:x?mode=memory", "auto_vacuum") == 2


def test_log_line_has_the_time_and_what_was_read_back(keeper: Keeper) -> None:
    """For cron and provisioning logs."""
    run = keeper("init", "a.sqlite3")

    expected = (
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 a.sqlite3: created, auto_vacuum incremental, "
    )
    assert re.match(expected + r"journal_mode wal, page_size 4096\n$", run.out)
