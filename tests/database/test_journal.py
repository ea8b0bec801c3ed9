"""Applications whose locks SQLite does not see: their transactions stay whole."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.connection import open_database
from sqlitekeeper.database.maintain import convert, vacuum
from sqlitekeeper.database.maintain.create import init_database
from sqlitekeeper.database.measure import measure
from sqlitekeeper.database.replace.exclusive import refuse_if_open
from sqlitekeeper.database.replace.recover import settle
from sqlitekeeper.database.snapshot import snapshot
from sqlitekeeper.errors import BusyError, ReadOnlyError
from sqlitekeeper.events import Event, Tick
from tests.conftest import (
    REPOSITORY,
    Beside,
    MakeDatabase,
    StartKeeper,
    contents,
    count_rows,
    has_open,
    needs_root,
    wait_until,
)

# Told line by line what to do; says "done" after each. "spill" begins a transaction too large
# for its cache, so that its journal is synced and pages are overwritten; "begin" a small one.
APPLICATION = """
import apsw, os, sys
path, vfs, journal_mode = sys.argv[1:]
connection = apsw.Connection(path, vfs=vfs)
if journal_mode == "wal":
    connection.pragma("locking_mode", "exclusive")
connection.pragma("journal_mode", journal_mode)
connection.pragma("cache_size", 5)
connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
statements = {
    "begin": "BEGIN; INSERT INTO t (body) VALUES ('new')",
    "spill": "BEGIN; UPDATE t SET body = randomblob(900); INSERT INTO t (body) VALUES ('new')",
    "insert": "INSERT INTO t (body) VALUES ('new')",
}
print("done", flush=True)
for line in sys.stdin:
    word = line.strip()
    if word == "kill":
        os.kill(os.getpid(), 9)
    connection.execute(statements.get(word, word)).fetchall()
    print("done", flush=True)
"""


class Application:
    """A process that works on a database with a VFS of its choice."""

    def __init__(self, path: Path, vfs: str, journal_mode: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", APPLICATION, str(path), vfs, journal_mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "done\n"

    def do(self, *words: str) -> None:
        """Have it do something, and wait until it is done."""
        for word in words:
            self._tell(word)
            assert self._answer() == "done\n"

    def kill(self) -> None:
        """End it in the middle of what it does."""
        self._tell("kill")
        self.process.wait()

    def _tell(self, word: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def _answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline()


Start = Callable[..., Application]


@pytest.fixture
def application() -> Iterator[Start]:
    """Start an application on a database; it ends with the test."""
    started = []

    def start(path: Path, vfs: str = "unix-none", journal_mode: str = "delete") -> Application:
        started.append(Application(path, vfs, journal_mode))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is busy for good is so after a moment."""
    for module in (vacuum, convert, snapshot):
        monkeypatch.setattr(module, "WAIT_SECONDS", 0.2)


@pytest.fixture
def path(make_database: MakeDatabase) -> Path:
    """A database with 400 rows and free pages, in rollback mode."""
    return make_database("data/app.sqlite3", rows=800, deleted=400, journal_mode="delete")


def _convert(path: Path) -> None:
    convert.convert(convert.plan_conversion(path, "none"))


def _convert_late(path: Path) -> None:
    """As if the transaction had begun after the plan was made."""
    found = convert.ConvertPlan("app", path, "incremental", "none", 1, 1, True, 0.0)
    convert.convert(found)


WORKS: dict[str, Callable[[Path], object]] = {
    "vacuum": vacuum.vacuum,
    "dry run": lambda path: vacuum.vacuum(path, vacuum.VacuumOptions(dry_run=True)),
    "convert": _convert,
    "convert late": _convert_late,
    "init": lambda path: init_database(path, exist_ok=True),
    "measure": lambda path: measure(path),
    "snapshot": lambda path: snapshot.take_snapshot(path, path.with_name("copy")),
    "settle": settle,
    "replace": refuse_if_open,
}
vfs = pytest.mark.parametrize("vfs", ["unix-dotfile", "unix-none"])


