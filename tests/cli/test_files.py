"""`keeper files` as its users see it."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import (
    Companion,
    Keeper,
    MakeDatabase,
    StartKeeper,
    WrapRclone,
    contents,
    is_running,
    wait_until,
)


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The destination."""
    return tmp_path / "there"


@pytest.fixture
def uploads(tmp_path: Path, there: Path) -> Path:
    """A folder of ten files that keeper.toml names, with a database in it."""
    folder = tmp_path / "uploads"
    folder.mkdir()
    for index in range(10):
        (folder / f"{index}.jpg").write_text("picture")
    (tmp_path / "keeper.toml").write_text(
        f'[[databases]]\npath = "uploads/app.db"\n'
        f'[[files]]\nname = "uploads"\npath = "uploads"\nto = "{there}/"\nexclude = ["tmp/**"]\n'
    )
    return folder


def test_log_has_one_line_for_each_set(keeper: Keeper, uploads: Path, there: Path) -> None:
    """With the numbers."""
    run = keeper("files")

    assert (run.status, run.err) == (0, "")
    assert f"uploads: synced to {there}: 10 of 10 files uploaded (70 Bytes of 70 Bytes)" in run.out
    assert ", 0 deleted, 1 SQLite database left out, in " in run.out


def test_terminal_has_a_table(terminal: Keeper, uploads: Path) -> None:
    """One row for each set."""
    run = terminal("files", "--no-color", env={"COLUMNS": "120"})

    assert run.status == 0
    row = next(line for line in run.out.splitlines() if line.startswith("uploads"))
    assert row.split()[:7] == ["uploads", "synced", "10", "70", "Bytes", "10", "(70"]


def test_json_has_an_entry_for_each_set(
    keeper: Keeper, uploads: Path, there: Path, make_database: MakeDatabase
) -> None:
    """Under `files`; `databases` is there and empty."""
    make_database("uploads/app.db", rows=1)

    said = keeper("files", "--json").json

    (entry,) = said["files"]
    assert (said["command"], said["ok"], said["error"]) == ("files", True, None)
    assert (said["databases"], said["dry_run"]) == ([], False)
    assert entry.pop("seconds") > 0
    assert entry == {
        "name": "uploads",
        "path": str(uploads),
        "outcome": "synced",
        "reason": None,
        "to": str(there),
        "files": 10,
        "bytes": 70,
        "files_before": 0,
        "uploaded_files": 10,
        "uploaded_bytes": 70,
        "deleted_files": 0,
        "would_upload_files": None,
        "would_upload_bytes": None,
        "would_delete_files": None,
        "left_out": ["app.db"],
        "links": 0,
    }


def test_failure_as_json_has_the_same_shape(keeper: Keeper, tmp_path: Path) -> None:
    """A script finds the list even when there is no configuration."""
    run = keeper("files", "--json")

    assert (run.status, run.json["files"], run.json["databases"]) == (2, [], [])


def test_quiet_says_nothing_when_all_is_well(keeper: Keeper, uploads: Path) -> None:
    """And the verbose show what rclone was asked."""
    assert (keeper("files", "--quiet").out, keeper("files", "-q").err) == ("", "")
    assert " sync --verbose " in keeper("files", "--verbose").err


def test_refused_deletion_is_one_clear_line(keeper: Keeper, uploads: Path, there: Path) -> None:
    """Exit status 1; with --force it goes through."""
    keeper("files")
    for index in range(5):
        (uploads / f"{index}.jpg").unlink()

    refused = keeper("files", "--quiet")
    forced = keeper("files", "--force")

    assert refused.status == 1
    (line,) = refused.err.splitlines()
    assert f"would delete 5 of 10 files at {there}, more than the 1 that max_delete allows" in line
    assert (forced.status, contents(there)) == (0, contents(uploads))


def test_max_delete_is_read_from_the_configuration(
    keeper: Keeper, uploads: Path, there: Path, tmp_path: Path
) -> None:
    """As a percentage, here of everything."""
    keeper("files")
    with (tmp_path / "keeper.toml").open("a") as file:
        file.write('max_delete = "50%"\n')
    for index in range(5):
        (uploads / f"{index}.jpg").unlink()

    assert keeper("files").status == 0
    assert len(contents(there)) == 5


def test_dry_run_takes_no_lock_and_leaves_no_trace(
    keeper: Keeper, uploads: Path, there: Path, tmp_path: Path
) -> None:
    """Neither there nor in keeper's state."""
    run = keeper("files", "--dry-run", "--json")

    assert (run.status, run.json["dry_run"]) == (0, True)
    assert run.json["files"][0]["would_upload_files"] == 10
    assert not there.exists()
    assert not (tmp_path / "state").exists()


