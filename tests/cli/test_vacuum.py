"""`keeper vacuum`."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.maintain.vacuum import VacuumOptions, vacuum
from sqlitekeeper.state.history import History
from tests.conftest import (
    Companion,
    Keeper,
    MakeDatabase,
    Mount,
    OtherUser,
    StartKeeper,
    contents,
    has_open,
    needs_root,
    pragma,
    wait_until,
)

Beside = Callable[[str, Path], Companion]
KEYS = {
    *("name", "path", "outcome", "reason", "freed_pages", "freed_bytes", "free_pages_left"),
    *("bytes_before", "bytes_after", "wal_bytes_before", "wal_bytes_after", "checkpoint"),
    *("longest_lock_ms", "seconds", "page_size"),
}


def history(tmp_path: Path, path: Path) -> list[int]:
    """The free bytes that keeper remembers of a database, oldest first."""
    return [point.free_bytes for point in History(tmp_path / "state").points([path]).get(path, ())]


def test_thousand_pages_are_the_default(keeper: Keeper, make_database: MakeDatabase) -> None:
    """The everyday command frees 1,000 pages, and says so."""
    path = make_database(rows=6000, deleted=5990)
    before = pragma(path, "freelist_count")

    run = keeper("vacuum", path, "--json")

    assert run.status == 0
    assert before - pragma(path, "freelist_count") == run.entry["freed_pages"]
    # Freeing the page of a pointer map costs no step of the cursor.
    assert 1000 <= run.entry["freed_pages"] <= 1002


def test_json_has_the_documented_keys(keeper: Keeper, make_database: MakeDatabase) -> None:
    """Scripts rely on them; the numbers are those of the file."""
    path = make_database(deleted=390)
    size = path.stat().st_size

    run = keeper("vacuum", path, "--pages", 20, "--json")

    entry = run.entry
    assert entry.keys() >= KEYS
    assert entry["checkpoint"].keys() == {"busy", "log_frames", "checkpointed_frames"}
    assert (entry["freed_pages"], entry["freed_bytes"]) == (20, 20 * 4096)
    assert entry["free_pages_left"] == pragma(path, "freelist_count")
    assert (entry["bytes_before"], entry["bytes_after"]) == (size, path.stat().st_size)


def test_all_drains_the_free_list(keeper: Keeper, make_database: MakeDatabase) -> None:
    """--all, in batches that --verbose shows."""
    path = make_database(deleted=390)

    run = keeper("vacuum", path, "--all", "--verbose")

    assert run.status == 0
    assert pragma(path, "freelist_count") == 0
    assert run.err.count(" freed ") > 1


def test_short_locks_take_more_batches(keeper: Keeper, make_database: MakeDatabase) -> None:
    """--max-lock-ms divides the work."""
    counts = []
    for limit in (1, 1000):
        path = make_database(f"{limit}.sqlite3", rows=2400, deleted=2390)
        run = keeper("vacuum", path, "--all", "--verbose", "--max-lock-ms", limit, "--budget", 3)
        counts.append(run.err.count(" freed "))

    assert counts[0] > counts[1]


@pytest.mark.parametrize(
    ("options", "left"), [(["--pages", 10], -10), (["--all", "--keep-free-pages", 15], 15)]
)
def test_limits_are_kept(
    keeper: Keeper, make_database: MakeDatabase, options: list[object], left: int
) -> None:
    """As many pages stay as the options say."""
    path = make_database(deleted=390)
    before = pragma(path, "freelist_count")

    keeper("vacuum", path, *options)

    assert pragma(path, "freelist_count") == (left if left > 0 else before + left)


def test_settings_of_the_configuration_apply(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """[vacuum] of keeper.toml, for the databases that it names."""
    path = make_database(deleted=390)
    (tmp_path / "keeper.toml").write_text(
        f'[[databases]]\npath = "{path}"\nname = "shop"\n[vacuum]\npages = 7\n'
    )

    run = keeper("vacuum", "--json")

    assert (run.entry["name"], run.entry["freed_pages"]) == ("shop", 7)


def test_option_wins_over_the_configuration(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Even where the option's value is 0."""
    path = make_database(deleted=390)
    (tmp_path / "keeper.toml").write_text("[vacuum]\npages = 7\nkeep_free_pages = 5\n")

    keeper("vacuum", path, "--pages", 0, "--keep-free-pages", 0)

    assert pragma(path, "freelist_count") == 0


