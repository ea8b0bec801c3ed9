"""`keeper convert`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Companion, Keeper, MakeDatabase, contents, count_rows, pragma

KEYS = {"name", "path", "outcome", "reason", "auto_vacuum_before", "auto_vacuum_after"} | {
    "bytes_before",
    "bytes_after",
    "seconds",
}


@pytest.fixture
def old(make_database: MakeDatabase) -> Path:
    """A database without auto-vacuum, with something to free."""
    return make_database("data/app.sqlite3", deleted=100, auto_vacuum="none")


def test_database_is_converted(keeper: Keeper, old: Path) -> None:
    """With --yes nobody is asked."""
    run = keeper("convert", old, "--yes", "--json")

    assert (run.status, run.entry["outcome"]) == (0, "converted")
    assert pragma(old, "auto_vacuum") == 2
    assert count_rows(old) == 300


def test_json_has_the_documented_keys(keeper: Keeper, old: Path) -> None:
    """Scripts rely on them; the sizes are those of the file."""
    size = old.stat().st_size

    run = keeper("convert", old, "--yes", "--json")

    assert run.entry.keys() >= KEYS
    assert (run.entry["bytes_before"], run.entry["bytes_after"]) == (size, old.stat().st_size)
    assert [run.entry[f"auto_vacuum_{when}"] for when in ("before", "after")] == [
        "none",
        "incremental",
    ]


def test_absent_optional_database_is_skipped(keeper: Keeper, tmp_path: Path) -> None:
    """Nothing is said to have been converted."""
    path = tmp_path / "absent.sqlite3"
    config = tmp_path / "optional.toml"
    config.write_text(f'[[databases]]\npath = "{path}"\noptional = true\n')

    run = keeper("convert", "absent", "--yes", "--config", config)

    assert run.status == 0
    assert f"absent: {path}: no such file" in run.out
    assert "integrity ok" not in run.out


def test_nobody_to_ask_changes_nothing(keeper: Keeper, old: Path) -> None:
    """Without a terminal and without --yes: a usage error that names --yes."""
    before = contents(old.parent)

    run = keeper("convert", old)

    assert run.status == 2
    assert "--yes" in run.err
    assert contents(old.parent) == before


def test_warning_tells_of_the_wait_alone(keeper: Keeper, old: Path) -> None:
    """What it does to writers is said before it starts; rowids stay, and need no word."""
    run = keeper("convert", old, "--yes")

    assert "writers will wait for about" in run.err
    assert "rowid" not in run.err


def test_no_warning_where_nobody_waits(keeper: Keeper, make_database: MakeDatabase) -> None:
    """Between full and incremental there is nothing to warn of."""
    run = keeper("convert", make_database(auto_vacuum="full"), "--yes")

    assert (run.status, run.err) == (0, "")


def test_terminal_is_asked(terminal: Keeper, old: Path) -> None:
    """On a terminal the question comes with both modes, and yes means yes."""
    run = terminal("convert", old, answer="y")

    assert run.status == 0
    assert "from none to incremental? [y/N]" in run.out
    assert pragma(old, "auto_vacuum") == 2


@pytest.mark.parametrize("answer", ["n", " "])
def test_no_means_no(terminal: Keeper, old: Path, answer: str) -> None:
    """No, and no answer at all, change nothing."""
    before = contents(old.parent)

    run = terminal("convert", old, answer=answer)

    assert run.status == 2
    assert contents(old.parent) == before


def test_end_of_input_is_an_interrupt(terminal: Keeper, old: Path) -> None:
    """Ctrl-D at the question ends keeper with 130, and nothing changes."""
    before = contents(old.parent)

    run = terminal("convert", old, answer="\x04")

    assert run.status == 130
    assert contents(old.parent) == before


def test_converted_already_asks_nothing(keeper: Keeper, make_database: MakeDatabase) -> None:
    """A second run is harmless, and needs no --yes."""
    run = keeper("convert", make_database(), "--json")

    assert (run.status, run.entry["outcome"]) == (0, "already")


def test_mode_can_be_chosen(keeper: Keeper, old: Path) -> None:
    """--auto-vacuum names another target."""
    run = keeper("convert", old, "--yes", "--auto-vacuum", "full", "--json")

    assert (run.status, run.entry["auto_vacuum_after"]) == (0, "full")
    assert pragma(old, "auto_vacuum") == 1


def test_running_keeper_is_not_disturbed(
    keeper: Keeper, old: Path, keepers_lock: Callable[[Path], Companion]
) -> None:
    """While another run holds the database's lock: 11, nothing changed."""
    before = contents(old.parent)
    keepers_lock(old)

    run = keeper("convert", old, "--yes", "--json")

    assert (run.status, run.entry["outcome"], run.json["error"]["code"]) == (11, "failed", 11)
    assert contents(old.parent) == before


def test_damage_is_a_failed_check(keeper: Keeper, old: Path) -> None:
    """12 wins, also when another database is fine."""
    with old.open("r+b") as file:
        file.truncate(50 * 4096)

    run = keeper("convert", old, "--yes", "--json")

    assert (run.status, run.entry["outcome"]) == (12, "failed")
    assert "damaged" in run.entry["reason"]