@vfs
@pytest.mark.parametrize("work", WORKS)
def test_living_transaction_is_not_rolled_back(
    path: Path, application: Start, vfs: str, work: str
) -> None:
    """It is busy, and neither damaged nor to be opened with another program."""
    other = application(path, vfs)
    other.do("spill")
    before = contents(path.parent)

    with pytest.raises(BusyError) as caught:
        WORKS[work](path)

    assert "sqlite3 shell" not in caught.value.full_text
    assert contents(path.parent) == before
    other.do("COMMIT")
    assert count_rows(path) == 401


@vfs
@pytest.mark.parametrize("work", ["vacuum", "convert late"])
def test_journal_that_is_not_synced_yet_is_not_taken_over(
    path: Path, application: Start, vfs: str, work: str
) -> None:
    """Its first byte is zero as long as no page of the database was overwritten."""
    other = application(path, vfs)
    other.do("begin")
    before = contents(path.parent)

    with pytest.raises(BusyError):
        WORKS[work](path)

    assert contents(path.parent) == before
    other.do("COMMIT")
    assert count_rows(path) == 401


@vfs
def test_what_is_not_overwritten_yet_can_be_read(path: Path, application: Start, vfs: str) -> None:
    """Until its journal is synced, a transaction is in memory only."""
    application(path, vfs).do("begin")

    assert measure(path).pages > 0


@vfs
def test_end_of_a_transaction_is_waited_for(
    path: Path, application: Start, start_keeper: StartKeeper, vfs: str
) -> None:
    """As for one with locks that SQLite sees."""
    other = application(path, vfs)
    other.do("spill")
    running = start_keeper("vacuum", path, "--json")
    wait_until(lambda: has_open(running.process.pid, path.name))
    other.do("COMMIT")

    run = running.end()

    assert (run.status, run.entry["outcome"]) == (0, "done")
    assert count_rows(path) == 401


@vfs
def test_transaction_that_begins_between_two_batches(
    path: Path, application: Start, monkeypatch: pytest.MonkeyPatch, vfs: str
) -> None:
    """What was freed before stays freed, and the rest is left."""
    monkeypatch.setattr(vacuum, "FIRST_BATCH_PAGES", 16)
    other = application(path, vfs)
    told: list[Event] = []

    def on_event(event: Event) -> None:
        if isinstance(event, Tick) and not told:
            told.append(event)
            other.do("spill")

    result = vacuum.vacuum(path, vacuum.VacuumOptions(pages=0), on_event=on_event)

    assert (result.outcome, result.freed_pages) == ("busy", 16)
    other.do("COMMIT")
    assert count_rows(path) == 401


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_lock_of_dotfile_that_a_crash_has_left(path: Path, application: Start, kind: str) -> None:
    """Nobody but the user can tell that its application is not on another host."""
    other = application(path, "unix-dotfile")
    other.do("spill")
    other.kill()
    lock = path.with_name("app.sqlite3.lock")
    if kind == "file":
        # As older versions of SQLite make it.
        lock.rmdir()
        lock.touch()
    before = contents(path.parent)

    with pytest.raises(BusyError, match=r"app\.sqlite3\.lock and app\.sqlite3-journal") as caught:
        vacuum.vacuum(path)

    assert caught.value.hint
    assert f"remove {lock}" in caught.value.hint
    assert contents(path.parent) == before


def test_journal_that_a_crash_has_left_is_rolled_back(path: Path, application: Start) -> None:
    """Nobody has the database open, and no lock is beside it."""
    other = application(path)
    other.do("spill")
    other.kill()
    with pytest.raises(ReadOnlyError, match="was cut off") as caught:
        measure(path)
    assert caught.value.hint == f"start the application, or: keeper vacuum {path}"

    assert vacuum.vacuum(path).outcome == "done"
    assert (count_rows(path), list(contents(path.parent))) == (400, ["app.sqlite3"])


def test_journal_beside_a_database_that_another_process_has_open(
    path: Path, application: Start, beside: Beside
) -> None:
    """It is left to that process, which rolls it back when it next reads."""
    idle = beside("idle", path)
    other = application(path)
    other.do("spill")
    other.kill()

    with pytest.raises(BusyError, match=rf"open in pid {idle.pid} "):
        vacuum.vacuum(path)

    idle.end()
    assert vacuum.vacuum(path).outcome == "done"


