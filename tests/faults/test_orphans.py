"""The rclone of a keeper that was killed: it ends by itself, and does the next run no harm."""

import os
import signal
from pathlib import Path

import pytest

from tests.conftest import BackupConfig, Keeper, StartKeeper, is_running, wait_until
from tests.faults.killing import children
from tests.faults.ledger import make_ledger, problems_of
from tests.faults.scene import assert_whole, litter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger that takes a while to upload slowly."""
    make_ledger(tmp_path / "app.sqlite3", bytes_of_ballast=2_000_000)
    return tmp_path / "app.sqlite3"


def test_upload_of_a_killed_keeper_ends_and_harms_nothing(
    keeper: Keeper,
    start_keeper: StartKeeper,
    path: Path,
    tmp_path: Path,
    staging: Path,
    backup_config: BackupConfig,
    any_rclone: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its part of a snapshot never gets a manifest."""
    to = tmp_path / "dest"
    monkeypatch.setenv("RCLONE_CONFIG_DISK_TYPE", "local")
    backup_config(path, to=to, rclone_args=["--bwlimit", "200k"])
    running = start_keeper("backup")
    wait_until(lambda: any(file.stat().st_size for file in to.glob("app/*.sqlite3*")))
    (orphan,) = children(running.process.pid)
    os.kill(running.process.pid, signal.SIGKILL)
    running.process.wait()
    backup_config(path, to=to)

    run = keeper("backup", "--json")

    assert (run.status, run.entry["outcome"]) == (0, "shipped")
    assert "left by a run that was killed" in run.err
    assert litter(staging) == set()
    wait_until(lambda: not is_running(orphan))
    assert_whole(to)
    (shipped,) = run.entry["shipped"]
    assert problems_of(to / shipped["object"]) == []
    assert len(list(to.glob("app/*Z-?????.json"))) == 1
