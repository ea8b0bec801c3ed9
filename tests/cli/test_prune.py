"""`keeper prune`: what goes, what stays and why, as people and programs see it."""

from pathlib import Path

import pytest

from sqlitekeeper.destination.layout import manifest_object
from tests.conftest import S3, BackupConfig, Keeper, WrapRclone
from tests.histories import add_history, add_mark, days_ago, files_below, put, whole

LAST_TWO = {"keep_last": 2, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0}
HOLD = {"since": "2026-11-01T03:00:00+00:00", "tables": {"t": [1000, 7]}}


@pytest.fixture
def to(tmp_path: Path) -> Path:
    """A local destination."""
    return tmp_path / "to"


@pytest.fixture
def objects(to: Path, backup_config: BackupConfig, tmp_path: Path) -> list[str]:
    """Four snapshots of a configured database that is not on this host; two of them stay."""
    backup_config(tmp_path / "app.sqlite3", to=to, **LAST_TWO)
    return add_history(to, "app", [days_ago(days) for days in (1, 2, 3, 4)])


def test_what_no_rule_keeps_goes(
    keeper: Keeper, to: Path, objects: list[str], tmp_path: Path, any_rclone: Path
) -> None:
    """With manifests; what went and what stays is in the entry."""
    run = keeper("prune", "--json")

    assert run.status == 0
    assert files_below(to) == whole(objects[:2]) | {"app/latest.json"}
    assert run.json["pruned"] == run.entry["deleted"]
    assert set(run.entry["deleted"]) == whole(objects[2:])
    assert {key: run.entry[key] for key in ("name", "path", "outcome", "reason")} == {
        "name": "app",
        "path": str(tmp_path / "app.sqlite3"),
        "outcome": "done",
        "reason": None,
    }
    assert [(kept["object"], kept["kept_by"]) for kept in run.entry["kept"]] == [
        (objects[0], ["newest", "last"]),
        (objects[1], ["last"]),
    ]


def test_dry_run_says_what_would_go_and_why_the_rest_stays(
    keeper: Keeper, to: Path, objects: list[str]
) -> None:
    """And deletes nothing."""
    before = files_below(to)

    run = keeper("prune", "--dry-run")

    assert run.status == 0
    assert files_below(to) == before
    for path in whole(objects[2:]):
        assert f"app: would delete {path}\n" in run.out
    assert f"app: keeps {objects[0]}: newest, last\n" in run.out
    assert f"app: keeps {objects[1]}: last\n" in run.out


def test_dry_run_reports_nothing_as_deleted(keeper: Keeper, objects: list[str]) -> None:
    """What would be is a key of its own."""
    run = keeper("prune", "--dry-run", "--json")
    assert (run.json["pruned"], run.entry["deleted"], run.entry["outcome"]) == ([], [], "skipped")
    assert set(run.entry["would_delete"]) == whole(objects[2:])


def test_only_the_databases_that_are_named(keeper: Keeper, to: Path, objects: list[str]) -> None:
    """By a name that is found at the destination."""
    others = add_history(to, "other", [days_ago(days) for days in (1, 2, 3)])
    run = keeper("prune", "other", "--json")
    assert set(run.json["pruned"]) == whole(others[2:])


def test_without_names_only_what_is_configured(
    keeper: Keeper, to: Path, objects: list[str]
) -> None:
    """Somebody else may ship to the same place."""
    add_history(to, "other", [days_ago(days) for days in (1, 2, 3)])
    assert set(keeper("prune", "--json").json["pruned"]) == whole(objects[2:])


def test_from_another_place_everything_there(keeper: Keeper, tmp_path: Path) -> None:
    """Without a configuration the default rules apply."""
    add_history(tmp_path / "place", "app", [days_ago(days / 48) for days in range(1, 3)])
    others = add_history(tmp_path / "place", "other", [days_ago(0.001), days_ago(0.002)])
    run = keeper("prune", "--from", "place", "--json", "--dry-run")
    assert [entry["name"] for entry in run.json["databases"]] == ["app", "other"]
    assert run.json["databases"][1]["kept"][0]["object"] == others[0]


def test_a_database_on_hold_is_left_alone(
    keeper: Keeper, to: Path, backup_config: BackupConfig, tmp_path: Path
) -> None:
    """As its latest.json says; the others are pruned."""
    backup_config(tmp_path / "app.sqlite3", tmp_path / "b.sqlite3", to=to, **LAST_TWO)
    held = add_history(to, "app", [days_ago(d) for d in (1, 2, 3)], latest={"hold": HOLD})
    free = add_history(to, "b", [days_ago(days) for days in (1, 2, 3)])

    run = keeper("prune", "--json")

    entry = run.json["databases"][0]
    assert (run.status, entry["outcome"], entry["deleted"]) == (0, "skipped", [])
    assert "t fell from 1,000 rows to 7; pruning is on hold" in entry["reason"]
    assert entry["kept"][-1]["kept_by"] == ["on hold"]
    assert whole(held) <= files_below(to)
    assert set(run.json["pruned"]) == whole(free[2:])


