"""libSQL: its Python library on a local file, with the busy timeout that README asks for."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.applications.host import PYTHON
from tests.applications.scripted import ScriptedApplication

PROGRAM = """
import libsql
db = libsql.connect(sys.argv[1] + "/notes.sqlite3")
db.execute("PRAGMA busy_timeout = 20000").fetchall()
db.execute("PRAGMA journal_mode = wal").fetchall()
db.execute("CREATE TABLE IF NOT EXISTS notes (number INTEGER PRIMARY KEY, text TEXT)")
db.execute("CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(word)")
db.commit()
def write(number, text, word):
    db.execute("INSERT INTO notes VALUES (?, ?)", (number, text))
    db.execute("INSERT INTO words (rowid, word) VALUES (?, ?)", (number, word))
    db.commit()
def forget(numbers):
    for number in numbers:
        db.execute("DELETE FROM notes WHERE number = ?", (number,))
        db.execute("DELETE FROM words WHERE rowid = ?", (number,))
    db.commit()
serve(
    write=write,
    forget=forget,
    notes=lambda: db.execute("SELECT number, text FROM notes").fetchall(),
    find=lambda word: [row[0] for row in db.execute(
        "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid", (word,)).fetchall()],
)
db.close()
"""


class LibSQL(ScriptedApplication):
    """A table and a full-text index."""

    name = "libSQL"
    version = "0.1.11"
    search = "full-text search (FTS5)"

    def install(self) -> None:
        """From PyPI."""
        self.environment = self.host.python(f"libsql=={self.version}")

    def command(self, data: Path) -> Sequence[object]:
        """In Python."""
        return [sys.executable, "-c", PYTHON + PROGRAM, data]
