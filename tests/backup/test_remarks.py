"""What a backup does with what SQLite's checks remark, up to the restore."""

import json
import shlex
from pathlib import Path

import apsw
import pytest

from tests.conftest import BackupConfig, Keeper
from tests.remarkable import REMARKABLE, make_remarkable


def say_it_again(path: Path) -> None:
    """Change something, so that there is something to ship."""
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE IF NOT EXISTS more (x)").fetchall()
    connection.execute("INSERT INTO more VALUES (1)").fetchall()
    connection.close()


@pytest.fixture
def database(tmp_path: Path, backup_config: BackupConfig) -> Path:
    path = tmp_path / "app.sqlite3"
    make_remarkable(path, "null")
    backup_config(path, to=tmp_path / "to")
    return path


def test_every_remarkable_database_is_shipped_drilled_and_restored(
    tmp_path: Path, keeper: Keeper, backup_config: BackupConfig
) -> None:
    """Sound is sound, from the backup to the restore; what was said stands in JSON and manifest."""
    (tmp_path / "data").mkdir()
    said = {
        kind: make_remarkable(tmp_path / "data" / f"{kind}.sqlite3", kind) for kind in REMARKABLE
    }
    backup_config(tmp_path / "data" / "*.sqlite3", to=tmp_path / "to")

    backup, drill = keeper("backup", "--json"), keeper("drill", "--json")
    restore = keeper("restore", "fts4", "--to", "back.sqlite3", "--json")

    assert (backup.status, drill.status, restore.status) == (0, 0, 0)
    for entry in backup.json["databases"]:
        name = entry["name"]
        latest = json.loads((tmp_path / "to" / name / "latest.json").read_text())
        assert (entry["outcome"], entry["check"]) == ("shipped", "ok")
        assert entry["check_remarks"] == latest["checks"]["remarks"]
        assert [text[: len(said[name])] for text in entry["check_remarks"]] == [said[name]]
    assert {entry["outcome"] for entry in drill.json["databases"]} == {"proven"}


def test_remark_is_told_in_full_once(keeper: Keeper, database: Path) -> None:
    """The day after it is one short line, with or without this host's memory."""
    first = keeper("backup")
    say_it_again(database)
    second = keeper("backup")
    say_it_again(database)
    elsewhere = keeper("backup", env={"KEEPER_STATE": str(database.parent / "other")})

    assert "NULL value in t.x: " in first.err
    for done in (second, elsewhere):
        assert "NULL value in t.x" not in done.err
        assert "1 remark as before" in done.err


def test_doctor_has_the_mend(keeper: Keeper, database: Path) -> None:
    """As a command for the shell, after which the next backup has nothing to remark."""
    assert keeper("backup").status == 0

    (finding,) = [
        one for one in keeper("doctor", "--json").json["findings"] if one["check"] == "remark"
    ]
    program, path, sql = shlex.split(finding["fix"])
    connection = apsw.Connection(path)
    connection.execute(sql).fetchall()
    connection.close()

    assert (finding["level"], finding["database"], program) == ("warn", "app", "sqlite3")
    assert keeper("backup", "--json").entry["check_remarks"] == []
    assert "NULL value" not in keeper("doctor", "--json").out


def test_new_remark_of_the_same_sqlite_fails_the_drill(
    tmp_path: Path, keeper: Keeper, database: Path
) -> None:
    """The manifest says what was remarked; what it does not say is new."""
    assert keeper("backup").status == 0
    for manifest in (tmp_path / "to").rglob("*.json"):
        text = manifest.read_text().replace('"NULL value in t.x"', '"NULL value in t.y"')
        manifest.write_text(text)

    done = keeper("drill", "--json")

    assert (done.status, done.entry["outcome"]) == (12, "failed")
    assert "NULL value in t.x" in done.entry["reason"]


def test_manifest_of_an_earlier_keeper_is_no_failure(
    tmp_path: Path, keeper: Keeper, database: Path
) -> None:
    """It had no remarks, so nothing can be new."""
    assert keeper("backup").status == 0
    for manifest in (tmp_path / "to").rglob("*.json"):
        value = json.loads(manifest.read_text())
        del value["checks"]["remarks"]
        manifest.write_text(json.dumps(value, indent=2))

    assert keeper("drill").status == 0


def test_remarked_database_is_converted(keeper: Keeper, database: Path) -> None:
    """What its application declares is no reason to leave it as it is."""
    done = keeper("convert", database, "--yes", "--json")

    assert (done.status, done.entry["outcome"]) == (0, "converted")


def test_index_that_lacks_a_row_still_fails(
    tmp_path: Path, keeper: Keeper, backup_config: BackupConfig
) -> None:
    """Remarks beside it or not."""
    path = tmp_path / "app.sqlite3"
    make_remarkable(path, "fts4", "CREATE TABLE d (a, b); CREATE INDEX i ON d (a)")
    connection = apsw.Connection(str(path))
    connection.execute("INSERT INTO d VALUES (1, 2); PRAGMA writable_schema = 1").fetchall()
    connection.execute(
        "UPDATE sqlite_schema SET sql = 'CREATE INDEX i ON d (b)' WHERE name = 'i'"
    ).fetchall()
    connection.close()
    backup_config(path, to=tmp_path / "to")

    done = keeper("backup", "--json")

    assert (done.status, done.entry["check"]) == (12, "failed")
    assert "index i" in done.entry["reason"]
