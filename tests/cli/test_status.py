"""`keeper status`: the destination's own words."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.catalogs import REFUSES_WRITES, copied, flip_bit, newest, set_back, ship_once
from tests.conftest import S3, BackupConfig, Keeper, MakeDatabase, Outcome, WrapRclone, in_folder


@pytest.fixture(scope="module")
def once_shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ship_once(tmp_path_factory.mktemp("shipped"), "a", "b")


@pytest.fixture
def to(once_shipped: Path, tmp_path: Path) -> Path:
    """A destination with snapshots of a and b, unknown to any configuration."""
    return copied(once_shipped, tmp_path)


def outcomes(run: Outcome) -> dict[str, str]:
    return {e["name"]: e["outcome"] for e in run.json["databases"]}


def test_everything_there_is_shown_without_a_configuration(keeper: Keeper, to: Path) -> None:
    """From any host, without any local state."""
    run = keeper("status", "--from", to, "--json", env={"KEEPER_STATE": "/nonexistent"})
    assert run.status == 0
    assert outcomes(run) == {"a": "fresh", "b": "fresh"}
    entry = run.json["databases"][0]
    assert entry["bytes"] == newest(to, "a").stat().st_size
    assert entry["last_proven_at"] is None
    assert 0 <= entry["age_seconds"] < 600


def test_one_stale_database_is_12(keeper: Keeper, to: Path) -> None:
    """It does not hide behind the other."""
    set_back(to, 27, "a")
    run = keeper("status", "--from", to, "--json")
    assert run.status == 12
    assert outcomes(run) == {"a": "stale", "b": "fresh"}


def test_max_age_of_the_command_line_wins(keeper: Keeper, to: Path) -> None:
    """The default is 26 hours."""
    set_back(to, 27, "a")
    assert keeper("status", "--from", to, "--max-age", "28h").status == 0
    run = keeper("status", "--from", to, "--max-age", "soon")
    assert run.status == 2
    assert "--max-age: 'soon' is not a duration" in run.err


def test_database_of_a_glob_that_was_never_backed_up_is_missing(
    keeper: Keeper, to: Path, backup_config: BackupConfig, make_database: MakeDatabase
) -> None:
    """It is configured, so it is asked for; one with backup = false is not, unless named."""
    make_database("c.sqlite3", rows=1)
    make_database("cache.db", rows=1)
    cache: dict[str, object] = {"path": to.parent / "cache.db", "backup": False}
    backup_config({"path": to.parent / "*.sqlite3"}, cache, to=str(to))
    run = keeper("status", "--json")
    assert run.status == 12
    assert outcomes(run) == {"a": "fresh", "b": "fresh", "c": "missing"}
    assert outcomes(keeper("status", "cache", "--json")) == {"cache": "missing"}


def test_max_age_of_the_configuration(
    keeper: Keeper, to: Path, backup_config: BackupConfig
) -> None:
    """backup.max_age."""
    set_back(to, 2, "a")
    backup_config(to.parent / "a.sqlite3", to=str(to), max_age="1h")
    assert keeper("status").status == 12


def test_unreachable_destination_is_a_failure(
    keeper: Keeper, to: Path, backup_config: BackupConfig
) -> None:
    """Never fresh; one of two is enough, and it is named."""
    backup_config(to.parent / "a.sqlite3", to=[str(to), "gone:bucket"])
    run = keeper("status", "--json")
    assert run.status == 1
    assert run.entry["outcome"] == "failed"
    assert run.entry["to"] == "gone:bucket"
    assert "gone" in run.entry["reason"]


def test_worst_of_two_destinations_is_shown(
    keeper: Keeper, to: Path, backup_config: BackupConfig, tmp_path: Path
) -> None:
    """Each must be fresh."""
    second = shutil.copytree(to, tmp_path / "second")
    set_back(second, 48, "a")
    backup_config(tmp_path / "a.sqlite3", to=[str(to), str(second)])
    run = keeper("status", "--json")
    assert run.status == 12
    assert (run.entry["outcome"], run.entry["to"]) == ("stale", str(second))
    assert str(second) in run.entry["reason"]


def test_last_proof_is_shown(keeper: Keeper, to: Path) -> None:
    """As the mark at the destination tells it."""
    assert keeper("drill", "a", "--from", to).status == 0
    (mark,) = to.rglob("*.proven.json")
    first = keeper("status", "--from", to, "--json").json["databases"][0]
    assert first["last_proven_at"] == json.loads(mark.read_text())["at"]


def test_last_proof_of_a_destination_that_takes_no_marks_is_remembered(
    keeper: Keeper, to: Path, wrap_rclone: WrapRclone
) -> None:
    """By this host, so that it is not lost."""
    wrap_rclone(copy=REFUSES_WRITES)
    place = in_folder(to)
    assert keeper("drill", "a", "--from", place).status == 0
    first = keeper("status", "--from", place, "--json").json["databases"][0]
    assert first["last_proven_at"] is not None


def test_snapshot_that_failed_its_drill_is_not_fresh(keeper: Keeper, to: Path) -> None:
    """The only one there is is known to be broken."""
    flip_bit(newest(to, "a"), 5000)
    assert keeper("drill", "a", "--from", to).status == 12
    assert outcomes(keeper("status", "--from", to, "--json")) == {"a": "missing", "b": "fresh"}


def test_hostile_papers_are_an_error_of_their_database_alone(keeper: Keeper, to: Path) -> None:
    """A gigabyte, invalid UTF-8, wrong types, deep nesting, another's name, a newer format."""
    metadata = {
        "binary": b"\xff\xfe",
        "deep": b"[" * 100_000,
        "types": b'{"format": 1, "database": 5, "snapshot": []}',
        "future": b'{"format": 2}',
        "other": (to / "a/latest.json").read_bytes(),
    }
    for name, text in metadata.items():
        (to / name).mkdir()
        (to / name / "latest.json").write_bytes(text)
    (to / "huge").mkdir()
    with (to / "huge/latest.json").open("wb") as file:
        file.truncate(2**30)

    run = keeper("status", "--from", to, "--json")

    assert run.status == 3
    expected = dict.fromkeys([*metadata, "huge"], "failed") | {"a": "fresh", "b": "fresh"}
    assert outcomes(run) == expected
    reasons = {e["name"]: e["reason"] for e in run.json["databases"] if e["reason"]}
    assert "1073741824 bytes are too many" in reasons["huge"]
    assert "upgrade keeper" in reasons["future"]
    assert "is not JSON" in reasons["binary"]
    assert "is the manifest of 'a'" in reasons["other"]


