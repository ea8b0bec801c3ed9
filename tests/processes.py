"""Other processes that tests need: applications that write, read and hold locks.

Run as `python -m tests.processes ROLE DATABASE`; each says "ready" when it is,
and ends when its standard input is closed.
"""

import os
import sys
import threading
from typing import Any

import apsw


def _set_at_end_of_input(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


def write(path: str) -> None:
    """Commit rows of a ledger without pause; print how many are committed at the end."""
    stop = threading.Event()
    threading.Thread(target=_set_at_end_of_input, args=(stop,), daemon=True).start()
    connection = apsw.Connection(path)
    connection.set_busy_timeout(30_000)
    connection.execute(
        "CREATE TABLE IF NOT EXISTS ledger (id INTEGER PRIMARY KEY, amount INTEGER)"
    ).fetchall()
    committed = 0
    while not stop.is_set():
        # Two rows that add up to zero: whoever sees one without the other sees a torn state.
        with connection:
            connection.execute("INSERT INTO ledger (amount) VALUES (?)", (committed,))
            connection.execute("INSERT INTO ledger (amount) VALUES (?)", (-committed,))
        committed += 1
        if committed == 1:
            print("ready", flush=True)
    print(committed, flush=True)


def hasty(path: str) -> None:
    """Commit without pause and without a busy timeout; print how often, and how often in vain."""
    stop = threading.Event()
    threading.Thread(target=_set_at_end_of_input, args=(stop,), daemon=True).start()
    connection = apsw.Connection(path)
    counts = [0, 0]
    print("ready", flush=True)
    while not stop.is_set():
        try:
            connection.execute("INSERT INTO t (body) VALUES (randomblob(99))").fetchall()
            counts[0] += 1
        except apsw.BusyError:
            counts[1] += 1
    print(*counts, flush=True)


def read(path: str) -> None:
    """Stay inside a read transaction."""
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    connection.execute("BEGIN").fetchall()
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    print("ready", flush=True)
    sys.stdin.read()


def lock(path: str) -> None:
    """Hold the write lock; in rollback-journal mode readers are kept out too."""
    connection = apsw.Connection(path)
    connection.execute("BEGIN EXCLUSIVE").fetchall()
    print("ready", flush=True)
    sys.stdin.read()


def change(path: str) -> None:
    """Stay inside a transaction that has written something."""
    connection = apsw.Connection(path)
    connection.execute("BEGIN EXCLUSIVE").fetchall()
    connection.execute("UPDATE t SET body = 1").fetchall()
    print("ready", flush=True)
    sys.stdin.read()


def exclusive(path: str) -> None:
    """Commit once and keep the lock, as Chromium and Firefox do."""
    connection = apsw.Connection(path)
    connection.pragma("locking_mode", "exclusive")
    connection.execute("INSERT INTO t (body) VALUES (1)").fetchall()
    print("ready", flush=True)
    sys.stdin.read()


def idle(path: str) -> None:
    """Have the database open and do nothing."""
    connection = apsw.Connection(path)
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    print("ready", flush=True)
    sys.stdin.read()


def commit_slowly(path: str) -> None:
    """Insert two rows, the second on a disk that flushes its WAL when the input ends."""
    slow = threading.Event()

    class File(apsw.VFSFile):
        def __init__(self, name: Any, flags: list[int]) -> None:
            plain = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
            self.is_wal = plain.endswith("-wal")
            super().__init__("unix", name, flags)

        def xSync(self, flags: int) -> None:  # noqa: N802
            if self.is_wal and slow.is_set():
                print("ready", flush=True)
                sys.stdin.read()
            super().xSync(flags)

    class SlowDisk(apsw.VFS):
        def __init__(self) -> None:
            super().__init__("slow disk", "unix")

        def xOpen(self, name: Any, flags: list[int]) -> File:  # noqa: N802
            return File(name, flags)

    disk = SlowDisk()  # registered for as long as it is referred to
    connection = apsw.Connection(path, vfs="slow disk")
    connection.pragma("synchronous", "full")
    for body in ("first", "last"):
        connection.execute("INSERT INTO t (body) VALUES (?)", (body,)).fetchall()
        slow.set()
    del disk
    os._exit(0)  # not closing it, which would write to it once more


ROLES = {
    "write": write,
    "hasty": hasty,
    "read": read,
    "lock": lock,
    "change": change,
    "exclusive": exclusive,
    "idle": idle,
    "commit_slowly": commit_slowly,
}

if __name__ == "__main__":
    ROLES[sys.argv[1]](sys.argv[2])