def test_a_hold_that_cannot_be_read_stops_pruning(
    keeper: Keeper, to: Path, objects: list[str]
) -> None:
    """That is a failure: it was asked for, and it is not done."""
    (to / "app/latest.json").write_bytes(b"{")
    run = keeper("prune", "--json")
    assert (run.status, run.entry["outcome"], run.json["pruned"]) == (1, "failed", [])
    assert "latest.json: is not JSON" in run.entry["reason"]


def test_without_latest_json_the_newest_manifest_tells_of_a_hold(
    keeper: Keeper, to: Path, backup_config: BackupConfig, tmp_path: Path
) -> None:
    """It was written by the same run."""
    backup_config(tmp_path / "app.sqlite3", to=to, **LAST_TWO)
    add_history(to, "app", [days_ago(d) for d in (1, 2, 3)], latest={"hold": HOLD})
    (to / "app/latest.json").unlink()
    assert keeper("prune", "--json").json["pruned"] == []


def test_latest_json_that_is_older_than_the_newest_manifest_does_not_hide_a_hold(
    keeper: Keeper, to: Path, backup_config: BackupConfig, tmp_path: Path
) -> None:
    """The run that noticed the loss may have ended before latest.json arrived."""
    backup_config(tmp_path / "app.sqlite3", to=to, **LAST_TWO)
    add_history(to, "app", [days_ago(4)])
    stale = (to / "app/latest.json").read_bytes()
    add_history(to, "app", [days_ago(d) for d in (1, 2, 3)], latest={"hold": HOLD})
    (to / "app/latest.json").write_bytes(stale)

    assert keeper("prune", "--json").json["pruned"] == []


def test_the_last_proven_snapshot_stays(keeper: Keeper, to: Path, objects: list[str]) -> None:
    """And is said to be it."""
    add_mark(to, objects[3], "proven")
    run = keeper("prune", "--json")
    assert set(run.json["pruned"]) == whole([objects[2]])
    assert run.entry["kept"][-1]["kept_by"] == ["last proven"]


def test_a_refused_delete_is_a_failure(
    keeper: Keeper, objects: list[str], wrap_rclone: WrapRclone
) -> None:
    """Here it is all that was asked for."""
    wrap_rclone(delete='echo "AccessDenied: no deletes for you" >&2; exit 1')
    run = keeper("prune", "--json")
    assert (run.status, run.entry["outcome"], run.entry["deleted"]) == (1, "failed", [])
    assert "AccessDenied: no deletes for you" in run.entry["reason"]


def test_on_s3_one_list_call_and_no_delete_when_nothing_goes(
    keeper: Keeper, s3: S3, tmp_path: Path, any_rclone: Path
) -> None:
    """And nothing is downloaded either."""
    add_history(tmp_path / "history", "app", [days_ago(0.1)])
    put(tmp_path / "history", f"{s3.to}/host")
    s3.forget_calls()
    assert keeper("prune", "--from", f"{s3.to}/host").status == 0
    assert s3.calls() == ["LIST BUCKET"]


def test_on_s3_one_list_call_and_one_delete_for_each_object(
    keeper: Keeper, s3: S3, backup_config: BackupConfig, tmp_path: Path
) -> None:
    """All databases at once."""
    for name in ("a", "b"):
        add_history(tmp_path / "history", name, [days_ago(days) for days in (1, 2, 3)])
    put(tmp_path / "history", f"{s3.to}/host")
    backup_config(tmp_path / "a.sqlite3", tmp_path / "b.sqlite3", to=f"{s3.to}/host", **LAST_TWO)
    s3.forget_calls()

    run = keeper("prune", "--json", "-v")

    assert (run.status, len(run.json["pruned"])) == (0, 4)
    assert s3.calls().count("LIST BUCKET") == 1
    assert s3.calls().count("DELETE") == 4
    assert run.err.count("rclone delete") == 2


def test_one_destination_that_does_not_answer(
    keeper: Keeper, to: Path, objects: list[str], backup_config: BackupConfig, tmp_path: Path
) -> None:
    """The other one is pruned, and the exit status is 3."""
    backup_config(tmp_path / "app.sqlite3", to=[str(to), "nowhere:"], **LAST_TWO)
    run = keeper("prune", "--json")
    assert (run.status, set(run.json["pruned"])) == (3, whole(objects[2:]))
    assert run.json["databases"][1]["name"] == "nowhere:"


def test_rules_that_keep_nothing_are_refused(
    keeper: Keeper, to: Path, objects: list[str], backup_config: BackupConfig, tmp_path: Path
) -> None:
    """With prune = false they are allowed in the configuration, and mean something else."""
    nothing = LAST_TWO | {"keep_last": 0}
    backup_config(tmp_path / "app.sqlite3", to=to, prune=False, **nothing)
    run = keeper("prune")
    assert run.status == 2
    assert "every keep_* is 0" in run.err
    assert whole(objects) <= files_below(to)


def test_old_orphans_go(keeper: Keeper, to: Path, objects: list[str]) -> None:
    """They are named too."""
    (to / manifest_object(objects[1])).unlink()
    run = keeper("prune", "--dry-run")
    assert f"would delete {objects[1]}\n" in run.out


def test_an_unknown_name_is_a_usage_error(keeper: Keeper, objects: list[str]) -> None:
    """With the name that was probably meant."""
    run = keeper("prune", "appp")
    assert run.status == 2
    assert "did you mean app?" in run.err
