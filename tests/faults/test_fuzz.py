"""Databases with random damage: always an answer, never a crash, a hang or a change.

A small real database with everything in it gets some of its bytes changed:
in the header, in the heads of pages, in the pointer map, anywhere; or it is
cut off, or pages change places. KEEPER_TEST_FUZZ sets how many examples each
test tries (the default keeps CI quick; thousands are for a quiet hour).
"""

import faulthandler
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sqlitekeeper.database.check import check_snapshot
from sqlitekeeper.database.measure import measure
from sqlitekeeper.database.snapshot.snapshot import take_snapshot
from sqlitekeeper.destination.manifest import Manifest
from sqlitekeeper.doctor.database import diagnose_database
from sqlitekeeper.errors import KeeperError
from sqlitekeeper.filesystem.checksum import sha256_of
from sqlitekeeper.report.tables import table_spaces
from sqlitekeeper.restore.verify import verify
from tests.conftest import BackupConfig, Keeper, contents
from tests.destination.test_untrusted import GOOD
from tests.faults.command_line import command_line

EXAMPLES = int(os.environ.get("KEEPER_TEST_FUZZ", "60"))
# What takes longer is taken for a hang: the whole database has 40 pages.
BOUND_SECONDS = 60
PAGE = 1024
FORTY = f"json_each('[{','.join(map(str, range(40)))}]')"
STATUSES = {0, 1, 3, 12}

fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
fuzz_commands = settings(fuzz, max_examples=max(5, EXAMPLES // 4))
fuzz_processes = settings(fuzz, max_examples=max(3, EXAMPLES // 20))


@pytest.fixture(autouse=True)
def bound() -> Iterator[None]:
    """A hang ends the test run, with a stack that shows where it was."""
    faulthandler.dump_traceback_later(BOUND_SECONDS + EXAMPLES, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@dataclass(frozen=True)
class Fuzzed:
    """Damage: bytes to put somewhere, pages to copy over others, where to cut the file off."""

    writes: list[tuple[int, bytes]]
    copies: list[tuple[int, int]]
    cut: int | None

    def applied(self, data: bytes) -> bytes:
        result = bytearray(data)
        pages = len(data) // PAGE
        for source, target in self.copies:
            start, end = source % pages * PAGE, target % pages * PAGE
            result[end : end + PAGE] = data[start : start + PAGE]
        for offset, text in self.writes:
            start = offset % len(data)
            result[start : start + len(text)] = text
        return bytes(result[: self.cut] if self.cut is not None else result)


def damage() -> st.SearchStrategy[Fuzzed]:
    """Biased towards the places where few bytes mean much."""
    small = st.binary(min_size=1, max_size=4)
    telling = st.sampled_from(
        [b"\0", b"\1", b"\2", b"\x0a", b"\x0d", b"\xff", b"\xff\xff", b"\xff\xff\xff\xff", b"\x80"]
    )
    header = st.tuples(st.integers(0, 99), small | telling)
    page_head = st.tuples(
        st.builds(lambda page, at: page * PAGE + at, st.integers(0, 60), st.integers(0, 20)),
        small | telling,
    )
    anywhere = st.tuples(st.integers(0, 60 * PAGE), small | telling | st.binary(max_size=PAGE))
    return st.builds(
        Fuzzed,
        st.lists(header | page_head | anywhere, min_size=1, max_size=6),
        st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=1),
        st.none() | st.none() | st.integers(0, 60 * PAGE),
    )


@dataclass(frozen=True)
class Sound:
    """A file's content, which would fill the screen if an example failed."""

    data: bytes = field(repr=False)


@pytest.fixture(scope="module")
def sound() -> Sound:
    """A database in WAL mode with a bit of everything, 1024 bytes a page, as a file's content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound.sqlite3"
        connection = apsw.Connection(str(path))
        for sql in (
            f"PRAGMA page_size = {PAGE}; PRAGMA auto_vacuum = incremental",
            "PRAGMA journal_mode = wal",
            "CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB, word TEXT NOT NULL)",
            "CREATE TABLE w (a TEXT, b REFERENCES t (id), PRIMARY KEY (a, b)) WITHOUT ROWID",
            "CREATE TABLE g (x INT CHECK (x > 0), y AS (x * 2), z TEXT AS (upper(x)) STORED) ",
            "CREATE INDEX i ON t (word COLLATE NOCASE); CREATE INDEX p ON t (id) WHERE id > 9",
            "CREATE INDEX e ON g (json_extract(z, '$'))",
            "CREATE VIRTUAL TABLE f USING fts5 (word, content = t, content_rowid = id)",
            "CREATE VIRTUAL TABLE r USING rtree (id, x0, x1)",
            "CREATE VIEW v AS SELECT * FROM t",
            "CREATE TRIGGER tr AFTER INSERT ON g BEGIN DELETE FROM w WHERE a = 'none'; END",
            f"INSERT INTO t SELECT value + 1, zeroblob(value * 30), 'word ' || value FROM {FORTY}",
            "INSERT INTO w SELECT word, id FROM t; INSERT INTO g (x) SELECT id FROM t",
            "INSERT INTO f (f) VALUES ('rebuild'); INSERT INTO r SELECT id, id, id + 1 FROM t",
            "DELETE FROM t WHERE id % 3 = 0; ANALYZE",
        ):
            connection.execute(sql).fetchall()
        connection.close()
        return Sound(path.read_bytes())


def answers(question: Callable[..., object], *arguments: object) -> object:
    """What a function of the library says; a KeeperError is an answer too."""
    try:
        return question(*arguments)
    except KeeperError:
        return None


@fuzz
@given(damage())
def test_reading_a_damaged_database_is_answered(
    sound: Sound, tmp_path_factory: pytest.TempPathFactory, found: Fuzzed
) -> None:
    """The library measures, diagnoses, copies and checks it, or raises a KeeperError."""
    folder = tmp_path_factory.mktemp("fuzz")
    path, target = folder / "app.sqlite3", folder / "copy"
    path.write_bytes(data := found.applied(sound.data))

    answers(measure, path)
    answers(diagnose_database, "app", path)
    answers(table_spaces, path)
    if answers(take_snapshot, path, target):
        answers(check_snapshot, target, sha256_of(target), "integrity")
        answers(check_snapshot, target, sha256_of(target), "quick")
        target.unlink()

    assert contents(folder) == {"app.sqlite3": data}


@fuzz
@given(damage())
def test_proving_a_damaged_snapshot_is_answered(
    sound: Sound, tmp_path_factory: pytest.TempPathFactory, found: Fuzzed
) -> None:
    """Also one that agrees with its manifest: whoever wrote both may want to do harm."""
    file = tmp_path_factory.mktemp("fuzz") / "snapshot"
    file.write_bytes(found.applied(sound.data))
    facts = {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
    manifest = GOOD | {"snapshot": GOOD["snapshot"] | facts}
    parsed: Manifest = Manifest.from_json(json.dumps(manifest).encode(), "here")

    proof = answers(verify, file, parsed)

    assert proof is None or getattr(proof, "sha256_ok", None)


COMMANDS = (
    ("report", "--tables"),
    ("doctor",),
    ("vacuum",),
    ("vacuum", "--all", "--optimize"),
    ("convert", "--yes"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@fuzz_commands
@given(damage())
def test_a_command_on_a_damaged_database_prints_one_object(
    sound: Sound, tmp_path_factory: pytest.TempPathFactory, command: tuple[str, ...], found: Fuzzed
) -> None:
    """With one of the exit statuses, and no defect of keeper's own."""
    path = tmp_path_factory.mktemp("fuzz") / "app.sqlite3"
    path.write_bytes(found.applied(sound.data))

    status, said, _ = command_line(*command, path)

    assert status in STATUSES
    assert said["command"] == command[0]


@fuzz_processes
@given(damage())
def test_backup_of_a_damaged_database_ships_only_what_is_sound(
    sound: Sound,
    tmp_path_factory: pytest.TempPathFactory,
    keeper: Keeper,
    backup_config: BackupConfig,
    found: Fuzzed,
) -> None:
    """The command itself, rclone included: what it ships can be drilled and restored."""
    folder = tmp_path_factory.mktemp("fuzz")
    path, shelf = folder / "app.sqlite3", folder / "shelf"
    path.write_bytes(found.applied(sound.data))
    backup_config(path, to=shelf)

    run = keeper("backup", "--json")

    assert run.status in STATUSES
    assert "a defect in keeper" not in run.err
    assert run.json["ok"] == (run.status == 0)
    if run.status == 0:
        assert keeper("drill", "--json").status == 0
        restored = keeper("restore", "app", "--to", folder / "restored.sqlite3", "--json")
        assert restored.status == 0
    else:
        assert not list(shelf.rglob("*.sqlite3"))


@fuzz_processes
@given(damage())
def test_snapshot_that_is_damaged_at_the_destination_is_refused(
    sound: Sound,
    tmp_path_factory: pytest.TempPathFactory,
    keeper: Keeper,
    backup_config: BackupConfig,
    found: Fuzzed,
) -> None:
    """A drill fails its check, and a restore puts nothing in place of anything."""
    folder = tmp_path_factory.mktemp("fuzz")
    path, shelf = folder / "app.sqlite3", folder / "shelf"
    path.write_bytes(sound.data)
    backup_config(path, to=shelf)
    assert keeper("backup", "--json").status == 0
    (snapshot,) = shelf.rglob("*.sqlite3")
    good = snapshot.read_bytes()
    snapshot.write_bytes(bad := found.applied(good))
    target = folder / "restored.sqlite3"

    drill = keeper("drill", "--json")
    restore = keeper("restore", "app", "--to", target, "--json")

    assert (drill.status, restore.status) == ((12, 12) if bad != good else (0, 0))
    assert (drill.json["ok"], restore.json["ok"]) == (bad == good, bad == good)
    assert target.exists() == (bad == good)
