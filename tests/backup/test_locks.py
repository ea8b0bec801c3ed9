"""Two runs at once: locks on databases, and who waits for whom."""

import threading
import time
from contextlib import ExitStack
from pathlib import Path

from sqlitekeeper.state.locks import database_lock
from tests.backup.shipped import outcomes
from tests.conftest import (
    BackupConfig,
    Beside,
    Keeper,
    MakeDatabase,
    StartKeeper,
    has_open,
    wait_until,
)


def test_second_run_waits_for_the_lock(
    start_keeper: StartKeeper, app: Path, to: Path, tmp_path: Path
) -> None:
    """With time to wait, a run that comes second is done after the first."""
    with database_lock(tmp_path / "state", app):
        running = start_keeper("backup", "--lock-wait", "60", "--json")
        wait_until(lambda: has_open(running.process.pid, "/locks/"))

    assert running.end().status == 0


def test_second_run_gives_up_in_the_end(
    keeper: Keeper, app: Path, to: Path, tmp_path: Path
) -> None:
    """Alone, a database that another run holds is exit status 11."""
    with database_lock(tmp_path / "state", app):
        run = keeper("backup", "--lock-wait", "0.1", "--json")

    assert (run.status, run.entry["outcome"]) == (11, "failed")
    assert "another keeper run" in run.entry["reason"]
    assert not to.exists()


def test_locked_database_does_not_stop_the_others(
    keeper: Keeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    to: Path,
    tmp_path: Path,
) -> None:
    """One of two is locked: the other is shipped, and the status says some failed."""
    paths = [make_database(f"{name}.sqlite3", rows=5) for name in "ab"]
    backup_config(*paths, to=to)
    with database_lock(tmp_path / "state", paths[0]):
        run = keeper("backup", "--lock-wait", "0", "--json")

    assert (run.status, outcomes(run)) == (3, ["failed", "shipped"])


def test_locked_databases_are_waited_for_together(
    keeper: Keeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    to: Path,
    tmp_path: Path,
) -> None:
    """A run that hangs with ten locks does not keep the others back ten times as long."""
    paths = [make_database(f"{name}.sqlite3", rows=5) for name in "abcdefghijk"]
    backup_config(*paths, to=to)
    with ExitStack() as locks:
        for path in paths[:-1]:
            locks.enter_context(database_lock(tmp_path / "state", path))
        run = keeper("backup", "--lock-wait", "2", "--json")

    assert outcomes(run) == ["failed"] * 10 + ["shipped"]
    assert 2 < run.json["seconds"] < 10


def test_databases_locked_for_good_hold_nobody_up(
    start_keeper: StartKeeper,
    beside: Beside,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    to: Path,
) -> None:
    """What can be taken is shipped at once, what has become free in the end as well."""
    modes = ["wal", "delete"] * 2
    locked = [make_database(f"{n}.sqlite3", journal_mode=mode) for n, mode in enumerate(modes)]
    good = [make_database(f"{name}.sqlite3", rows=5) for name in "ab"]
    backup_config(*locked, *good, to=to)
    applications = [beside("exclusive", path) for path in locked]

    began = time.monotonic()
    running = start_keeper("backup", "--json")
    wait_until(lambda: all((to / name / "latest.json").exists() for name in "ab"))
    assert time.monotonic() - began < 10
    for application in applications:
        application.end()

    run = running.end()
    assert (run.status, outcomes(run)) == (0, ["shipped"] * 6)
    text = "which writes nothing meanwhile: as with locking_mode EXCLUSIVE"
    assert f"0.sqlite3: database is locked by pid {applications[0].pid} (python), {text}" in run.err


def test_another_run_holds_up_only_its_own_database(
    start_keeper: StartKeeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    to: Path,
    tmp_path: Path,
) -> None:
    """It is waited for when the others are shipped."""
    paths = [make_database(f"{name}.sqlite3", rows=5) for name in "ab"]
    backup_config(*paths, to=to)
    with database_lock(tmp_path / "state", paths[0]):
        running = start_keeper("backup", "--lock-wait", "60", "--json")
        wait_until((to / "b" / "latest.json").exists)

    assert outcomes(running.end()) == ["shipped", "shipped"]


def test_no_lock_is_held_while_waiting_for_another(
    start_keeper: StartKeeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    to: Path,
    tmp_path: Path,
) -> None:
    """What is staged is shipped and let go first: two runs never wait for each other."""
    paths = [make_database(f"{name}.sqlite3", rows=5) for name in "ab"]
    backup_config(*paths, to=to)
    with database_lock(tmp_path / "state", paths[1]):
        running = start_keeper("backup", "--lock-wait", "60", "--json")
        wait_until((to / "a" / "latest.json").exists)
        with database_lock(tmp_path / "state", paths[0], wait_seconds=30):
            pass

    assert outcomes(running.end()) == ["shipped", "shipped"]


def test_run_that_was_overtaken_while_it_waited_ships_under_a_name_of_its_own(
    keeper: Keeper, make_database: MakeDatabase
) -> None:
    """Its listing knows nothing of what the other run has shipped and pruned."""
    path = make_database(rows=50)
    assert keeper("backup", path, "--to", "dest").status == 0
    runs = []

    def back_up() -> None:
        runs.append(keeper("backup", path, "--to", "dest", "--force", "--json"))

    threads = [threading.Thread(target=back_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    shipped = [run.entry["shipped"][0]["object"] for run in runs]
    assert [run.status for run in runs] == [0, 0, 0, 0]
    assert len(set(shipped)) == 4
