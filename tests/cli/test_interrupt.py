"""SIGINT and SIGTERM: exit 130, the database sound, nothing left behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.check import integrity_problems
from tests.conftest import (
    REPOSITORY,
    S3,
    BackupConfig,
    Beside,
    Companion,
    Keeper,
    MakeDatabase,
    StartKeeper,
    WrapRclone,
    contents,
    count_rows,
    holds_open,
    pragma,
    wait_until,
)

SIGNALS = [signal.SIGINT, signal.SIGTERM]
pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")


def assert_sound(path: Path) -> None:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        assert integrity_problems(connection, "integrity") == []
    finally:
        connection.close()


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_draining_keeps_what_was_freed(
    start_keeper: StartKeeper, make_database: MakeDatabase, journal_mode: str, number: int
) -> None:
    """`vacuum --all` stops within a batch; the batches before it stay."""
    path = make_database("data/app.sqlite3", rows=6000, deleted=5990, journal_mode=journal_mode)
    before = pragma(path, "freelist_count")
    running = start_keeper("vacuum", path, "--all", "--max-lock-ms", 1, "--verbose")
    assert running.process.stderr is not None
    assert "freed" in running.process.stderr.readline()

    run = running.end(number)

    assert run.status == 130
    assert list(contents(path.parent)) == ["app.sqlite3"]
    assert 0 < pragma(path, "freelist_count") < before
    assert count_rows(path) == 10
    assert_sound(path)


@pytest.mark.parametrize("number", SIGNALS)
def test_conversion_is_rolled_back(
    start_keeper: StartKeeper,
    make_database: MakeDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    """In the middle of the VACUUM: not a byte has changed afterwards, or all is done."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("SQLITE_TMPDIR", str(temporary))
    path = make_database("data/app.sqlite3", rows=30_000, auto_vacuum="none")
    before = contents(path.parent)
    running = start_keeper("convert", path, "--yes")
    wait_until(lambda: holds_open(running.process.pid, str(temporary)))

    run = running.end(number)

    assert run.status == 130
    if contents(path.parent) != before:
        # On a busy machine the signal may come when all was committed.
        assert pragma(path, "auto_vacuum") == 2
        assert_sound(path)


@pytest.mark.parametrize("number", SIGNALS)
def test_waiting_for_a_lock_ends_at_once(
    start_keeper: StartKeeper,
    make_database: MakeDatabase,
    beside: Callable[[str, Path], Companion],
    number: int,
) -> None:
    """A signal is heard while keeper waits for the application."""
    path = make_database("data/app.sqlite3", rows=5, auto_vacuum="none")
    beside("lock", path)
    before = path.read_bytes()
    running = start_keeper("convert", path, "--yes")
    wait_until(lambda: holds_open(running.process.pid, f"{path}-shm"))

    run = running.end(number)

    assert run.status == 130
    assert path.read_bytes() == before


def test_backup_ends_at_once_while_it_is_read_back(
    start_keeper: StartKeeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    wrap_rclone: WrapRclone,
    s3: S3,
    tmp_path: Path,
) -> None:
    """By a destination that does not answer."""
    asked = tmp_path / "asked"
    wrap_rclone(stat=f'touch "{asked}"; exec sleep 600')
    backup_config(make_database(rows=20), to=s3.to)
    running = start_keeper("backup")
    wait_until(asked.exists)

    assert running.end(signal.SIGTERM).status == 130