def test_spent_budget_frees_nothing(keeper: Keeper, make_database: MakeDatabase) -> None:
    """--budget 0 starts no batch."""
    run = keeper("vacuum", make_database(deleted=390), "--budget", 0, "--json")

    assert (run.status, run.entry["freed_pages"]) == (0, 0)


def test_dry_run_changes_nothing(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Neither a byte of the database nor the memory of its size."""
    path = make_database("data/app.sqlite3", deleted=390)
    before = contents(path.parent)

    run = keeper("vacuum", path, "--dry-run", "--json")

    assert (run.status, run.entry["outcome"], run.json["dry_run"]) == (0, "skipped", True)
    assert "would free" in run.entry["reason"]
    assert contents(path.parent) == before
    assert history(tmp_path, path) == []


def test_statistics_are_made_when_asked(keeper: Keeper, make_database: MakeDatabase) -> None:
    """--optimize runs PRAGMA optimize."""
    path = make_database(rows=100)
    connection = apsw.Connection(str(path))
    connection.execute("CREATE INDEX i ON t (length(body))").fetchall()
    connection.close()

    keeper("vacuum", path, "--optimize")

    connection = apsw.Connection(str(path))
    names = connection.execute("SELECT name FROM sqlite_schema").fetchall()
    connection.close()
    assert ("sqlite_stat1",) in names


# What is not done, and why.


def test_database_without_auto_vacuum_exits_0(keeper: Keeper, make_database: MakeDatabase) -> None:
    """A cron job does not fail for it; the way out is named."""
    path = make_database(auto_vacuum="none", deleted=100)

    run = keeper("vacuum", path)

    assert run.status == 0
    assert f"keeper convert {path}" in run.out


def test_read_only_file_exits_0(keeper: Keeper, make_database: MakeDatabase) -> None:
    """Skipped with a word, unchanged."""
    path = make_database("data/app.sqlite3", deleted=100)
    path.chmod(0o444)
    before = contents(path.parent)

    run = keeper("vacuum", path, "--json")

    assert (run.status, run.entry["outcome"]) == (0, "skipped")
    assert run.entry["reason"] == "the file is read-only"
    assert contents(path.parent) == before


def test_read_only_folder_exits_0(make_database: MakeDatabase, other_user: OtherUser) -> None:
    """Its owner cannot make a WAL there; keeper says so and goes on."""
    folder = other_user.folder / "data"
    folder.mkdir()
    path = folder / "app.sqlite3"
    make_database(deleted=100).rename(path)
    os.chown(path, other_user.uid, other_user.gid)
    before = contents(folder)

    run = other_user.keeper("vacuum", path, "--json")

    assert (run.status, run.entry["outcome"]) == (0, "skipped")
    assert run.entry["reason"] == f"the folder {folder} is read-only"
    assert contents(folder) == before


@needs_root
def test_read_only_mount_exits_0(keeper: Keeper, make_database: MakeDatabase, mount: Mount) -> None:
    """A file system that is mounted read-only is skipped with a word."""
    folder = mount("disk", "4m")
    path = make_database("disk/app.sqlite3", deleted=100)
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    before = contents(folder)

    run = keeper("vacuum", path, "--json")

    assert (run.status, run.entry["outcome"]) == (0, "skipped")
    assert run.entry["reason"] == "the file system is mounted read-only"
    assert contents(folder) == before


def test_second_run_is_skipped(
    keeper: Keeper, make_database: MakeDatabase, keepers_lock: Callable[[Path], Companion]
) -> None:
    """Cron started the next run before the last one ended: no error."""
    path = make_database(deleted=390)
    before = pragma(path, "freelist_count")
    keepers_lock(path)

    run = keeper("vacuum", path, "--json")

    assert (run.status, run.entry["outcome"]) == (0, "skipped")
    assert "another keeper run" in run.entry["reason"]
    assert pragma(path, "freelist_count") == before


@pytest.mark.parametrize(
    ("journal_mode", "companions", "status"),
    [("wal", 1, 1), ("delete", 2, 3)],
    ids=["alone", "among others"],
)
def test_locked_database_is_busy(
    keeper: Keeper,
    make_database: MakeDatabase,
    beside: Beside,
    journal_mode: str,
    companions: int,
    status: int,
) -> None:
    """It does not stop the others, and does not hide behind them either."""
    locked = make_database("locked.sqlite3", deleted=390, journal_mode=journal_mode)
    others = [make_database(f"other{n}.sqlite3", deleted=390) for n in range(1, companions)]
    beside("lock", locked)

    run = keeper("vacuum", locked, *others, "--json")

    assert run.status == status
    outcomes = [entry["outcome"] for entry in run.json["databases"]]
    assert outcomes == ["busy"] + ["done"] * len(others)
    assert "database is locked" in run.json["databases"][0]["reason"]


def test_missing_database_does_not_stop_the_others(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """3: some failed, the others are done."""
    path = make_database(deleted=390)

    run = keeper("vacuum", tmp_path / "absent.sqlite3", path, "--json")

    assert run.status == 3
    assert [entry["outcome"] for entry in run.json["databases"]] == ["failed", "done"]
    assert not (tmp_path / "absent.sqlite3").exists()


def test_reader_that_holds_the_wal_is_named(
    keeper: Keeper, make_database: MakeDatabase, beside: Beside
) -> None:
    """Status 0, `busy` true, and the process id to look for."""
    path = make_database(deleted=390)
    reader = beside("read", path)

    run = keeper("vacuum", path, "--json")

    assert (run.status, run.entry["outcome"]) == (0, "done")
    assert run.entry["checkpoint"]["busy"] is True
    if Path("/proc/locks").exists():
        assert f"pid {reader.pid}" in run.entry["reason"]


def test_checkpoint_is_null_without_a_wal(keeper: Keeper, make_database: MakeDatabase) -> None:
    """A rollback-journal database has nothing to checkpoint."""
    path = make_database(deleted=390, journal_mode="delete")

    assert keeper("vacuum", path, "--json").entry["checkpoint"] is None


def test_no_checkpoint_leaves_the_wal(keeper: Keeper, make_database: MakeDatabase) -> None:
    """--no-checkpoint, also when nobody else has the database open."""
    path = make_database(deleted=390)

    run = keeper("vacuum", path, "--no-checkpoint", "--json")

    assert run.entry["checkpoint"] is None
    assert path.with_name(path.name + "-wal").stat().st_size == run.entry["wal_bytes_after"] > 0


# keeper's memory.


def test_each_run_is_remembered(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A sample for every run, as the database was after it."""
    path = make_database(deleted=390)
    before = pragma(path, "freelist_count")

    for _ in range(2):
        keeper("vacuum", path, "--pages", 10)

    assert history(tmp_path, path) == [(before - 10) * 4096, (before - 20) * 4096]


@pytest.mark.parametrize("damage", ["noise", "folder"])
def test_trouble_with_the_memory_only_warns(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path, damage: str
) -> None:
    """A damaged or unwritable history does not stop the work."""
    path = make_database(deleted=390)
    file = tmp_path / "state" / "history.sqlite3"
    file.parent.mkdir()
    file.write_bytes(b"no database" * 100) if damage == "noise" else file.mkdir()

    run = keeper("vacuum", path, "--pages", 10, "--quiet")

    assert run.status == 0
    assert "warning: sizes not remembered" in run.err
    assert pragma(path, "freelist_count") > 0


def test_memory_of_a_newer_keeper_only_warns(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """After a downgrade the work goes on, and the reason is said."""
    path = make_database(deleted=390)
    keeper("vacuum", path, "--pages", 1)
    connection = apsw.Connection(str(tmp_path / "state" / "history.sqlite3"))
    connection.pragma("user_version", 99)
    connection.close()

    run = keeper("vacuum", path, "--pages", 1)

    assert run.status == 0
    assert "written by a newer keeper (format 99)" in run.err


# Words.


def test_log_line_tells_the_numbers(keeper: Keeper, make_database: MakeDatabase) -> None:
    """One line for each database: freed, left, sizes and the longest lock."""
    run = keeper("vacuum", make_database(deleted=390), "--pages", 20)

    (line,) = run.out.splitlines()
    assert "app: freed 20 pages (80.0 KiB)," in line
    assert "longest lock" in line
    assert run.err == ""


def test_quiet_run_is_silent(keeper: Keeper, make_database: MakeDatabase) -> None:
    """-q says nothing when nothing is wrong."""
    run = keeper("vacuum", make_database(deleted=390), "-q")

    assert (run.status, run.out, run.err) == (0, "", "")


def test_quiet_failure_speaks(keeper: Keeper, tmp_path: Path) -> None:
    """-q still says what went wrong."""
    run = keeper("vacuum", tmp_path / "absent.sqlite3", "-q")

    assert (run.status, run.out) == (1, "")
    assert "no such file" in run.err


@pytest.mark.parametrize(
    "options", [["--all", "--pages", "5"], ["--pages", "-1"], ["--budget", "x"]]
)
def test_impossible_options_are_usage_errors(
    keeper: Keeper, make_database: MakeDatabase, options: list[str]
) -> None:
    """Status 2, before anything is touched."""
    path = make_database("data/app.sqlite3", deleted=390)
    before = contents(path.parent)

    assert keeper("vacuum", path, *options).status == 2
    assert contents(path.parent) == before


def test_nothing_to_work_on_says_how_to_start(keeper: Keeper) -> None:
    """Without a database and without a configuration."""
    run = keeper("vacuum")

    assert run.status == 2
    assert "keeper.toml" in run.err


def test_file_of_another_user_is_a_failure_not_a_skip(
    other_user: OtherUser, tmp_path: Path
) -> None:
    """A cron job of the wrong user must not be silent for ever."""
    path = other_user.folder / "app.sqlite3"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE t (x)").fetchall()
    connection.close()

    run = other_user.keeper("vacuum", path, "--quiet")

    assert run.status == 1
    assert "belongs to root, and this user may not write it" in run.err
    assert "sudo -u root" in run.err


def test_several_databases_at_once_are_told_in_order(
    keeper: Keeper, make_database: MakeDatabase
) -> None:
    """With --jobs, log and result are what they would be without."""
    paths = [make_database(f"db{n}.sqlite3", rows=900, deleted=600 + 20 * n) for n in range(6)]

    run = keeper("vacuum", "-v", "--json", "--jobs", "3", *paths)

    assert [entry["name"] for entry in run.json["databases"]] == [path.stem for path in paths]
    said = [line.split()[1].rstrip(":") for line in run.err.splitlines() if " freed " in line]
    assert said == sorted(said)
    assert len(set(said)) == len(paths)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_all_that_work_at_once(
    start_keeper: StartKeeper,
    make_database: MakeDatabase,
    beside: Callable[[str, Path], Companion],
    number: int,
) -> None:
    """Also those that wait for a lock of the application."""
    paths = [make_database(f"db{n}.sqlite3", rows=900, deleted=600) for n in range(2)]
    for path in paths:
        beside("lock", path)
    running = start_keeper("vacuum", "--jobs", "2", *paths)
    wait_until(lambda: all(has_open(running.process.pid, str(path)) for path in paths))

    assert running.end(number).status == 130


def test_checkpoint_beside_an_affected_sqlite_is_told(
    keeper: Keeper, make_database: MakeDatabase
) -> None:
    """3.40.1 wrote it last: another process's checkpoint may lose its transactions."""
    path = make_database(rows=10)
    with path.open("r+b") as file:
        file.seek(96)
        file.write((3_040_001).to_bytes(4, "big"))

    told = keeper("vacuum", path, "--json")
    left = keeper("vacuum", path, "--json", "--no-checkpoint")

    assert "last written by SQLite 3.40.1" in told.entry["reason"]
    assert left.entry["reason"] is None


def test_configuration_may_leave_the_wal_alone(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """checkpoint = false is --no-checkpoint for every run."""
    path = make_database(rows=10)
    (tmp_path / "keeper.toml").write_text(
        f'[[databases]]\npath = "{path}"\n[vacuum]\ncheckpoint = false\n'
    )

    assert keeper("vacuum", "--json").entry["checkpoint"] is None


@pytest.mark.parametrize("by", ["option", "configuration"])
def test_passive_checkpoint_needs_no_writers_lock(
    keeper: Keeper, make_database: MakeDatabase, beside: Beside, tmp_path: Path, by: str
) -> None:
    """It copies the whole WAL while a transaction goes on, and the file keeps its length."""
    path = make_database(rows=10)
    application = apsw.Connection(str(path))
    application.execute("INSERT INTO t (body) VALUES (randomblob(900))").fetchall()
    length = path.with_name(path.name + "-wal").stat().st_size
    beside("lock", path)
    (tmp_path / "keeper.toml").write_text('[vacuum]\ncheckpoint = "passive"\n')
    option = ["--checkpoint", "passive"] if by == "option" else []

    run = keeper("vacuum", path, "--json", *option)

    application.close()
    assert run.status == 0
    found = run.entry["checkpoint"]
    assert (found["busy"], found["checkpointed_frames"]) == (False, found["log_frames"])
    assert found["log_frames"] > 0
    assert (run.entry["longest_lock_ms"], run.entry["reason"]) == (0, None)
    assert run.entry["wal_bytes_after"] == length


def test_passive_checkpoint_says_who_keeps_the_rest_of_the_wal(
    keeper: Keeper, make_database: MakeDatabase, beside: Beside
) -> None:
    """What a reader's transaction does not see yet cannot be copied while it lasts."""
    path = make_database(rows=10)
    reader = beside("read", path)
    application = apsw.Connection(str(path))
    application.execute("INSERT INTO t (body) VALUES (randomblob(900))").fetchall()

    run = keeper("vacuum", path, "--json", "--checkpoint", "passive")

    application.close()
    assert "could not be copied as a whole" in run.entry["reason"]
    if Path("/proc/locks").exists():
        assert f"pid {reader.pid}" in run.entry["reason"]


def test_application_without_a_busy_timeout_has_no_error_beside_passive_checkpoints(
    make_database: MakeDatabase, beside: Beside
) -> None:
    """As bun, deno and @libsql/client are: whoever commits asks for the writer's lock once."""
    path = make_database(rows=10)
    application = beside("hasty", path)

    for _ in range(30):
        vacuum(path, VacuumOptions(checkpoint="passive"))

    commits, errors = map(int, application.end().split())
    assert commits > 0
    assert errors == 0


def test_two_ways_to_leave_the_wal_do_not_contradict_each_other(
    keeper: Keeper, make_database: MakeDatabase
) -> None:
    """--no-checkpoint is --checkpoint none, and no other."""
    path = make_database(rows=10)

    assert keeper("vacuum", path, "--no-checkpoint", "--checkpoint", "none").status == 0
    assert keeper("vacuum", path, "--no-checkpoint", "--checkpoint", "passive").status == 2


@pytest.mark.parametrize("suffix", ["-shm", "-wal"])
def test_user_of_the_group_is_told_whose_sidecar_keeps_it_out(
    make_database: MakeDatabase, other_user: OtherUser, beside: Beside, suffix: str
) -> None:
    """The application makes them with its own group, where the folder has no setgid bit."""
    path = other_user.folder / "app.sqlite3"
    make_database(rows=1).rename(path)
    os.chown(path, 12345, other_user.gid)
    path.chmod(0o660)
    application = beside("idle", path)
    os.chown(f"{path}{suffix}", 12345, 12345)

    run = other_user.keeper("vacuum", path, "--json")

    application.end()
    assert (run.status, run.entry["outcome"]) == (1, "failed")
    assert f"app.sqlite3{suffix} beside it belongs to #12345" in run.entry["reason"]
    assert "sudo -u" in run.entry["reason"]


def test_file_that_cannot_be_read_is_a_failure(
    make_database: MakeDatabase, other_user: OtherUser
) -> None:
    """Whoever runs keeper as the wrong user has to hear of it."""
    path = other_user.folder / "app.sqlite3"
    make_database(rows=1).rename(path)
    os.chown(path, other_user.uid, other_user.gid)
    path.chmod(0)

    run = other_user.keeper("vacuum", path, "--json")

    assert (run.status, run.entry["outcome"]) == (1, "failed")
