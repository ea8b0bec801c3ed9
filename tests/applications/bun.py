"""bun: its own SQLite (bun:sqlite), with the busy timeout that README asks for."""

import platform
from collections.abc import Sequence
from pathlib import Path

from tests.applications.host import JAVASCRIPT, MissingError
from tests.applications.scripted import ScriptedApplication

PROGRAM = """
import { Database } from "bun:sqlite";
const db = new Database(process.argv[2] + "/notes.sqlite3", { create: true });
db.run("PRAGMA busy_timeout = 20000");
db.run("PRAGMA journal_mode = wal");
db.run("CREATE TABLE IF NOT EXISTS notes (number INTEGER PRIMARY KEY, text TEXT)");
db.run("CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(word)");
const note = db.query("INSERT INTO notes VALUES (?, ?)");
const index = db.query("INSERT INTO words (rowid, word) VALUES (?, ?)");
await serve({
  write: db.transaction((number, text, word) => {
    note.run(number, text);
    index.run(number, word);
  }).immediate,
  forget: db.transaction((numbers) => {
    for (const number of numbers) {
      db.run("DELETE FROM notes WHERE number = ?", [number]);
      db.run("DELETE FROM words WHERE rowid = ?", [number]);
    }
  }).immediate,
  notes: () => db.query("SELECT number, text FROM notes").values(),
  find: (word) => db.query("SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid")
    .values(word).map((row) => row[0]),
});
db.close();
"""


class Bun(ScriptedApplication):
    """A table and a full-text index."""

    name = "bun"
    version = "1.4.5"
    search = "full-text search (FTS5)"

    def install(self) -> None:
        """Its binary alone: the package `bun` only chooses the one for the machine."""
        if platform.machine() != "x86_64" or platform.system() != "Linux":
            raise MissingError("needs Linux on x86_64")
        self._folder = self.host.npm(f"@oven/bun-linux-x64-baseline@{self.version}")

    def command(self, data: Path) -> Sequence[object]:
        """The program as a file."""
        program = self._folder / "program.mjs"
        program.write_text(JAVASCRIPT + PROGRAM)
        binary = self._folder / "node_modules/@oven/bun-linux-x64-baseline/bin/bun"
        return [binary, program, data]