def test_json_is_printed_all_the_same(
    start_keeper: StartKeeper, make_database: MakeDatabase
) -> None:
    """A script that stops keeper gets its object."""
    path = make_database(rows=6000, deleted=5990)
    running = start_keeper("vacuum", path, "--all", "--max-lock-ms", 1, "--verbose", "--json")
    assert running.process.stderr is not None
    assert "freed" in running.process.stderr.readline()

    run = running.end(signal.SIGTERM)

    assert (run.status, run.json["ok"], run.json["error"]["code"]) == (130, False, 130)


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        signal.SIGTERM,
    ],
)
def test_no_further_database_is_begun(
    start_keeper: StartKeeper, make_database: MakeDatabase, number: int
) -> None:
    """A signal ends the run, not only the database that is being worked on."""
    first = make_database("first.sqlite3", rows=6000, deleted=5990)
    second = make_database("second.sqlite3", deleted=100)
    free = pragma(second, "freelist_count")
    options = ["--all", "--max-lock-ms", 1, "--jobs", 1, "--verbose"]
    running = start_keeper("vacuum", first, second, *options)
    assert running.process.stderr is not None
    assert "freed" in running.process.stderr.readline()

    run = running.end(number)

    assert run.status == 130
    assert pragma(second, "freelist_count") == free


def test_remembering_can_be_interrupted(
    keeper: Keeper,
    start_keeper: StartKeeper,
    make_database: MakeDatabase,
    beside: Callable[[str, Path], Companion],
    tmp_path: Path,
) -> None:
    """Trouble with the history only warns, but a signal is no such trouble."""
    path = make_database(rows=5)
    keeper("vacuum", path)
    memory = tmp_path / "state" / "history.sqlite3"
    beside("lock", memory)
    running = start_keeper("vacuum", path)
    wait_until(lambda: holds_open(running.process.pid, f"{memory}-shm"))

    run = running.end(signal.SIGTERM)

    assert run.status == 130


INTERRUPTED_WHILE_LOADING = """
import sys
class Interrupt:
    def find_spec(self, name, *_):
        if name == "click":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
from sqlitekeeper.__main__ import main
main()
"""


def test_interrupted_before_it_has_begun_says_nothing(tmp_path: Path) -> None:
    """Ctrl-C while Python still loads keeper's modules shows no traceback."""
    run = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHILE_LOADING, "report"],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        check=False,
    )

    assert (run.returncode, run.stderr) == (130, b"")


def test_killed_keeper_leaves_a_sound_database(
    keeper: Keeper, start_keeper: StartKeeper, make_database: MakeDatabase
) -> None:
    """Nobody can catch SIGKILL; the next run goes on where that one ended."""
    path = make_database(rows=6000, deleted=5990)
    running = start_keeper("vacuum", path, "--all", "--max-lock-ms", 1, "--verbose")
    assert running.process.stderr is not None
    assert "freed" in running.process.stderr.readline()
    os.kill(running.process.pid, signal.SIGKILL)
    running.process.wait()

    run = keeper("vacuum", path, "--all", "--json")

    assert (run.status, run.entry["free_pages_left"]) == (0, 0)
    assert_sound(path)


CALLBACK = """
import os, signal, sys, time
from sqlitekeeper import __main__ as program
from sqlitekeeper.cli import app

class Ended:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})

def run(arguments, record):
    try:
        Ended()
        time.sleep(30)
    except KeyboardInterrupt as error:
        print("heard:", error)
        return 130

# Whoever starts the tests in the background may have it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
app._run = run
sys.argv = ["keeper", "doctor"]
program.main()
"""


@pytest.mark.parametrize(
    ("name", "words"), [("SIGINT", "heard: "), ("SIGTERM", "heard: ended by SIGTERM")]
)
def test_signal_in_a_callback_is_heard_after_it(name: str, words: str) -> None:
    """Python ignores, and prints, what a callback raises; the import system has some."""
    run = subprocess.run(
        [sys.executable, "-c", CALLBACK.format(name=name)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )

    assert (run.returncode, run.stdout.strip(), run.stderr) == (130, words.strip(), "")


def test_hangup_does_not_end_what_nohup_has_started(
    make_database: MakeDatabase, beside: Beside, tmp_path: Path
) -> None:
    """Whoever logs out meanwhile wants it to go on."""
    path = make_database(rows=3, journal_mode="delete")
    application = beside("lock", path)
    process = subprocess.Popen(
        ["nohup", sys.executable, "-m", "sqlitekeeper", "vacuum", path],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: holds_open(process.pid, path.name))

    process.send_signal(signal.SIGHUP)
    application.end()

    assert process.wait(30) == 0