@pytest.mark.parametrize("journal_mode", ["persist", "truncate"])
def test_journal_that_is_kept_is_no_transaction(
    path: Path, application: Start, journal_mode: str
) -> None:
    """Zeroed or emptied, open in its application or not."""
    other = application(path, "unix", journal_mode)
    other.do("insert")
    assert path.with_name("app.sqlite3-journal").exists()

    assert vacuum.vacuum(path).freed_pages > 0
    other.do("insert")
    assert count_rows(path) == 402


@pytest.mark.parametrize("journal_mode", ["delete", "persist", "truncate"])
def test_transaction_with_locks_that_sqlite_sees(
    path: Path, application: Start, journal_mode: str
) -> None:
    """SQLite itself waits, and never rolls it back; nobody's open files are looked for."""
    other = application(path, "unix", journal_mode)
    other.do("spill")

    with pytest.raises(BusyError, match="database is locked"):
        vacuum.vacuum(path)

    other.do("COMMIT")
    assert count_rows(path) == 401


@vfs
@pytest.mark.parametrize("work", ["vacuum", "measure", "snapshot"])
def test_wal_whose_index_its_application_keeps_to_itself(
    path: Path, application: Start, vfs: str, work: str
) -> None:
    """A checkpoint of ours would take the WAL away from under it."""
    other = application(path, vfs, "wal")
    other.do("insert")
    before = contents(path.parent)

    with pytest.raises(BusyError, match="its WAL is open in pid"):
        WORKS[work](path)

    assert contents(path.parent) == before
    other.do("insert")
    other.kill()
    shutil.rmtree(path.with_name("app.sqlite3.lock"), ignore_errors=True)
    assert count_rows(path) == 402


@vfs
@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK", None])
def test_snapshot_during_which_somebody_writes(
    path: Path, application: Start, vfs: str, end: str | None
) -> None:
    """It is of no one state, and does not count."""
    other = application(path, vfs)
    done: list[Event] = []

    def on_event(event: Event) -> None:
        if isinstance(event, Tick) and not done:
            done.append(event)
            other.do("spill", *([end] if end else []))

    connection = apsw.Connection(str(path))
    connection.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
        " INSERT INTO t (body) SELECT randomblob(900) FROM n"
    ).fetchall()
    connection.close()

    with pytest.raises(BusyError):
        snapshot.take_snapshot(path, path.with_name("copy"), on_event)

    assert done
    assert not path.with_name("copy").exists()


def test_journal_beside_a_name_that_leads_nowhere(tmp_path: Path) -> None:
    """There is no database that somebody could be working on."""
    path = tmp_path / "app.sqlite3"
    path.symlink_to(tmp_path / "absent")
    path.with_name("absent-journal").write_bytes(b"\xd9\xd5".ljust(512, b"\1"))

    refuse_if_open(path)


def test_statement_within_a_transaction_is_let_through(path: Path, beside: Beside) -> None:
    """The journal is our own then."""
    beside("idle", path)
    with open_database(path, write=True) as connection, connection:
        connection.execute("INSERT INTO t (body) VALUES ('new')").fetchall()
        connection.execute("INSERT INTO t (body) VALUES ('new')").fetchall()

    assert count_rows(path) == 402


@needs_root
def test_application_of_another_container_is_left_alone(path: Path, application: Start) -> None:
    """Its open files cannot be seen, and that is known."""
    container = ["unshare", "--pid", "--fork", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*container, "true"]).returncode:
        pytest.skip("there can be no PID namespace here")
    app = application(path)
    app.do("spill")

    run = subprocess.run(
        [*container, sys.executable, "-m", "sqlitekeeper", "vacuum", str(path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert run.returncode == 1, run.stderr
    assert "goes on, or was cut off, and keeper does not see from this container" in run.stderr
    app.do("COMMIT")
    assert count_rows(path) == 401
