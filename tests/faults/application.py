"""An application that does to its database all that applications do, all at once.

`python -m tests.faults.application DATABASE SEED` writes to a ledger from two threads, reads it
in transactions that stay open, and from time to time changes the schema, vacuums, switches the
journal mode, or deletes the database and starts a new one. It ends when its standard input is
closed, prints what it has done, and fails if an entry is lost or a reader saw a torn one.
"""

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from tests.faults.ledger import add, make_ledger, problems_of

READ_SECONDS = 0.4
UPHEAVAL_SECONDS = 0.5
BALLAST = 600_000
# Trouble that an application beside others must expect of its database; it tries again.
PASSING = (apsw.BusyError, apsw.SchemaChangeError, apsw.LockedError)


class Application:
    """Its threads share a gate, so that none has the database open when it is replaced."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.chance = random.Random(seed)
        self.stop = threading.Event()
        self.gate = threading.Condition()
        self.inside = 0
        self.closed = False
        self.committed = 0
        self.number = threading.Lock()
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []

    def run(self) -> None:
        """Work until standard input is closed."""
        self._create()
        workers: list[Callable[[], None]] = [self._write, self._write, self._read, self._change]
        threads = [threading.Thread(target=self._guarded, args=(work,)) for work in workers]
        for thread in threads:
            thread.start()
        print("ready", flush=True)
        sys.stdin.read()
        self.stop.set()
        for thread in threads:
            thread.join()
        self.wrong += problems_of(self.path, self.committed)
        print(dict(self.done), self.wrong, flush=True)
        sys.exit(1 if self.wrong else 0)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self.wrong.append(f"{work.__name__}: {type(error).__name__}: {error}")
            self.stop.set()

    def _create(self) -> None:
        # Made out of sight, as a deployment does: nobody sees a half.
        new = self.path.with_name("new.sqlite3")
        make_ledger(new, bytes_of_ballast=BALLAST)
        new.rename(self.path)

    def _enter(self) -> apsw.Connection:
        with self.gate:
            self.gate.wait_for(lambda: not self.closed)
            self.inside += 1
        connection = apsw.Connection(str(self.path))
        connection.set_busy_timeout(20_000)
        return connection

    def _leave(self, connection: apsw.Connection) -> None:
        connection.close()
        with self.gate:
            self.inside -= 1
            self.gate.notify_all()

    def _write(self) -> None:
        while not self.stop.is_set():
            connection = self._enter()
            try:
                for _ in range(20):
                    with self.number:
                        try:
                            add(connection, self.committed + 1)
                        except PASSING:
                            self.done["commit refused"] += 1
                        else:
                            self.committed += 1
                            self.done["commit"] += 1
                    time.sleep(0.005)
            finally:
                self._leave(connection)

    def _read(self) -> None:
        """Pin the WAL, and look twice: nothing of what others commit may be seen."""
        while not self.stop.is_set():
            connection = self._enter()
            try:
                connection.execute("BEGIN").fetchall()
                first: Any = connection.execute("SELECT count(*), total(amount) FROM ledger").get
                self.stop.wait(READ_SECONDS)
                if first != connection.execute("SELECT count(*), total(amount) FROM ledger").get:
                    self.wrong.append("a reader saw what was committed after it had begun")
                if first[1]:
                    self.wrong.append(f"a reader saw a sum of {first}")
                connection.execute("COMMIT").fetchall()
                self.done["read"] += 1
            except PASSING:
                self.done["read refused"] += 1
            finally:
                self._leave(connection)

    def _change(self) -> None:
        upheavals = [self._migrate, self._index, self._vacuum, self._switch, self._churn]
        while not self.stop.wait(UPHEAVAL_SECONDS):
            if self.chance.random() < 0.1:
                self._replace()
                continue
            upheaval = self.chance.choice(upheavals)
            connection = self._enter()
            try:
                upheaval(connection)
                self.done[upheaval.__name__] += 1
            except PASSING:
                self.done[f"{upheaval.__name__} refused"] += 1
            finally:
                self._leave(connection)

    def _migrate(self, connection: apsw.Connection) -> None:
        name = f"added_{time.monotonic_ns()}"
        connection.execute(f"ALTER TABLE ledger ADD COLUMN {name} TEXT DEFAULT 'new'").fetchall()
        connection.execute(f"ALTER TABLE ledger DROP COLUMN {name}").fetchall()

    def _index(self, connection: apsw.Connection) -> None:
        connection.execute("DROP INDEX IF EXISTS ledger_amount").fetchall()
        connection.execute("CREATE INDEX ledger_amount ON ledger (amount, entry)").fetchall()

    def _vacuum(self, connection: apsw.Connection) -> None:
        connection.execute("VACUUM").fetchall()

    def _switch(self, connection: apsw.Connection) -> None:
        mode = self.chance.choice(["wal", "wal", "delete", "truncate", "persist"])
        connection.execute(f"PRAGMA journal_mode = {mode}").fetchall()

    def _churn(self, connection: apsw.Connection) -> None:
        with connection:
            connection.execute("INSERT INTO ballast VALUES (randomblob(900000))").fetchall()
        with connection:
            connection.execute("DELETE FROM ballast WHERE length(body) > 500000").fetchall()

    def _replace(self) -> None:
        """Delete the database and start a new one, with nobody of the application inside."""
        with self.gate:
            self.closed = True
            self.gate.wait_for(lambda: not self.inside)
        self.wrong += problems_of(self.path, self.committed)
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        self.stop.wait(self.chance.choice([0, 0, 0.3]))
        self._create()
        self.committed = 0
        self.done["replace"] += 1
        with self.gate:
            self.closed = False
            self.gate.notify_all()


if __name__ == "__main__":
    Application(Path(sys.argv[1]), int(sys.argv[2])).run()
