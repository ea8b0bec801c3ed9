"""Other processes that tests need: applications that write, read and hold locks.

Run as `python -m tests.processes ROLE DATABASE`; each says "ready" when it is,
and ends when its standard input is closed.
"""

import sys
import threading

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


def idle(path: str) -> None:
    """Have the database open and do nothing."""
    connection = apsw.Connection(path)
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    {"write": write, "read": read, "lock": lock, "idle": idle}[sys.argv[1]](sys.argv[2])
