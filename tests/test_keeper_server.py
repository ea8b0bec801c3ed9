"""A forked keeper is like a started one."""

import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import KEEPER_SECONDS, REPOSITORY, MakeDatabase, wait_until
from tests.keeper_server import KeeperServer

TIME = re.compile(r"(?m)^20\S+T\S+ ")


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(REPOSITORY)} | more


def started(arguments: list[str], cwd: Path, env: dict[str, str]) -> tuple[int, str, str]:
    """How the same command ends that Python starts."""
    command = [sys.executable, "-m", "sqlitekeeper", *arguments]
    done = subprocess.run(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["vacuum", "--help"],
        ["vacuum", "--nosuch"],
        ["report", "nosuch.sqlite3", "--json"],
        ["report", "app.sqlite3"],
        ["config", "show"],
        ["status", "--from", "nosuch:"],
    ],
    ids=" ".join,
)
def test_outputs_and_status_are_the_same(
    forks: KeeperServer, make_database: MakeDatabase, tmp_path: Path, arguments: list[str]
) -> None:
    """Also folder and environment are its own."""
    make_database(rows=10)
    (tmp_path / "named.toml").write_text('[[databases]]\npath = "other.sqlite3"\n')
    env = environment(KEEPER_CONFIG=str(tmp_path / "named.toml"))
    assert forks.can_run(env)
    forked = forks.run(arguments, tmp_path, env, KEEPER_SECONDS)
    assert timeless(forked) == timeless(started(arguments, tmp_path, env))


def timeless(run: tuple[int, str, str]) -> tuple[int, str, str]:
    """Without the moments at which the lines of a log were written."""
    status, out, err = run
    return status, re.sub(TIME, "", out), re.sub(TIME, "", err)


def test_umask_is_that_of_the_test(forks: KeeperServer, tmp_path: Path) -> None:
    """A database that is made tells."""
    before = os.umask(0o027)
    try:
        status, _, err = forks.run(["init", "a.db"], tmp_path, environment(), KEEPER_SECONDS)
    finally:
        os.umask(before)
    assert status == 0, err
    assert (tmp_path / "a.db").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["PYTHONUTF8", "LC_ALL", "TZ", "TMPDIR", "SQLITE_TMPDIR"])
def test_what_is_read_at_the_start_needs_one(forks: KeeperServer, name: str) -> None:
    """Such a run is not forked."""
    assert forks.can_run(environment())
    assert not forks.can_run(environment(**{name: "/var/tmp/other"}))


def test_runs_at_once_have_no_files_of_others_and_hear_signals(
    forks: KeeperServer, tmp_path: Path
) -> None:
    """Each has the three standard files open, and what it opened itself."""
    pipes = [tmp_path / "one.toml", tmp_path / "two.toml"]
    for pipe in pipes:
        os.mkfifo(pipe)

    def run(pipe: Path) -> tuple[int, str, str]:
        words = ["config", "show", "-c", str(pipe)]
        return forks.run(words, tmp_path, environment(), KEEPER_SECONDS)

    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(run, pipe) for pipe in pipes]
        ends = [writing_end(pipe) for pipe in pipes]
        readers = [reader_of(pipe) for pipe in pipes]
        for pid, _ in readers:
            os.kill(pid, signal.SIGTERM)
        errors = [done.result()[2] for done in runs]
    for end in ends:
        os.close(end)
    assert [text.strip() for text in errors] == ["keeper: error: ended by SIGTERM"] * 2
    assert [files for _, files in readers] == [{"0", "1", "2"}] * 2


def writing_end(pipe: Path) -> int:
    """Of a pipe, once somebody reads it."""
    ends: list[int] = []

    def look() -> bool:
        with suppress(OSError):
            ends.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        return bool(ends)

    wait_until(look)
    return ends[0]


def reader_of(pipe: Path) -> tuple[int, set[str]]:
    """The one process but this that has a pipe open, and its other files."""
    for folder in Path("/proc").glob("[0-9]*/fd"):
        try:
            links = {one.name: one.readlink() for one in folder.iterdir()}
        except OSError:
            continue
        if pipe in links.values() and folder.parent.name != str(os.getpid()):
            return int(folder.parent.name), {name for name in links if links[name] != pipe}
    raise AssertionError("nobody reads it")
