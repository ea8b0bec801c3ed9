"""Turso: SQLite anew, in Rust; its lock lasts as long as it runs, or SQLite cannot read it."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.applications.host import PYTHON
from tests.applications.scripted import ScriptedApplication

PROGRAM = """
import turso
db = turso.connect(sys.argv[1] + "/notes.sqlite3")
if len(sys.argv) > 2:
    db.execute("PRAGMA journal_mode = 'mvcc'").fetchall()
db.execute("CREATE TABLE IF NOT EXISTS notes (number INTEGER PRIMARY KEY, text TEXT, word TEXT)")
db.commit()
def write(number, text, word):
    db.execute("INSERT INTO notes VALUES (?, ?, ?)", (number, text, word))
    db.commit()
def forget(numbers):
    db.execute("DELETE FROM notes WHERE number <= ?", (max(numbers),))
    db.commit()
serve(
    write=write,
    forget=forget,
    notes=lambda: db.execute("SELECT number, text FROM notes").fetchall(),
    find=lambda word: [row[0] for row in db.execute(
        "SELECT number FROM notes WHERE word = ? ORDER BY number", (word,)).fetchall()],
)
db.close()
"""


class Turso(ScriptedApplication):
    """A table, in WAL mode."""

    name = "Turso"
    version = "0.8.3"
    search = "SQL"

    def install(self) -> None:
        """From PyPI."""
        self.environment = self.host.python(f"pyturso=={self.version}")

    def command(self, data: Path) -> Sequence[object]:
        """In Python."""
        return [sys.executable, "-c", PYTHON + PROGRAM, data]


class TursoMVCC(Turso):
    """The same, in MVCC mode."""

    name = "Turso in MVCC mode"

    def command(self, data: Path) -> Sequence[object]:
        """In Python."""
        return [*super().command(data), "mvcc"]