def test_status_of_s3_lists_once_and_reads_small_files_in_one_run(
    keeper: Keeper, make_database: MakeDatabase, s3: S3
) -> None:
    """However many databases."""
    paths = [make_database(f"{name}.sqlite3", rows=2) for name in "abc"]
    assert keeper("backup", *paths, "--to", f"{s3.to}/web1").status == 0
    s3.forget_calls()
    run = keeper("status", "--from", f"{s3.to}/web1", "--json", "-v")
    assert run.status == 0, run.err
    assert s3.calls().count("LIST BUCKET") == 1
    assert s3.calls().count("GET OBJECT") == 3
    assert len(re.findall(r"rclone (?:lsjson|copy) ", run.err)) == 2


def test_fleet_shows_every_host_of_a_bucket(
    keeper: Keeper, make_database: MakeDatabase, s3: S3, any_rclone: Path
) -> None:
    """At any depth, with no configuration, in one listing and one transfer run."""
    paths = [make_database(f"{name}.sqlite3", rows=2) for name in "ab"]
    assert keeper("backup", *paths, "--to", f"{s3.to}/web1").status == 0
    assert keeper("backup", paths[0], "--to", f"{s3.to}/eu/web2").status == 0
    s3.forget_calls()
    run = keeper("status", "--fleet", s3.to, "--json", "-v")
    assert run.status == 0, run.err
    shown = [(e["host"], e["name"], e["outcome"]) for e in run.json["databases"]]
    assert shown == [("eu/web2", "a", "fresh"), ("web1", "a", "fresh"), ("web1", "b", "fresh")]
    assert len(re.findall(r"rclone (?:lsjson|copy) ", run.err)) == 2
    assert s3.calls().count("GET OBJECT") == 3


