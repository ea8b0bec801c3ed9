"""`keeper drill`: as cron runs it, and as a person does."""

import shutil
from pathlib import Path

import pytest

from tests.catalogs import (
    copied,
    edit,
    flip_bit,
    manifest_beside,
    newest,
    set_back,
    ship_once,
)
from tests.conftest import S3, BackupConfig, Keeper, MakeDatabase, contents

KEYS = {
    "name",
    "path",
    "outcome",
    "reason",
    "to",
    "object",
    "taken_at",
    "sha256_ok",
    "check",
    "rows_ok",
    "seconds",
}
HOLD = {"hold": {"since": "2026-11-23T03:00:00+00:00", "tables": {"t": [1000, 1]}}}


@pytest.fixture(scope="module")
def once_shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ship_once(tmp_path_factory.mktemp("shipped"), "a", "b")


@pytest.fixture
def to(once_shipped: Path, tmp_path: Path, backup_config: BackupConfig) -> Path:
    """The configured destination, with snapshots of the configured databases a and b."""
    backup_config(tmp_path / "a.sqlite3", tmp_path / "b.sqlite3", to=str(tmp_path / "dest"))
    return copied(once_shipped, tmp_path)


def test_every_configured_database_is_proven(keeper: Keeper, to: Path, any_rclone: Path) -> None:
    """With what was found in an entry for each."""
    run = keeper("drill", "--json")
    assert run.status == 0, run.err
    for entry in run.json["databases"]:
        assert entry.keys() >= KEYS
        assert entry["outcome"] == "proven"
        assert (entry["sha256_ok"], entry["check"], entry["rows_ok"]) == (True, "ok", True)
        assert entry["object"] == f"{entry['name']}/{newest(to, entry['name']).name}"


def test_production_is_not_touched(keeper: Keeper, to: Path, tmp_path: Path) -> None:
    """The databases need not even be there."""
    for name in "ab":
        (tmp_path / f"{name}.sqlite3").unlink()
    before = set(contents(tmp_path))
    run = keeper("drill")
    assert run.status == 0, run.err
    new = {path for path in set(contents(tmp_path)) - before if not path.startswith("home/")}
    assert {path.split(".", 1)[1] for path in new} == {"proven.json"}


def test_one_failed_drill_does_not_stop_the_other(keeper: Keeper, to: Path) -> None:
    """It ends with 12, and says which and why."""
    flip_bit(newest(to, "a"), 9000)
    run = keeper("drill", "--json")
    assert run.status == 12
    assert [e["outcome"] for e in run.json["databases"]] == ["failed", "proven"]
    assert "a: failed: a/a-" in run.err
    assert "its sha256 is" in run.err


def test_database_without_snapshots_fails(
    keeper: Keeper, to: Path, backup_config: BackupConfig, make_database: MakeDatabase
) -> None:
    """There is nothing that would restore."""
    backup_config(make_database("c.sqlite3", rows=1), to=str(to))
    run = keeper("drill", "--json")
    assert (run.status, run.entry["reason"]) == (12, f"no snapshot at {to}")


def test_unreachable_destination_is_a_failure_and_no_failed_check(
    keeper: Keeper, to: Path, backup_config: BackupConfig, tmp_path: Path
) -> None:
    """The copy that can be reached is proven."""
    backup_config(tmp_path / "a.sqlite3", to=[str(to), "gone:bucket"])
    run = keeper("drill", "--json")
    assert run.status == 3
    assert [e["outcome"] for e in run.json["databases"]] == ["proven", "failed"]
    assert keeper("drill", "a", "--from", "gone:bucket").status == 1


def test_each_destinations_copy_is_drilled(keeper: Keeper, to: Path, tmp_path: Path) -> None:
    """One that is broken does not hide behind one that is not."""
    shutil.copytree(to, tmp_path / "second")
    flip_bit(newest(tmp_path / "second", "a"), 9000)
    run = keeper("drill", "a", "--from", to, "--from", tmp_path / "second", "--json")
    assert run.status == 12
    assert {e["to"]: e["outcome"] for e in run.json["databases"]} == {
        str(to): "proven",
        str(tmp_path / "second"): "failed",
    }


