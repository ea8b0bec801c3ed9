"""`keeper snapshots`: what can be restored, from any host."""

import json
import re
from pathlib import Path

import pytest

from sqlitekeeper.destination.layout import manifest_object
from sqlitekeeper.destination.manifest import timestamp
from tests.conftest import S3, BackupConfig, Keeper, MakeDatabase
from tests.histories import NOW, add_history, add_mark, days_ago, put

LAST_TWO = {"keep_last": 2, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0}


@pytest.fixture
def to(tmp_path: Path) -> Path:
    """A local destination."""
    return tmp_path / "to"


def test_a_snapshot_is_listed_as_it_was_shipped(
    keeper: Keeper, make_database: MakeDatabase, to: Path, any_rclone: Path
) -> None:
    """Without the database, the configuration, or anything that this host remembers."""
    app = make_database(rows=10)
    entry = keeper("backup", app, "--to", to, "--json").entry
    app.unlink()

    run = keeper("snapshots", "--from", to, "--json", env={"KEEPER_STATE": str(to / "none")})

    (listed,) = run.json["snapshots"]
    manifest = json.loads((to / "app/latest.json").read_text())
    assert run.status == 0
    assert listed == {
        "database": "app",
        "to": str(to),
        "object": entry["shipped"][0]["object"],
        "taken_at": manifest["taken_at"],
        "bytes": entry["bytes"],
        "kept_by": ["newest", "last", "daily", "weekly", "monthly"],
        "proof": None,
        "proof_at": None,
        "stored_bytes": entry["bytes"],
        "encoding": "plain",
        "is_whole": True,
    }
    assert not (to / "none").exists()


def test_on_s3_it_costs_one_list_call(
    keeper: Keeper, s3: S3, tmp_path: Path, any_rclone: Path
) -> None:
    """And no other call."""
    objects = add_history(tmp_path / "history", "app", [days_ago(1), days_ago(2)])
    put(tmp_path / "history", f"{s3.to}/host")
    s3.forget_calls()
    run = keeper("snapshots", "--from", f"{s3.to}/host", "--json")
    assert [one["object"] for one in run.json["snapshots"]] == objects
    assert s3.calls() == ["LIST BUCKET"]


def test_several_destinations_are_merged_newest_first(
    keeper: Keeper, backup_config: BackupConfig, tmp_path: Path
) -> None:
    """Each snapshot once for every place that holds it."""
    one, two = tmp_path / "one", tmp_path / "two"
    add_history(one, "app", [days_ago(1), days_ago(3)])
    add_history(two, "app", [days_ago(2), days_ago(3)])
    backup_config(tmp_path / "app.sqlite3", to=[str(one), str(two)])
    found = keeper("snapshots", "--json").json["snapshots"]
    assert [(each["to"], each["taken_at"]) for each in found] == [
        (str(one), timestamp(days_ago(1))),
        (str(two), timestamp(days_ago(2))),
        (str(one), timestamp(days_ago(3))),
        (str(two), timestamp(days_ago(3))),
    ]


def test_the_rules_of_the_configuration_are_named(
    keeper: Keeper, backup_config: BackupConfig, to: Path, tmp_path: Path
) -> None:
    """None of them: it goes with the next backup."""
    add_history(to, "app", [days_ago(days) for days in (1, 2, 3)])
    backup_config(tmp_path / "app.sqlite3", to=to, **LAST_TWO)
    found = keeper("snapshots", "--json").json["snapshots"]
    assert [each["kept_by"] for each in found] == [["newest", "last"], ["last"], []]


def test_proofs_are_shown_with_their_times(keeper: Keeper, to: Path) -> None:
    """As the marks at the destination say; one that cannot be read has no time."""
    objects = add_history(to, "app", [days_ago(days) for days in (1, 2, 3)])
    add_mark(to, objects[0], "failed", NOW)
    (to / add_mark(to, objects[1], "failed")).write_text("?")
    add_mark(to, objects[2], "proven", days_ago(1))
    found = keeper("snapshots", "--from", to, "--json").json["snapshots"]
    assert [(each["proof"], each["proof_at"]) for each in found] == [
        ("failed", timestamp(NOW)),
        ("failed", None),
        ("proven", timestamp(days_ago(1))),
    ]
    assert found[2]["kept_by"][-1] == "last proven"


def test_without_a_manifest_it_is_no_snapshot(keeper: Keeper, to: Path) -> None:
    """Nor is a manifest without one."""
    whole, bare, gone = add_history(to, "app", [days_ago(days) for days in (1, 2, 3)])
    (to / manifest_object(bare)).unlink()
    (to / gone).unlink()
    found = keeper("snapshots", "--from", to, "--json").json["snapshots"]
    assert [each["object"] for each in found] == [whole]


@pytest.mark.parametrize("argument", ["production", "./db/app.sqlite3"])
def test_a_database_is_meant_by_name_or_path(
    keeper: Keeper, backup_config: BackupConfig, to: Path, tmp_path: Path, argument: str
) -> None:
    """As configured; the file need not be there."""
    for name in ("production", "other"):
        add_history(to, name, [days_ago(1)])
    backup_config({"path": tmp_path / "db/app.sqlite3", "name": "production"}, to=to)
    run = keeper("snapshots", argument, "--json")
    assert [each["database"] for each in run.json["snapshots"]] == ["production"]
    assert run.entry["path"] == str(tmp_path / "db/app.sqlite3")


