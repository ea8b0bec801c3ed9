"""Every example of every --help, run as it stands there."""

import os
import pty
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import apsw
import click
import pytest

from sqlitekeeper.cli.app import keeper
from tests.conftest import REPOSITORY

CONFIG = """\
[[databases]]
path = "storage/production.sqlite3"
[backup]
to = "b2:my-bucket/web1"
staging = "staging"
[[files]]
name = "uploads"
path = "uploads"
to = "b2:my-bucket/files"
"""
RAILS = """\
production:
  primary:
    adapter: sqlite3
    database: storage/production.sqlite3
"""


def examples(command: click.Command, name: str = "") -> list[str]:
    """The lines of a command's help, and of those below it, that call keeper."""
    lines = re.findall(r"^  (?:.*\s{3,})?(keeper .+)$", command.help or "", re.MULTILINE)
    # What follows three blanks explains.
    found = [re.split(r"\s{3,}", line)[0] for line in lines]
    assert found, f"keeper {name}: its help has no example"
    if isinstance(command, click.Group):
        for below in command.list_commands(click.Context(command)):
            inner = command.get_command(click.Context(command), below)
            assert inner is not None
            found += examples(inner, f"{name} {below}")
    return list(dict.fromkeys(found))


def surroundings(folder: Path) -> dict[str, str]:
    """An environment in which the folder is the whole world, and `b2:` a folder below it."""
    return os.environ | {
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "KEEPER_STATE": str(folder / "state"),
        "PATH": f"{folder}/bin:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "RCLONE_CONFIG": str(folder / "rclone.conf"),
        "RCLONE_CONFIG_B2_TYPE": "alias",
        "RCLONE_CONFIG_B2_REMOTE": str(folder / "remote"),
    }


def run_in(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Run a line in a shell whose user sits at a terminal and says yes."""
    person, terminal = pty.openpty()
    try:
        os.write(person, b"y\n")
        done = subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=folder,
            env=surroundings(folder),
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=terminal,
            text=True,
            timeout=120,
        )
        # What was typed stands there too, so that there is always something to read.
        done.stderr = os.read(person, 2**16).decode()
        return done
    finally:
        os.close(person)
        os.close(terminal)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an application: a database with a backup, uploads, a keeper.toml."""
    folder = tmp_path_factory.mktemp("examples")
    for name in ("bin", "storage", "staging", "remote", "uploads", "config"):
        (folder / name).mkdir()
    script = folder / "bin" / "keeper"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sqlitekeeper "$@"\n')
    script.chmod(0o755)
    (folder / "keeper.toml").write_text(CONFIG)
    (folder / "config" / "database.yml").write_text(RAILS)
    (folder / "uploads" / "picture.jpg").write_bytes(b"not really")
    # As most databases are: never told to be able to shrink.
    connection = apsw.Connection(str(folder / "storage" / "production.sqlite3"))
    connection.execute("CREATE TABLE t (x)").fetchall()
    connection.execute("CREATE TABLE posts (title)").fetchall()
    connection.execute("INSERT INTO t VALUES (1), (2)").fetchall()
    connection.close()
    made = run_in(folder, "keeper backup")
    assert made.returncode == 0, made.stderr
    return folder


@pytest.mark.parametrize("line", examples(keeper))
def test_example_of_the_help_works(line: str, prepared: Path, tmp_path: Path) -> None:
    """Whoever copies it gets what it says, in such a folder."""
    folder = tmp_path / "app"
    shutil.copytree(prepared, folder)
    if line.startswith("keeper init"):
        (folder / "storage" / "production.sqlite3").unlink()
    # An example's date is some day; the snapshot is of today.
    line = re.sub(r"\d{4}-\d\d-\d\d", datetime.now(UTC).date().isoformat(), line)

    done = run_in(folder, line)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    *_, target = line.split(" > ")
    assert done.stdout or (target != line and (folder / target).stat().st_size)


def test_every_command_has_an_example() -> None:
    """Which calls that command."""
    lines = examples(keeper)

    for name in keeper.list_commands(click.Context(keeper)):
        assert any(line.split()[1] == name for line in lines)