def test_set_that_another_run_works_on_is_locked(
    keeper: Keeper, uploads: Path, there: Path, keepers_lock: Callable[[Path], Companion]
) -> None:
    """Exit status 11, and nothing is done."""
    holder = keepers_lock(uploads)
    run = keeper("files")
    holder.end()

    assert run.status == 11
    assert "another keeper run holds the lock" in run.err
    assert not there.exists()


def test_names_choose_sets(keeper: Keeper, uploads: Path, there: Path, tmp_path: Path) -> None:
    """The others are not touched; one that fails leaves the status of a part."""
    with (tmp_path / "keeper.toml").open("a") as file:
        file.write('[[files]]\nname = "docs"\npath = "docs"\nto = "b2:docs"\n')

    chosen = keeper("files", "uploads", "uploads", "--json")
    everything = keeper("files", "--json")

    assert (chosen.status, [one["name"] for one in chosen.json["files"]]) == (0, ["uploads"])
    assert everything.status == 3
    assert [one["outcome"] for one in everything.json["files"]] == ["synced", "failed"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("upload", "upload: no [[files]] has this name"),
        ("", "no [[files]] has this name"),
    ],
)
def test_unknown_name_is_a_usage_error(
    keeper: Keeper, uploads: Path, argument: str, message: str
) -> None:
    """With the name that was probably meant, or all that there are."""
    run = keeper("files", argument)

    assert run.status == 2
    assert message in run.err
    assert "uploads" in run.err


@pytest.mark.parametrize("config", [None, "[backup]\n"])
def test_nothing_configured_says_how_to_start(
    keeper: Keeper, tmp_path: Path, config: str | None
) -> None:
    """With a table to copy."""
    if config:
        (tmp_path / "keeper.toml").write_text(config)

    run = keeper("files")

    assert run.status == 2
    assert "[[files]]" in run.err


def test_backup_into_the_place_of_files_is_refused(
    keeper: Keeper, uploads: Path, there: Path, make_database: MakeDatabase
) -> None:
    """The next sync would delete the snapshots; also when only --to names it."""
    make_database("uploads/app.db", rows=1)

    run = keeper("backup", "--to", there / "snapshots")

    assert run.status == 2
    assert f"{there} holds {there}/snapshots of --to" in run.err
    assert "[[files]] uploads" in run.err
    assert not there.exists()


def test_places_that_differ_in_case_alone_are_refused(
    keeper: Keeper, uploads: Path, tmp_path: Path
) -> None:
    """Where case does not count, the snapshots would be deleted."""
    config = tmp_path / "keeper.toml"
    config.write_text(
        f"[backup]\nto = 'drop:Backups'\n"
        f"[[files]]\nname = 'up'\npath = '{uploads}'\nto = 'drop:backups'\n"
    )

    run = keeper("files")

    assert run.status == 2
    assert "drop:backups is the same place as drop:Backups of backup.to" in run.err


def test_interrupted_run_leaves_no_rclone_behind(
    start_keeper: StartKeeper, uploads: Path, tmp_path: Path, wrap_rclone: WrapRclone
) -> None:
    """And ends with 130."""
    pid_file = tmp_path / "pid"
    wrap_rclone(sync=f'echo $$ > "{pid_file}.new"; mv "{pid_file}.new" "{pid_file}"; exec sleep 60')

    running = start_keeper("files")
    wait_until(pid_file.exists)
    run = running.end(signal.SIGTERM)

    assert run.status == 130
    wait_until(lambda: not is_running(int(pid_file.read_text())))


def test_config_show_prints_the_set(keeper: Keeper, uploads: Path) -> None:
    """With its limit, default or not."""
    words = [line.split() for line in keeper("config", "show").out.splitlines()]

    assert ["files", "uploads"] in words
    assert ["max_delete", "1,000", "files", "or", "10", "%"] in words


@pytest.mark.parametrize(
    ("state", "status", "message"),
    [("full", 0, "is there, with files in it"), ("empty", 1, "is empty"), ("gone", 1, "no such")],
)
def test_doctor_looks_at_the_folder(
    keeper: Keeper, tmp_path: Path, state: str, status: int, message: str
) -> None:
    """What the next run would fail with, it says before."""
    if state != "gone":
        (tmp_path / "uploads").mkdir()
    if state == "full":
        (tmp_path / "uploads" / "x").touch()
    (tmp_path / "keeper.toml").write_text(
        '[[files]]\nname = "uploads"\npath = "uploads"\nto = "there"\n'
    )

    run = keeper("doctor", "--json")

    (finding,) = [one for one in run.json["findings"] if one["check"] == "files"]
    assert message in finding["message"]
    assert (finding["level"], run.status) == (("fail", 1) if status else ("ok", 0))
    assert json.dumps(finding["fix"]) == "null" or "keeper.toml" in finding["fix"]
