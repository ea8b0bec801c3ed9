"""Content that means harm: a schema that wants to run, names that want a terminal or a shell."""

import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from tests.conftest import BackupConfig, Keeper, MakeDatabase
from tests.faults.command_line import command_line
from tests.faults.strange import make_strange

EXTENSION = """
#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void run(void) {{ close(open("{marker}", O_CREAT, 0600)); }}
int sqlite3_extension_init(void *db, char **error, const void *api) {{ return 0; }}
"""

HARM = "load_extension('{extension}')"
FTS = "INSERT INTO f (f) VALUES ('delete-all')"
PLACES: dict[str, tuple[str, ...]] = {
    "view": ("CREATE VIEW v AS SELECT {harm}",),
    "view_of_a_tables_name": ("DROP TABLE t", "CREATE VIEW t AS SELECT {harm} AS id"),
    "trigger": (
        "CREATE TRIGGER a AFTER INSERT ON t BEGIN SELECT {harm}; END",
        "CREATE TRIGGER b AFTER DELETE ON t BEGIN SELECT {harm}; END",
        "CREATE TRIGGER c AFTER UPDATE ON t BEGIN SELECT {harm}; END",
    ),
    "trigger_on_an_index": (
        "CREATE VIRTUAL TABLE f USING fts5 (x)",
        "INSERT INTO f VALUES ('word')",
        "CREATE TRIGGER a AFTER INSERT ON f_config BEGIN " + FTS + "; END",
        "CREATE TRIGGER b AFTER INSERT ON t BEGIN " + FTS + "; END",
    ),
    "default": ("!CREATE TABLE x (a, b DEFAULT ({harm}))",),
    "check": ("!CREATE TABLE x (a CHECK ({harm} IS NULL))",),
    "generated": ("!CREATE TABLE x (a, b AS ({harm}))",),
    "generated_stored": ("!CREATE TABLE x (a, b AS ({harm}) STORED)",),
    "expression_index": ("!CREATE INDEX x ON t ({harm})",),
    "partial_index": ("!CREATE INDEX x ON t (id) WHERE {harm} IS NULL",),
    "fts5_content": (
        "CREATE VIEW content AS SELECT 1 AS id, {harm} AS x",
        "CREATE VIRTUAL TABLE f USING fts5 (x, content = content, content_rowid = id)",
    ),
    "virtual_table": ("!CREATE VIRTUAL TABLE x USING sqlite_dbpage",),
}
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("report", "--tables", "--html", "page.html"),
    ("doctor",),
    ("vacuum", "--all", "--optimize"),
    ("backup", "--to", "shelf"),
    ("convert", "--yes", "--auto-vacuum", "none"),
    ("vacuum", "--all"),
)


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands find the keeper.toml of the test."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """The file that is there once the harm was done."""
    return tmp_path / "harm-was-done"


@pytest.fixture
def extension(tmp_path: Path, marker: Path) -> Path:
    """A real extension, which leaves a mark as soon as it is loaded."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to make an extension with")
    source, library = tmp_path / "harm.c", tmp_path / "harm.so"
    source.write_text(EXTENSION.format(marker=marker))
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def make_hostile(path: Path, place: str, extension: Path) -> Path:
    """A sound table `t`, and the harm in a place of the schema; with "!" it has to be forged."""
    connection = apsw.Connection(str(path))
    connection.pragma("auto_vacuum", "incremental")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)").fetchall()
    connection.execute("INSERT INTO t VALUES (1), (2); CREATE TABLE gone (x)").fetchall()
    connection.execute("INSERT INTO gone VALUES (zeroblob(100000)); DROP TABLE gone").fetchall()
    harm = HARM.format(extension=extension)
    for sql in PLACES[place]:
        sql = sql.replace("{harm}", harm)
        if sql.startswith("!"):
            _forge(connection, sql[1:])
        else:
            connection.execute(sql).fetchall()
    connection.close()
    return path


def _forge(connection: apsw.Connection, sql: str) -> None:
    """Put words into the schema that no CREATE would take."""
    kind = "index" if sql.startswith("CREATE INDEX") else "table"
    stand_in = "CREATE INDEX x ON t (id)" if kind == "index" else "CREATE TABLE x (a, b, c)"
    connection.execute(stand_in).fetchall()
    if kind == "table" and "VIRTUAL" not in sql:
        connection.execute("INSERT INTO x (a) VALUES (1)").fetchall()
    connection.pragma("writable_schema", "on")
    update = "UPDATE sqlite_schema SET sql = ?"
    if "VIRTUAL" in sql:
        update += ", rootpage = 0"
    connection.execute(f"{update} WHERE name = 'x'", (sql,)).fetchall()


