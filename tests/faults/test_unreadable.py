"""Databases that SQLite cannot read, made by the libraries that can: nothing of them is changed."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Keeper, MakeDatabase
from tests.faults.command_line import command_line

SQLCIPHER = """
import sys
from sqlcipher3 import dbapi2
connection = dbapi2.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA key = 'secret'")
if int(sys.argv[2]):
    connection.execute(f"PRAGMA cipher_plaintext_header_size = {sys.argv[2]}")
    connection.execute("PRAGMA cipher_salt = \\"x'" + "01" * 16 + "'\\"")
connection.execute("PRAGMA journal_mode = " + sys.argv[3]).fetchall()
connection.execute("PRAGMA cache_size = 5")
connection.execute("CREATE TABLE t (body)")
connection.executemany("INSERT INTO t VALUES (?)", [("x" * 900,)] * 50)
connection.execute("BEGIN")
connection.execute("UPDATE t SET body = body || 'y'")
if sys.argv[3] == "wal":
    connection.execute("COMMIT")
"""
TURSO = """
import sys, turso
connection = turso.connect(sys.argv[1])
print(connection.execute("PRAGMA journal_mode = 'mvcc'").fetchall(), file=sys.stderr)
connection.execute("CREATE TABLE t (body)")
connection.execute("INSERT INTO t VALUES (1)")
connection.commit()
"""
STAY = "\nprint('ready', flush=True); sys.stdin.read(); import os; os._exit(0)"
KINDS = {
    "encrypted": (SQLCIPHER, "0", "wal"),
    "encrypted, in rollback mode": (SQLCIPHER, "0", "delete"),
    "plain header": (SQLCIPHER, "32", "wal"),
    "longer plain header": (SQLCIPHER, "48", "wal"),
    "turso": (TURSO, "", ""),
}
SAID = {
    "encrypted": "is encrypted as a whole (SQLCipher or the like)",
    "encrypted, in rollback mode": "is encrypted as a whole (SQLCipher or the like)",
    "turso": "is a Turso database in MVCC mode",
    "plain header": "is encrypted behind a plain header",
    "longer plain header": "is encrypted behind a plain header",
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """What the database is."""
    return str(request.param)


@pytest.fixture(params=["open", "cut off", "cut off, without -shm"])
def path(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A database of its kind, with transactions beside it; its application goes on, or not."""
    path = tmp_path / "data" / "app.db"
    path.parent.mkdir()
    script, *arguments = KINDS[kind]
    process = subprocess.Popen(
        [sys.executable, "-c", script + STAY, str(path), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    if request.param != "open":
        process.communicate()
    if "without" in request.param:
        path.with_name("app.db-shm").unlink(missing_ok=True)
    assert len(list(path.parent.iterdir())) > 1
    yield path
    process.kill()
    process.communicate()


def listing(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Name, inode, size, time and bytes of all that lies in a folder."""
    found = {}
    for file in folder.iterdir():
        facts = file.stat()
        found[file.name] = (facts.st_ino, facts.st_size, facts.st_mtime_ns, file.read_bytes())
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        ("vacuum", "PATH"),
        ("vacuum", "PATH", "--dry-run"),
        ("report", "PATH"),
        ("report", "PATH", "--tables"),
        ("doctor", "PATH"),
        ("backup", "PATH", "--to", "SHELF"),
        ("convert", "PATH", "--yes"),
        ("init", "PATH", "--exist-ok"),
    ],
    ids=" ".join,
)
def test_nothing_of_it_is_changed(
    kind: str, path: Path, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    """No WAL is checkpointed or removed, no journal rolled back, no sidecar made."""
    before = listing(path.parent)
    places = {"PATH": str(path), "SHELF": str(tmp_path / "shelf")}

    status, said, _ = command_line(*(places.get(one, one) for one in arguments))

    assert listing(path.parent) == before
    assert status in (1, 12)
    explained = SAID[kind]
    # doctor does not open what has a hot journal.
    assert explained in str(said) or "a transaction was cut off" in str(said)


def test_restore_sets_it_aside_as_it_is(
    keeper: Keeper, path: Path, make_database: MakeDatabase
) -> None:
    """With all that belongs to it; while it is open, it stays."""
    source = make_database("other/app.db", rows=5)
    assert keeper("backup", source, "--to", "shelf").status == 0
    before = listing(path.parent)

    run = keeper("restore", "app", "--from", "shelf", "--to", path, "--replace")

    if run.status:
        assert "is open in pid" in run.err
        assert listing(path.parent) == before
    else:
        kept = {entry[3] for entry in listing(path.parent).values()}
        parts = [name for name in before if not name.endswith(("-shm", "-log"))]
        assert {before[name][3] for name in parts if before[name][3]} <= kept


def test_turso_is_told_how_to_make_it_readable(keeper: Keeper, tmp_path: Path) -> None:
    """The statement is Turso's own, and keeper reads the database after it."""
    path = tmp_path / "data.db"
    subprocess.run([sys.executable, "-c", TURSO, str(path)], check=True, capture_output=True)
    run = keeper("report", path)
    assert "PRAGMA journal_mode = 'wal'" in run.err

    script = "import sys, turso; c = turso.connect(sys.argv[1]);"
    script += """print(c.execute("PRAGMA journal_mode = 'wal'").fetchall())"""
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, capture_output=True)

    assert keeper("report", path).status == 0
