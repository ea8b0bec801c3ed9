"""An application that commits, and times each commit: `python -m tests.benchmarks.writer`.

It says "ready" when it has warmed up, and ends when its standard input is closed. In WAL
mode with synchronous = normal, as web applications have it. When the database is locked it
tries again after a millisecond: SQLite's own busy timeout sleeps for up to 100 ms, and such
a sleep would hide what is to be measured.
"""

import sys
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen

import apsw

RETRY_SECONDS = 0.001
WARM_UP = 200


@dataclass(frozen=True)
class Commits:
    """When each transaction began and ended, in seconds of the monotonic clock."""

    began: list[float]
    ended: list[float]

    def during(self, start: float, end: float) -> list[float]:
        """The seconds that each commit took of those under way between two moments."""
        return [
            last - first
            for first, last in zip(self.began, self.ended, strict=True)
            if last >= start and first <= end
        ]


class Writer:
    """A running writer process; `commits` is there when it has ended."""

    def __init__(self, process: Popen[str], file: Path) -> None:
        self._process = process
        self._file = file

    def end(self) -> Commits:
        """Tell it to end, and read what it has measured."""
        self._process.communicate()
        assert self._process.returncode == 0, "the writer has failed"
        times: array[float] = array("d")
        times.frombytes(self._file.read_bytes())
        return Commits(times[::2].tolist(), times[1::2].tolist())


@contextmanager
def writing(database: Path, per_second: int, environment: dict[str, str]) -> Iterator[Writer]:
    """A process that commits to a database; 0 a second is as fast as it can."""
    file = database.with_suffix(".times")
    process = Popen(
        [sys.executable, "-m", "tests.benchmarks.writer", database, str(per_second), file],
        stdin=PIPE,
        stdout=PIPE,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", "the writer did not start"
        yield Writer(process, file)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def _write(path: str, per_second: int, file: str) -> None:
    stop = threading.Event()

    def stop_at_end_of_input() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=stop_at_end_of_input, daemon=True).start()
    connection = apsw.Connection(path)
    connection.set_busy_handler(_wait)
    connection.execute("PRAGMA synchronous = normal").fetchall()
    connection.execute(
        "CREATE TABLE IF NOT EXISTS ledger (id INTEGER PRIMARY KEY, at TEXT, note TEXT)"
    ).fetchall()
    times: array[float] = array("d")
    due = time.monotonic()
    while not stop.is_set():
        began = time.monotonic()
        connection.execute("BEGIN IMMEDIATE").fetchall()
        connection.execute(
            "INSERT INTO ledger (at, note) VALUES (datetime(), hex(randomblob(100)))"
        ).fetchall()
        connection.execute("COMMIT").fetchall()
        times.extend((began, time.monotonic()))
        if len(times) == 2 * WARM_UP:
            print("ready", flush=True)
        if per_second:
            # What was held up is not made up for: an application's users do not hurry either.
            due = max(due + 1 / per_second, time.monotonic())
            time.sleep(max(0, due - time.monotonic()))
    Path(file).write_bytes(times.tobytes())


def _wait(tries: int) -> bool:
    time.sleep(RETRY_SECONDS)
    return True


if __name__ == "__main__":
    _write(sys.argv[1], int(sys.argv[2]), sys.argv[3])