def test_the_harm_is_real(tmp_path: Path, extension: Path, marker: Path) -> None:
    """Without what keeper forbids, a look at a view is enough."""
    path = make_hostile(tmp_path / "app.sqlite3", "view", extension)
    connection = apsw.Connection(str(path))
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1)
    connection.enable_load_extension(True)
    connection.execute(f"SELECT {HARM.format(extension=extension)}").fetchall()
    connection.close()

    assert marker.exists()


@pytest.mark.parametrize("place", PLACES)
def test_nothing_in_a_schema_runs(
    tmp_path: Path, extension: Path, marker: Path, place: str
) -> None:
    """Through every command: no extension is loaded, no trigger fires, no view is read."""
    path = make_hostile(tmp_path / "app.sqlite3", place, extension)

    for command in COMMANDS:
        status, _, _ = command_line(*command, path)
        assert status in (0, 1, 12), command
    if (tmp_path / "shelf").exists():
        for command in (
            ("drill", "--from", "shelf"),
            ("restore", "app", "--from", "shelf", "--to", "new"),
        ):
            status, _, _ = command_line(*command)
            assert status in (0, 12)

    assert not marker.exists()
    connection = apsw.Connection(str(path))
    if place == "trigger_on_an_index":
        assert connection.execute("SELECT count(*) FROM f WHERE f MATCH 'word'").get == 1
    connection.close()


@pytest.fixture
def unguarded() -> Iterator[list[str]]:
    """SQL that was run on a connection, of this process, that lets a schema do things."""
    found: list[str] = []
    guards = {
        apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA: 0,
        apsw.SQLITE_DBCONFIG_DEFENSIVE: 1,
        apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER: 0,
        apsw.SQLITE_DBCONFIG_ENABLE_VIEW: 0,
        apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION: 0,
    }

    def trace(source: apsw.Cursor | apsw.Connection, sql: str, bindings: object) -> bool:
        connection = source.connection if isinstance(source, apsw.Cursor) else source
        if any(connection.config(guard, -1) != value for guard, value in guards.items()):
            found.append(f"{connection.filename}: {sql}")
        return True

    def watch(connection: apsw.Connection) -> None:
        connection.exec_trace = trace

    apsw.connection_hooks.append(watch)
    yield found
    apsw.connection_hooks.remove(watch)


def test_every_connection_is_guarded_before_its_first_statement(
    make_database: MakeDatabase, tmp_path: Path, backup_config: BackupConfig, unguarded: list[str]
) -> None:
    """The database's, the snapshot's, a drill's, a restore's, and that of keeper's own memory."""
    path = make_database(rows=40, deleted=20)
    unguarded.clear()
    backup_config(path, to=tmp_path / "shelf")
    commands: list[tuple[object, ...]] = [
        ("init", tmp_path / "new.sqlite3"),
        *(("report", "--tables", "--html", "page.html"), ("doctor",), ("backup",), ("drill",)),
        *(("vacuum", "--optimize"), ("convert", "--yes", "--auto-vacuum", "none", path)),
        *(("snapshots",), ("status",), ("prune",), ("restore", "app", "--to", "again.sqlite3")),
    ]

    for command in commands:
        assert command_line(*command)[0] == 0, command

    assert unguarded == []


def test_copy_of_pages_is_guarded_too(tmp_path: Path, unguarded: list[str]) -> None:
    """It is another connection, to a file with the same schema."""
    path = make_strange(tmp_path / "app.sqlite3", "unknown_collation_in_index")
    unguarded.clear()

    assert command_line("backup", "--to", tmp_path / "shelf", path)[0] == 0

    assert unguarded == []


ESCAPES = "\x1b]0;owned\x07\x1b[2J\u202etxt\x9b31m\r\n\x08"
OBEYED = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> bool:
    """Whether a terminal would only print it. A terminal of the tests turns \n into \r\n."""
    return not OBEYED.search(text.replace("\r\n", "\n"))


Run = Callable[..., str]


