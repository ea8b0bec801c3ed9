"""An application's ledger: double entries, so that each state that was committed adds up to zero.

`python -m tests.faults.ledger write DATABASE` commits entries and prints the number of
each that SQLite said is committed, until its standard input is closed.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import apsw

from tests.conftest import REPOSITORY

SCHEMA = """
CREATE TABLE IF NOT EXISTS ledger (
    id INTEGER PRIMARY KEY,
    entry INTEGER NOT NULL,
    amount INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS ledger_entry ON ledger (entry);
"""
# A commit now and then: what counts is that there is always one about to happen.
PAUSE_SECONDS = 0.004


def make_ledger(
    path: Path,
    *,
    bytes_of_ballast: int,
    auto_vacuum: str = "incremental",
    journal_mode: str = "wal",
) -> None:
    """A new ledger, with something in it that takes time to copy."""
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA auto_vacuum = {auto_vacuum}").fetchall()
    connection.execute(f"PRAGMA journal_mode = {journal_mode}").fetchall()
    connection.execute(f"{SCHEMA} CREATE TABLE ballast (body BLOB)").fetchall()
    with connection:
        connection.executemany(
            "INSERT INTO ballast VALUES (randomblob(?))",
            [(3000,) for _ in range(bytes_of_ballast // 3000)],
        )
    connection.close()


def make_slack(path: Path, pages: int) -> None:
    """Leave free pages in a database, as an application does that deletes."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(30_000)
    with connection:
        connection.execute("INSERT INTO ballast VALUES (zeroblob(?))", (pages * 4090,)).fetchall()
    with connection:
        connection.execute(
            "DELETE FROM ballast WHERE rowid = (SELECT max(rowid) FROM ballast)"
        ).fetchall()
    connection.close()


def roll_back(path: Path) -> None:
    """Open a ledger as its application does: SQLite rolls back what was cut off."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(30_000)
    connection.execute("SELECT count(*) FROM ledger").fetchall()
    connection.close()


def problems_of(path: Path, committed: int = 0) -> list[str]:
    """What is wrong with a ledger: damage, a torn entry, or one missing that was committed."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        connection.set_busy_timeout(30_000)
        found = [str(text) for (text,) in connection.execute("PRAGMA integrity_check")]
        found = [text for text in found if text != "ok"]
        row: Any = connection.execute(
            "SELECT count(*), total(amount), count(DISTINCT entry) FILTER (WHERE entry <= ?)"
            " FROM ledger",
            (committed,),
        ).get
        rows, total, kept = row
    finally:
        connection.close()
    if total or rows % 2:
        found.append(f"{rows} rows add up to {total}")
    if kept < committed:
        found.append(f"{committed} entries were committed, {kept} are there")
    return found


def entries(path: Path) -> int:
    """How many entries a ledger holds."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        count: Any = connection.execute("SELECT count(DISTINCT entry) FROM ledger").get
    finally:
        connection.close()
    return int(count)


def commit(path: Path) -> None:
    """Commit one entry, and close the ledger: it is then in the main file."""
    connection = apsw.Connection(str(path))
    add(connection, 1)
    connection.close()


def commit_and_die(path: Path) -> None:
    """Let another process commit one entry and be killed: it is then in the WAL alone."""
    subprocess.run(
        [sys.executable, "-m", "tests.faults.ledger", "commit-and-die", str(path)],
        cwd=REPOSITORY,
        check=False,
    )


def add(connection: apsw.Connection, entry: int) -> None:
    """Commit one entry."""
    with connection:
        for amount in (entry, -entry):
            connection.execute(
                "INSERT INTO ledger (entry, amount) VALUES (?, ?)", (entry, amount)
            ).fetchall()


def write(path: str) -> None:
    """Commit entry after entry."""
    stop = threading.Event()
    threading.Thread(target=_set_at_end_of_input, args=(stop,), daemon=True).start()
    connection = apsw.Connection(path)
    connection.set_busy_timeout(30_000)
    entry: Any = connection.execute("SELECT coalesce(max(entry), 0) FROM ledger").get
    while not stop.is_set():
        entry += 1
        add(connection, entry)
        print(entry, flush=True)
        time.sleep(PAUSE_SECONDS)
    connection.close()


def _set_at_end_of_input(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


def _commit_and_die(path: str) -> None:
    add(apsw.Connection(path), 1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    {"write": write, "commit-and-die": _commit_and_die}[sys.argv[1]](sys.argv[2])