def test_any_name_that_is_there_will_do(
    keeper: Keeper, backup_config: BackupConfig, to: Path, tmp_path: Path
) -> None:
    """Without names only what is configured is listed; with --from everything is."""
    for name in ("app", "other"):
        add_history(to, name, [days_ago(1)])
    backup_config(tmp_path / "app.sqlite3", to=to)

    def listed(*arguments: object) -> list[str]:
        found = keeper("snapshots", *arguments, "--json").json["snapshots"]
        return [each["database"] for each in found]

    assert listed() == ["app"]
    assert listed("other") == ["other"]
    assert listed("--from", to) == ["app", "other"]


def test_a_configured_database_without_snapshots_is_a_failure_when_named(
    keeper: Keeper, backup_config: BackupConfig, to: Path, tmp_path: Path
) -> None:
    """An empty answer with status 0 would look like all is well."""
    to.mkdir()
    backup_config(tmp_path / "app.sqlite3", to=to)
    run = keeper("snapshots", "app", "--json")
    assert (run.status, run.entry["outcome"]) == (1, "failed")
    assert run.entry["reason"] == f"no snapshot at {to}"


def test_an_unknown_name_is_a_usage_error(keeper: Keeper, to: Path) -> None:
    """With those that there are."""
    add_history(to, "app", [days_ago(1)])
    run = keeper("snapshots", "nothing", "--from", to)
    assert run.status == 2
    assert "no destination has snapshots of it" in run.err
    assert "there are: app" in run.err


def test_a_destination_that_does_not_answer_is_a_failure(keeper: Keeper, to: Path) -> None:
    """3 when others do, and they are shown; 1 when none does."""
    add_history(to, "app", [days_ago(1)])
    some = keeper("snapshots", "--from", to, "--from", "nowhere:", "--json")
    assert (some.status, len(some.json["snapshots"])) == (3, 1)
    assert some.json["databases"][-1]["name"] == "nowhere:"
    assert keeper("snapshots", "--from", "nowhere:").status == 1


def test_a_place_that_is_not_there_is_said_to_be_empty(keeper: Keeper, to: Path) -> None:
    """It is not a failure: nobody has shipped yet."""
    run = keeper("snapshots", "--from", to)
    assert run.status == 0
    assert f"no snapshots at {to}" in run.out


def test_no_destination_is_a_usage_error(keeper: Keeper) -> None:
    """That says how to give one."""
    run = keeper("snapshots", "app")
    assert run.status == 2
    assert "no destination" in run.err
    assert "add --from REMOTE" in run.err


def test_on_a_terminal_it_is_a_table(terminal: Keeper, to: Path) -> None:
    """Age, size, what keeps it, its proof and where it is."""
    objects = add_history(to, "app", [days_ago(2), days_ago(800)])
    add_mark(to, objects[0], "proven")
    out = terminal("snapshots", "--from", to, "--no-color", env={"COLUMNS": "300"}).out
    heading, first, *_ = out.splitlines()
    assert heading.split()[:5] == ["database", "taken", "(UTC)", "age", "size"]
    cells = [cell.strip() for cell in first.split("  ") if cell.strip()]
    assert cells[:3] == ["app", f"{days_ago(2):%Y-%m-%d %H:%M:%S}", "2.0 days"]
    assert cells[-2:] == [f"proven {NOW:%Y-%m-%d}", str(to)]


def test_in_a_log_it_is_a_line_for_each(keeper: Keeper, to: Path) -> None:
    """With everything that the table has."""
    (key,) = add_history(to, "app", [days_ago(1)])
    line = keeper("snapshots", "--from", to).out
    taken = re.escape(f"app: {key}, {timestamp(days_ago(1))}")
    assert re.search(rf"{taken}, 24\.\d hours old, ", line)
    assert line.endswith(f"kept by newest, last, daily, weekly, monthly, at {to}\n")


@pytest.mark.parametrize("command", ["snapshots", "prune"])
def test_help_has_an_example(keeper: Keeper, command: str) -> None:
    """One that can be copied."""
    assert f"\n    keeper {command} -" in keeper(command, "--help").out


def test_table_fits_a_narrow_terminal(terminal: Keeper, to: Path) -> None:
    """What is most important stays; the rest is cut short or left out."""
    add_history(to, "app", [days_ago(2)])
    out = terminal("snapshots", "--from", to, "--no-color", env={"COLUMNS": "80"}).out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert out.splitlines()[0].split()[:5] == ["database", "taken", "(UTC)", "age", "size"]


def test_on_a_narrow_terminal_each_destination_has_a_table(
    terminal: Keeper, to: Path, tmp_path: Path
) -> None:
    """Where a column would be too much, two rows of one snapshot still are not the same."""
    for place in (to, tmp_path / "second"):
        add_history(place, "app", [days_ago(2)])
    options = ["--from", to, "--from", tmp_path / "second", "--no-color"]

    out = terminal("snapshots", *options, env={"COLUMNS": "80"}).out.splitlines()

    assert [line for line in out if line.startswith("at ")] == [
        f"at {to}:",
        f"at {tmp_path}/second:",
    ]
    assert sum(line.startswith("app ") for line in out) == 2
