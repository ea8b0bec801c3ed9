"""Datasette serves what sqlite-utils writes, and answers for it: JSON, full-text search."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from tests.applications.host import PYTHON, answers, free_port, http, stop, wait_for
from tests.applications.scripted import ScriptedApplication

DATASETTE, SQLITE_UTILS = "0.65.5", "4.2.1"
PROGRAM = """
import sqlite_utils
db = sqlite_utils.Database(sys.argv[1] + "/notes.sqlite3")
if not db["notes"].exists():
    db.enable_wal()
    db["notes"].create({"number": int, "text": str}, pk="number")
    db["notes"].enable_fts(["text"], create_triggers=True)
def write(number, text, word):
    db["notes"].insert({"number": number, "text": text})
def forget(numbers):
    with db.atomic() if hasattr(db, "atomic") else db.conn:
        db["notes"].delete_where("number in (%s)" % ",".join(map(str, numbers)))
serve(
    write=write,
    forget=forget,
    notes=lambda: [[row["number"], row["text"]] for row in db["notes"].rows],
    find=lambda word: sorted(row["number"] for row in db["notes"].search(word)),
)
db.close()
"""


class Datasette(ScriptedApplication):
    """A server that only reads beside a process that writes."""

    name = "Datasette and sqlite-utils"
    version = f"{DATASETTE}, {SQLITE_UTILS}"
    search = "full-text search (FTS5) over HTTP"

    def install(self) -> None:
        """From PyPI."""
        self.environment = self.host.python(
            f"datasette=={DATASETTE}", f"sqlite-utils=={SQLITE_UTILS}"
        )
        self._server: subprocess.Popen[bytes]
        self._url = ""

    def command(self, data: Path) -> Sequence[object]:
        """In Python."""
        return [sys.executable, "-c", PYTHON + PROGRAM, data]

    def open(self, data: Path) -> None:
        """The one that writes, then the server."""
        super().open(data)
        port = free_port()
        options = ["--port", port, "--setting", "max_returned_rows", 1_000_000]
        self._server = self.host.start(
            [sys.executable, "-m", "datasette", data / "notes.sqlite3", *options],
            self.environment,
        )
        self._url = f"http://127.0.0.1:{port}/notes.json?_shape=array&sql="
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/-/versions.json"), "Datasette")

    def notes(self) -> Mapping[int, str]:
        """By the server."""
        rows = http(self._url + quote("select number, text from notes"))
        return {row["number"]: row["text"] for row in rows}

    def find(self, word: str) -> list[int]:
        """By the server, and by sqlite-utils."""
        rows = http(
            self._url
            + quote("select rowid as number from notes_fts where notes_fts match ")
            + quote(f"'{word}' order by rowid")
        )
        found = [row["number"] for row in rows]
        assert found == super().find(word), "sqlite-utils finds something else"
        return found

    def close(self) -> None:
        """Both."""
        stop(self._server)
        super().close()
