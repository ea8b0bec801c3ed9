"""Restores of what was not checked when it was shipped, and of what is damaged."""

from pathlib import Path

import apsw
import pytest

from tests.conftest import BackupConfig, Keeper, count_rows
from tests.damage import make_index_disagree


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database in WAL mode whose index disagrees with its table."""
    path = tmp_path / "app.sqlite3"
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body)").fetchall()
    connection.execute("INSERT INTO t (body) VALUES (1), (2), (3)").fetchall()
    connection.close()
    make_index_disagree(path)
    return path


def unchecked(
    keeper: Keeper, backup_config: BackupConfig, database: Path, check: str = "none"
) -> Path:
    """Ship it with a weaker check, and lose it; the folder that it was shipped to."""
    to = database.parent / "to"
    backup_config(database, to=to, check=check)
    assert keeper("backup").status == 0
    database.unlink()
    return to


@pytest.mark.parametrize("check", ["none", "quick"])
def test_what_was_not_checked_comes_back(
    keeper: Keeper, backup_config: BackupConfig, database: Path, check: str
) -> None:
    """Cron wants what was shipped, and is told what nobody had looked at."""
    unchecked(keeper, backup_config, database, check)

    done = keeper("restore", "app", "--json")

    assert (done.status, done.json["outcome"]) == (0, "restored")
    assert count_rows(database) == 3
    assert "when it was shipped, and is damaged: " in done.json["damage"]
    assert done.json["damage"] in done.err


@pytest.mark.parametrize("answer", ["y", "n"])
def test_person_is_asked(
    keeper: Keeper, terminal: Keeper, backup_config: BackupConfig, database: Path, answer: str
) -> None:
    """At a terminal, before anything is put in place."""
    unchecked(keeper, backup_config, database)

    done = terminal("restore", "app", answer=answer)

    assert "Put it in place all the same?" in done.out
    assert (done.status, database.exists()) == ((0, True) if answer == "y" else (2, False))


def damaged(keeper: Keeper, backup_config: BackupConfig, database: Path) -> Path:
    """Ship a sound database, and damage the only snapshot."""
    apsw.Connection(str(database)).execute("REINDEX").fetchall()
    to = unchecked(keeper, backup_config, database, "integrity")
    (snapshot,) = to.rglob("*.sqlite3")
    data = snapshot.read_bytes()
    snapshot.write_bytes(data[:-10] + b"x" * 10)
    return to


def test_last_snapshot_can_be_had_as_it_is(
    tmp_path: Path, keeper: Keeper, backup_config: BackupConfig, database: Path
) -> None:
    """Under another name, with a word; what refuses it says how."""
    damaged(keeper, backup_config, database)

    refused = keeper("restore", "app", "--json")
    done = keeper("restore", "app", "--accept-damage", "--to", "look.sqlite3", "--json")

    assert (refused.status, database.exists()) == (12, False)
    assert "--accept-damage --to NEWFILE" in refused.json["error"]["hint"]
    assert (done.status, done.json["outcome"]) == (0, "restored")
    assert "its sha256 is" in done.json["damage"]
    assert (tmp_path / "look.sqlite3").read_bytes().endswith(b"x" * 10)


@pytest.mark.parametrize("cut", [0, 1000])
def test_snapshot_that_is_cut_short_can_be_had(
    tmp_path: Path, keeper: Keeper, backup_config: BackupConfig, database: Path, cut: int
) -> None:
    """Whatever is left of it may be what somebody needs."""
    to = damaged(keeper, backup_config, database)
    (snapshot,) = to.rglob("*.sqlite3")
    snapshot.write_bytes(b"no database at all"[:17] + snapshot.read_bytes()[17:-1000][cut:])

    done = keeper("restore", "app", "--accept-damage", "--to", "look.sqlite3", "--no-manifest")

    assert (done.status, (tmp_path / "look.sqlite3").exists()) == (0, True), done.err


@pytest.mark.parametrize(
    "arguments", [[], ["--to", "app.sqlite3"], ["--to", "look.sqlite3", "--replace"], ["--undo"]]
)
def test_damage_never_goes_to_a_live_database(
    keeper: Keeper, backup_config: BackupConfig, database: Path, arguments: list[str]
) -> None:
    """Not to where a configured one belongs, whether it is there or not, nor over anything."""
    damaged(keeper, backup_config, database)

    done = keeper("restore", "app", "--accept-damage", *arguments)

    assert (done.status, database.exists()) == (2, False)


def test_sound_snapshot_is_restored_as_ever_with_the_word(
    tmp_path: Path, keeper: Keeper, backup_config: BackupConfig, database: Path
) -> None:
    """It is compared with its manifest all the same."""
    apsw.Connection(str(database)).execute("REINDEX").fetchall()
    unchecked(keeper, backup_config, database, "integrity")

    done = keeper("restore", "app", "--accept-damage", "--to", "look.sqlite3", "--json")

    assert (done.status, done.json["damage"]) == (0, None)
    assert count_rows(tmp_path / "look.sqlite3") == 3


def test_failed_drill_makes_no_snapshot_less_whole(
    keeper: Keeper, backup_config: BackupConfig, database: Path
) -> None:
    """It is whole, and what is said is why it is shipped again."""
    to = database.parent / "to"
    backup_config(database, to=to, check="none")
    assert keeper("backup").status == 0
    assert keeper("drill").status == 12

    done = keeper("backup")

    assert f"the last snapshot failed its drill at {to}; shipping again" in done.err
    assert "not whole" not in done.err