def test_fleet_finds_the_stale_database_of_one_host(
    keeper: Keeper, to: Path, tmp_path: Path
) -> None:
    """And says which host's it is."""
    other = shutil.copytree(to, tmp_path / "fleet" / "web2")
    to.rename(tmp_path / "fleet" / "web1")
    set_back(other, 72, "a")
    run = keeper("status", "--fleet", tmp_path / "fleet", "--json")
    assert run.status == 12
    stale = [e["host"] for e in run.json["databases"] if e["outcome"] == "stale"]
    assert stale == ["web2"]
    said = keeper("status", "--fleet", tmp_path / "fleet").err
    assert "web2" in said


def test_fleet_can_be_one_host(keeper: Keeper, to: Path) -> None:
    """Without a folder for it, the host is who the manifests say."""
    host = json.loads((to / "a/latest.json").read_text())["host"]
    run = keeper("status", "a", "--fleet", to, "--json")
    assert [e["host"] for e in run.json["databases"]] == [host]


@pytest.mark.parametrize("arguments", [["--fleet", "empty"], ["nobody", "--fleet", "dest"]])
def test_fleet_without_what_was_asked_for_is_12(
    keeper: Keeper, to: Path, tmp_path: Path, arguments: list[str]
) -> None:
    """A watch that watches nothing must not be silent."""
    (tmp_path / "empty").mkdir()
    assert keeper("status", *arguments).status == 12


def test_latest_json_of_somebody_else_is_no_database(keeper: Keeper, to: Path) -> None:
    """As among files of an application that are shipped below the same place."""
    (to / "files/releases").mkdir(parents=True)
    (to / "files/releases/latest.json").write_text('{"version": "1.2.3"}')

    run = keeper("status", "--fleet", to, "--json")

    assert run.status == 0
    assert [entry["name"] for entry in run.json["databases"]] == ["a", "b"]


def test_fleet_of_nothing_but_somebody_elses_latest_json_is_12(
    keeper: Keeper, tmp_path: Path
) -> None:
    """A watch that watches nothing must not be silent."""
    (tmp_path / "fleet/releases").mkdir(parents=True)
    (tmp_path / "fleet/releases/latest.json").write_text("{}")

    run = keeper("status", "--fleet", "fleet")

    assert (run.status, "there is no snapshot below it" in run.err) == (12, True)


def test_nothing_there_at_all_is_12(keeper: Keeper, tmp_path: Path) -> None:
    """No configuration, no snapshot."""
    run = keeper("status", "--from", tmp_path / "nowhere", "--json")
    assert (run.status, run.json["ok"]) == (12, False)


def test_latest_json_is_not_believed_against_the_listing(keeper: Keeper, to: Path) -> None:
    """A confirmation of today for a snapshot that was cut short."""
    set_back(to, 48, "a", confirmed=True)
    assert outcomes(keeper("status", "a", "--from", to, "--json")) == {"a": "fresh"}
    with newest(to, "a").open("r+b") as file:
        file.truncate(4096)
    assert outcomes(keeper("status", "a", "--from", to, "--json")) == {"a": "missing"}


def test_table_on_a_terminal(terminal: Keeper, keeper: Keeper, to: Path) -> None:
    """Each database is a row."""
    set_back(to, 48, "b")
    run = terminal("status", "--from", to, "--no-color")
    rows = [line.split() for line in run.out.splitlines()]
    assert rows[0][:3] == ["database", "outcome", "age"]
    assert rows[1][:2] == ["a", "fresh"]
    assert rows[2][:4] == ["b", "stale", "2.0", "days"]


@pytest.mark.parametrize("optional", [False, True])
def test_pattern_without_a_match_is_told(
    keeper: Keeper, to: Path, backup_config: BackupConfig, optional: bool
) -> None:
    """Nobody would hear of its databases on a disk that is not mounted; optional ones excepted."""
    tenants: dict[str, object] = {"path": to.parent / "tenants/*.sqlite3", "optional": optional}
    backup_config(to.parent / "a.sqlite3", tenants, to=str(to))

    run = keeper("status", "--json")

    assert run.status == (0 if optional else 12)
    said = [entry["reason"] for entry in run.json["databases"] if entry["outcome"] == "missing"]
    assert ["no file matches" in reason for reason in said] == [True] * (not optional)
