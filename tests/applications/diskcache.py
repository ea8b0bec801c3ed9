"""diskcache: a cache in SQLite that an application keeps open; keys are numbers, words tags."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.applications.host import PYTHON
from tests.applications.scripted import ScriptedApplication

PROGRAM = """
import diskcache
cache = diskcache.Cache(sys.argv[1], eviction_policy="none", tag_index=True)
serve(
    write=lambda number, text, word: cache.set(number, text, tag=word),
    forget=lambda numbers: [cache.delete(number) for number in numbers],
    notes=lambda: [[number, cache[number]] for number in cache],
    find=lambda word: [row[0] for row in cache._sql(
        "SELECT key FROM Cache WHERE tag = ? ORDER BY key", (word,)).fetchall()],
)
cache.close()
"""


class DiskCache(ScriptedApplication):
    """A Cache in the folder."""

    name = "diskcache"
    version = "5.6.3"
    databases = ("cache.db",)
    search = "tag"
    converts = False  # It sets auto_vacuum = 1 whenever it opens its cache.

    def install(self) -> None:
        """From PyPI."""
        self.environment = self.host.python(f"diskcache=={self.version}")

    def command(self, data: Path) -> Sequence[object]:
        """In Python."""
        return [sys.executable, "-c", PYTHON + PROGRAM, data]
