"""SpatiaLite: points in a table, found through its spatial index (an R-Tree)."""

import sys
from collections.abc import Sequence
from pathlib import Path

import apsw

from tests.applications.host import PYTHON, MissingError
from tests.applications.scripted import ScriptedApplication
from tests.conftest import REPOSITORY

# Each word is a town, 10 degrees from the next; its notes lie around it.
PROGRAM = """
import apsw
from tests.applications.application import WORDS
db = apsw.Connection(sys.argv[1] + "/notes.sqlite3")
db.set_busy_timeout(20000)
db.enable_load_extension(True)
db.load_extension("mod_spatialite")
if not db.table_exists("main", "notes"):
    db.execute("PRAGMA journal_mode = wal").fetchall()
    db.execute(
        "SELECT InitSpatialMetaData(1);"
        "CREATE TABLE notes (number INTEGER, text TEXT);"
        "SELECT AddGeometryColumn('notes', 'place', 4326, 'POINT', 'XY');"
        "SELECT CreateSpatialIndex('notes', 'place')"
    ).fetchall()
def write(number, text, word):
    x, y = 10 * WORDS.index(word) + number % 10 / 10, number % 7 / 10
    db.execute("INSERT INTO notes VALUES (?, ?, MakePoint(?, ?, 4326))", (number, text, x, y))
def find(word):
    x = 10 * WORDS.index(word)
    return sorted(row[0] for row in db.execute(
        "SELECT number FROM notes WHERE rowid IN (SELECT rowid FROM SpatialIndex WHERE"
        " f_table_name = 'notes' AND search_frame = BuildMbr(?, -1, ?, 2))", (x - 1, x + 2)))
def forget(numbers):
    with db:
        db.executemany("DELETE FROM notes WHERE number = ?", [(one,) for one in numbers])
serve(
    write=write,
    forget=forget,
    notes=lambda: db.execute("SELECT number, text FROM notes").fetchall(),
    find=find,
)
db.close()
"""


class SpatiaLite(ScriptedApplication):
    """A table without a primary key, whose index refers to rowids."""

    name = "SpatiaLite"
    search = "the spatial index"

    def install(self) -> None:
        """Debian's module, where it is installed."""
        connection = apsw.Connection(":memory:")
        connection.enable_load_extension(True)
        try:
            connection.load_extension("mod_spatialite")
        except apsw.ExtensionLoadingError:
            raise MissingError("needs apt-get install libsqlite3-mod-spatialite") from None
        self.version = str(connection.execute("SELECT spatialite_version()").get)
        connection.close()
        self.environment = dict(self.host.environment) | {"PYTHONPATH": str(REPOSITORY)}

    def command(self, data: Path) -> Sequence[object]:
        """In Python."""
        return [sys.executable, "-c", PYTHON + PROGRAM, data]
