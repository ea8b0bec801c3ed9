"""Two keeper runs on one database at once, which do not see each other's locks."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, OtherUser, Outcome
from tests.faults.conftest import StartWriter
from tests.faults.ledger import make_ledger, make_slack, problems_of
from tests.faults.scene import assert_whole

ROUNDS = 2


def side_by_side(folder: Path, *arguments: object) -> list[Outcome]:
    """The same command from two state folders, begun in the same moment."""
    with ExitStack() as stack:
        both = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "sqlitekeeper", *map(str, arguments)],
                    cwd=folder,
                    env=os.environ
                    | {"PYTHONPATH": str(REPOSITORY), "KEEPER_STATE": str(folder / state)},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for state in ("state-a", "state-b")
        ]
        said = [process.communicate(timeout=60) for process in both]
    runs = [Outcome(p.returncode, *one) for p, one in zip(both, said, strict=True)]
    for run in runs:
        print(run.status, run.out, run.err)
        assert "Traceback" not in run.err
        assert "defect" not in run.err
    return runs


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger."""
    make_ledger(tmp_path / "app.sqlite3", bytes_of_ballast=300_000)
    return tmp_path / "app.sqlite3"


def test_backups_of_two_state_folders_are_whole(
    tmp_path: Path, path: Path, staging: Path, start_writer: StartWriter
) -> None:
    """In the same second, in which each gives its snapshot a name of its own."""
    start_writer(path)
    for _ in range(ROUNDS):
        runs = side_by_side(tmp_path, "backup", path, "--to", "dest", "--force", "--json")

        assert [run.status for run in runs] == [0, 0]
        assert len({run.entry["shipped"][0]["object"] for run in runs}) == 2
        assert_whole(tmp_path / "dest")


@pytest.mark.parametrize("command", ["vacuum", "convert"])
def test_other_commands_wait_for_each_other_or_say_why_not(
    tmp_path: Path, path: Path, start_writer: StartWriter, command: str
) -> None:
    """SQLite's own locks are enough for those."""
    writer = start_writer(path)
    for number in range(ROUNDS):
        make_slack(path, 300)
        mode = ["none", "incremental"][number % 2]
        more = ["--all"] if command == "vacuum" else ["--yes", "--auto-vacuum", mode]
        runs = side_by_side(tmp_path, command, path, *more)

        assert 0 in [run.status for run in runs]
        assert all(run.status == 0 or "database is locked" in run.err for run in runs)
        assert problems_of(path, writer.committed) == []


def test_root_and_the_owner_work_on_one_database(
    tmp_path: Path, start_writer: StartWriter, staging: Path, other_user: OtherUser
) -> None:
    """At the same time, and what belongs to the owner stays theirs."""
    path = other_user.folder / "app.sqlite3"
    make_ledger(path, bytes_of_ballast=300_000)
    os.chown(path, other_user.uid, other_user.gid)
    writer = start_writer(path)
    for _ in range(ROUNDS):
        make_slack(path, 300)
        with subprocess.Popen(
            [sys.executable, "-m", "sqlitekeeper", "vacuum", path, "--all"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        ) as roots:
            run = other_user.keeper("vacuum", path, "--all")
            assert roots.wait(60) == 0
        assert run.status == 0, run.err
        assert problems_of(path, writer.committed) == []
        for part in other_user.folder.glob("app.sqlite3*"):
            assert part.stat().st_uid == other_user.uid, part