@pytest.fixture
def run(keeper: Keeper, terminal: Keeper) -> Run:
    """What a command says, to a log and to a terminal in turn, after it did what it should."""
    turns = itertools.cycle((terminal, keeper))

    def say(status: int, *arguments: object) -> str:
        done = next(turns)(*arguments, "--no-color")
        assert done.status == status, done
        return done.out + done.err

    return say


def test_names_in_a_database_are_only_printed(tmp_path: Path, run: Run) -> None:
    """Tables and indexes may be called anything; what a terminal obeys is spelt out."""
    path = tmp_path / "app.sqlite3"
    connection = apsw.Connection(str(path))
    connection.pragma("auto_vacuum", "incremental")
    name = ESCAPES + '""<script>'
    connection.execute(f'CREATE TABLE "{name}" (x REFERENCES "{name}" (y), y UNIQUE)').fetchall()
    connection.execute(f"INSERT INTO \"{name}\" VALUES ('missing', 1)").fetchall()
    connection.close()

    said = [
        run(0, "report", "--tables", path),
        run(0, "backup", "-v", "--to", tmp_path / "shelf", path),
        run(0, "drill", "-v", "--from", tmp_path / "shelf"),
        run(0, "vacuum", "-v", "--optimize", path),
    ]
    connection = apsw.Connection(str(path))
    connection.execute(f'DROP TABLE "{name}"; CREATE TABLE sound (x)').fetchall()
    connection.close()
    said.append(run(12, "backup", "--to", tmp_path / "shelf", path))

    assert "\\x1b]0;owned" in said[0]
    assert "\\x1b]0;owned" in said[4]
    assert all(plain(text) for text in said)


def test_names_of_files_are_only_printed(
    make_database: MakeDatabase, tmp_path: Path, run: Run
) -> None:
    """A path that the command line names may hold anything but a slash."""
    folder = tmp_path / ESCAPES
    path = make_database(f"{ESCAPES}/app.sqlite3", rows=5)

    for status, *command in (
        (0, "report", path),
        (0, "doctor", path),
        (0, "vacuum", "-v", path),
        (0, "backup", "-v", "--to", tmp_path / "shelf", path),
        (1, "report", folder / "absent.sqlite3"),
        (2, "report", folder / f"{ESCAPES}.sqlite3", "--sort", ESCAPES),
        (2, "vacuum", "--config", folder / "absent.toml"),
    ):
        assert plain(run(status, *command)), command


def test_what_lies_at_a_destination_is_only_printed(
    make_database: MakeDatabase,
    tmp_path: Path,
    backup_config: BackupConfig,
    run: Run,
) -> None:
    """Objects and manifests may be anyone's: their names, hosts and tables come out as text."""
    shelf = tmp_path / "shelf"
    backup_config(make_database(rows=5), to=shelf)
    assert command_line("backup")[0] == 0
    odd = ESCAPES.replace("\n", "")
    for name in (f"app/{odd}.sqlite3", f"app/app-20261123T030000Z{odd}.sqlite3", f"{odd}/x.json"):
        (shelf / name).parent.mkdir(exist_ok=True)
        (shelf / name).write_text("x")
    for file in (shelf / "app").glob("*.json"):
        if odd in file.name:
            continue
        manifest = json.loads(file.read_text())
        manifest["host"] = ESCAPES
        manifest["tables"][ESCAPES] = 5
        manifest["hold"] = {"since": ESCAPES, "tables": {ESCAPES: [200, 1]}}
        file.write_text(json.dumps(manifest))

    for status, *command in (
        (0, "snapshots"),
        (12, "status"),
        (12, "status", "--fleet", tmp_path),
        (12, "drill", "-v"),
        (0, "prune", "-v"),
        (12, "restore", "app", "--to", "new.sqlite3"),
        (0, "backup", "-v", "--force"),
    ):
        assert plain(run(status, *command)), command


def test_shell_words_in_a_fix_are_quoted(make_database: MakeDatabase, tmp_path: Path) -> None:
    """A finding's command can be pasted, whatever the file is called."""
    mark = tmp_path / "pasted"
    path = make_database(f"$(touch {mark.name});'\"&.sqlite3", auto_vacuum="none")

    _, said, _ = command_line("doctor", path)

    fixes = [one["fix"] for one in said["findings"] if one["check"] == "auto_vacuum"]
    words = subprocess.run(
        ["sh", "-c", f"keeper() {{ printf '%s' \"$2\"; }}; {fixes[0]}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert words.stdout == os.fspath(path)
    assert not mark.exists()
