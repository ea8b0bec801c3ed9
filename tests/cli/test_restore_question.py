"""What `keeper restore --replace` asks at a terminal."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Keeper, MakeDatabase, count_rows
from tests.diff.databases import opened


@pytest.fixture
def shipped(keeper: Keeper, make_database: MakeDatabase) -> Path:
    """A database that has three rows more than its snapshot of 50."""
    path = make_database(rows=50)
    assert keeper("backup", path, "--to", "dest").status == 0
    with opened(path) as connection:
        connection.execute("INSERT INTO t (body) VALUES (1), (2), (3)").fetchall()
    return path


def at_terminal(folder: Path, answer: str, *arguments: str) -> tuple[int, str]:
    """Run a restore whose user sits at a terminal: the status, and what stands there."""
    person, terminal = pty.openpty()
    try:
        os.write(person, answer.encode())
        done = subprocess.run(
            [sys.executable, "-m", "sqlitekeeper", "restore", "./app.sqlite3", *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            stdin=terminal,
            stdout=subprocess.DEVNULL,
            stderr=terminal,
            timeout=120,
        )
        return done.returncode, os.read(person, 2**16).decode()
    finally:
        os.close(person)
        os.close(terminal)


def test_what_will_go_is_said_before_it_is_asked(shipped: Path, tmp_path: Path) -> None:
    """Three rows that nobody has saved."""
    status, said = at_terminal(tmp_path, "y\n", "--from", "dest", "--replace")

    assert status == 0, said
    assert "app: t: 3 rows that are not in the snapshot will go" in said
    assert f"Replace {shipped}? [y/N]" in said
    assert count_rows(shipped) == 50


def test_no_leaves_the_database_as_it_is(shipped: Path, tmp_path: Path) -> None:
    """Nothing is set aside either."""
    status, said = at_terminal(tmp_path, "n\n", "--from", "dest", "--replace")

    assert status == 2
    assert "left as it is, as you wished" in said
    assert count_rows(shipped) == 53
    assert not list(tmp_path.glob("app.sqlite3.before-*"))
    assert not list(tmp_path.glob("keeper-staging-*"))


def test_yes_is_not_asked(shipped: Path, tmp_path: Path) -> None:
    """And nothing is counted."""
    status, said = at_terminal(tmp_path, "", "--from", "dest", "--replace", "--yes")

    assert status == 0
    assert "will go" not in said
    assert count_rows(shipped) == 50


def test_damaged_database_can_be_replaced(shipped: Path, tmp_path: Path) -> None:
    """What goes with it cannot be counted; that is said, and no reason to stop."""
    shipped.write_bytes(b"rubbish" * 1000)

    status, said = at_terminal(tmp_path, "y\n", "--from", "dest", "--replace")

    assert status == 0, said
    assert "what will go could not be counted:" in said
    assert count_rows(shipped) == 50