def test_at_chooses_the_snapshot(keeper: Keeper, to: Path) -> None:
    """By time, by object, or the newest."""
    older = set_back(to, 48, "a")
    assert keeper("backup", "a", "--force").status == 0
    assert newest(to, "a") != older
    run = keeper("drill", "a", "--at", older.name.removeprefix("a-")[:16], "--json")
    assert run.entry["object"] == f"a/{older.name}"
    latest = keeper("drill", "a", "--json").entry["object"]
    assert latest == f"a/{newest(to, 'a').name}"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["--at", "1999-01-01"], 1), (["--at", "soon"], 2), (["--at", "2026-01-01", "--rotate"], 2)],
)
def test_choice_that_cannot_be(keeper: Keeper, to: Path, arguments: list[str], status: int) -> None:
    """Too early, no time at all, and two choices at once."""
    assert keeper("drill", "a", *arguments).status == status


def test_drill_of_s3_lists_once(keeper: Keeper, make_database: MakeDatabase, s3: S3) -> None:
    """And reads each snapshot once, with its manifest and latest.json, and leaves a mark."""
    paths = [make_database(f"{name}.sqlite3", rows=2) for name in "abc"]
    assert keeper("backup", *paths, "--to", f"{s3.to}/web1").status == 0
    s3.forget_calls()
    run = keeper("drill", "--from", f"{s3.to}/web1", "--json")
    assert run.status == 0, run.err
    assert s3.calls().count("LIST BUCKET") == 1
    assert s3.calls().count("GET OBJECT") == 9
    assert sorted(path[-12:] for path in s3.created()) == [".proven.json"] * 3


def test_hostile_manifest_is_an_error_of_its_database_alone(keeper: Keeper, to: Path) -> None:
    """A gigabyte of manifest is not even downloaded."""
    with manifest_beside(newest(to, "a")).open("wb") as file:
        file.truncate(2**30)
    run = keeper("drill", "--json")
    assert run.status == 12
    assert [e["outcome"] for e in run.json["databases"]] == ["failed", "proven"]
    assert "1073741824 bytes are too many" in run.json["databases"][0]["reason"]


def test_unreadable_latest_json_is_told(keeper: Keeper, to: Path) -> None:
    """The newest snapshot of the listing is proven all the same."""
    (to / "a/latest.json").write_bytes(b"\xff\xfe")
    run = keeper("drill", "a", "--json")
    assert (run.status, run.entry["outcome"]) == (0, "proven")
    assert "latest.json: is not JSON" in run.err


@pytest.mark.parametrize("run", ["keeper", "terminal"])
def test_drill_leaves_the_hold(request: pytest.FixtureRequest, to: Path, run: str) -> None:
    """It proves what is left, whoever asks, and nothing of what was lost."""
    edit(to / "a/latest.json", lambda manifest: manifest.update(HOLD))
    before = (to / "a/latest.json").read_bytes()
    assert request.getfixturevalue(run)("drill", "a").status == 0
    assert (to / "a/latest.json").read_bytes() == before


@pytest.mark.parametrize("optional", [False, True])
def test_pattern_without_a_match_is_told(
    keeper: Keeper, to: Path, backup_config: BackupConfig, optional: bool
) -> None:
    """Nobody would hear of its databases on a disk that is not mounted; optional ones excepted."""
    tenants: dict[str, object] = {"path": to.parent / "tenants/*.sqlite3", "optional": optional}
    backup_config(to.parent / "a.sqlite3", tenants, to=str(to))

    run = keeper("drill", "--json")

    assert run.status == (0 if optional else 3)
    said = [entry["reason"] for entry in run.json["databases"] if entry["outcome"] == "failed"]
    assert ["no file matches" in reason for reason in said] == [True] * (not optional)


def test_optional_database_that_is_not_there_is_skipped(
    keeper: Keeper, to: Path, backup_config: BackupConfig
) -> None:
    """It was never there, so it has no snapshot; others are proven."""
    absent: dict[str, object] = {"path": to.parent / "none.sqlite3", "optional": True}
    backup_config(to.parent / "a.sqlite3", absent, to=str(to))

    run = keeper("drill", "--json")

    assert run.status == 0
    assert [entry["outcome"] for entry in run.json["databases"]] == ["proven", "skipped"]
