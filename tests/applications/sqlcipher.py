"""SQLCipher: a database that is encrypted as a whole."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.applications.host import PYTHON
from tests.applications.scripted import ScriptedApplication

PROGRAM = """
from sqlcipher3 import dbapi2
db = dbapi2.connect(sys.argv[1] + "/notes.sqlite3", isolation_level=None)
db.execute("PRAGMA key = 'secret'")
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


class SQLCipher(ScriptedApplication):
    """A table, in WAL mode."""

    name = "SQLCipher"
    version = "0.6.0"
    search = "SQL"

    def install(self) -> None:
        """From PyPI."""
        self.environment = self.host.python(f"sqlcipher3-binary=={self.version}")

    def command(self, data: Path) -> Sequence[object]:
        """In Python."""
        return [sys.executable, "-c", PYTHON + PROGRAM, data]
