"""Runs that are ended in the middle, by signals and by SIGKILL."""

import signal
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from tests.conftest import (
    BackupConfig,
    Companion,
    Keeper,
    MakeDatabase,
    StartKeeper,
    has_open,
    is_running,
    wait_until,
)

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", SIGNALS)
def test_interrupted_upload_ends_rclone_too(
    start_keeper: StartKeeper, app: Path, staging: Path, stalled_upload: Path, number: int
) -> None:
    """Status 130, the child is gone, staging is empty."""
    running = start_keeper("backup", "--json")
    wait_until(stalled_upload.exists)

    run = running.end(number)

    assert (run.status, run.json["error"]["code"]) == (130, 130)
    wait_until(lambda: not is_running(int(stalled_upload.read_text())))
    assert list(staging.iterdir()) == []


@pytest.mark.parametrize("number", SIGNALS)
def test_interrupted_snapshot_leaves_nothing(
    start_keeper: StartKeeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    staging: Path,
    stalled_upload: Path,
    to: Path,
    number: int,
) -> None:
    """A part of a snapshot does not stay, and the next database is not begun."""
    paths = [
        make_database(f"{name}.sqlite3", rows=rows) for name, rows in (("a", 40_000), ("b", 1))
    ]
    backup_config(*paths, to=to)
    running = start_keeper("backup")
    wait_until(lambda: any(path.stat().st_size for path in staging.rglob("*.sqlite3")))

    run = running.end(number)

    assert run.status == 130
    assert "b: snapshot" not in run.err
    assert list(staging.iterdir()) == []
    assert not stalled_upload.exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_interrupted_wait_for_a_lock_ends_at_once(
    start_keeper: StartKeeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    beside: Callable[[str, Path], Companion],
    staging: Path,
    to: Path,
    number: int,
) -> None:
    """While the application holds its database, keeper still hears signals."""
    path = make_database(rows=1, journal_mode="delete")
    backup_config(path, to=to)
    beside("lock", path)
    running = start_keeper("backup")
    wait_until(lambda: any((folder / "snapshots" / "app").exists() for folder in staging.iterdir()))

    run = running.end(number)

    assert run.status == 130
    assert list(staging.iterdir()) == []


@pytest.mark.parametrize("number", SIGNALS)
def test_interrupted_check_leaves_nothing(
    start_keeper: StartKeeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    staging: Path,
    stalled_upload: Path,
    to: Path,
    number: int,
) -> None:
    """A check that is under way ends without a snapshot."""
    path = make_database(rows=40_000)
    connection = apsw.Connection(str(path))
    # To check takes half a millisecond for each row then, and to make or to copy it does not.
    slow = "length(body) + 0 * length(hex(zeroblob(length(body) + 3e5)))"
    connection.execute(
        "CREATE INDEX slow ON t (length(body)); PRAGMA writable_schema = ON;"
        f"UPDATE sqlite_schema SET sql = 'CREATE INDEX slow ON t ({slow})' WHERE name = 'slow'"
    ).fetchall()
    connection.close()
    backup_config(path, to=to)
    running = start_keeper("backup")
    wait_until(stalled_upload.exists)
    # It is uploaded and checked at the same time.
    wait_until(lambda: has_open(running.process.pid, "/snapshots/app/"))

    run = running.end(number)

    assert run.status == 130
    assert list(staging.iterdir()) == []
    assert not to.exists()


def test_killed_run_leaves_litter_that_the_next_one_removes(
    start_keeper: StartKeeper,
    keeper: Keeper,
    app: Path,
    staging: Path,
    stalled_upload: Path,
) -> None:
    """Nothing can be done about SIGKILL but to tidy up next time, and to say so."""
    running = start_keeper("backup")
    wait_until(stalled_upload.exists)
    running.process.kill()
    running.process.wait()
    (litter,) = staging.iterdir()

    run = keeper("backup", env={"KEEPER_RCLONE": ""})

    assert run.status == 0
    assert f"removed {litter}, left by a run that was killed" in run.err
    assert list(staging.iterdir()) == []


def test_folder_of_a_run_beside_stays(
    start_keeper: StartKeeper,
    keeper: Keeper,
    app: Path,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    staging: Path,
    stalled_upload: Path,
    to: Path,
) -> None:
    """A run does not take another's snapshot away while that is being uploaded."""
    running = start_keeper("backup")
    wait_until(stalled_upload.exists)
    (busy,) = staging.iterdir()
    backup_config(make_database("other.sqlite3", rows=1), to=to)

    run = keeper("backup", env={"KEEPER_RCLONE": ""})

    assert run.status == 0
    assert list(staging.iterdir()) == [busy]
    assert list(busy.rglob("*.sqlite3"))
    assert running.end(signal.SIGINT).status == 130
