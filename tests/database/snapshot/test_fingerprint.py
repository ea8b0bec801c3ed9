"""What tells from outside that a database has not been written to."""

import os
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sqlitekeeper.database.snapshot import fingerprint as module
from sqlitekeeper.database.snapshot.fingerprint import RACY_NS, fingerprint
from tests.conftest import MakeDatabase

# Time stamps of the file systems that tests run on tick at least this often.
TICK_SECONDS = 0.02


def later() -> int:
    """A moment at which whatever has been written by now is old."""
    return time.time_ns() + RACY_NS


def once_settled(path: Path) -> str | None:
    """The fingerprint after the clock of the file system has gone on."""
    time.sleep(TICK_SECONDS)
    return fingerprint(path, later())


def content(path: Path) -> tuple[object, ...]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        rows = connection.execute("SELECT id, body FROM t ORDER BY id").fetchall()
        return (connection.pragma("user_version"), *rows)
    finally:
        connection.close()


class Application:
    """A program with its database open, to which things happen."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "app.sqlite3"
        self.older = folder / "older.sqlite3"
        self.connect()
        self.db.pragma("journal_mode", "wal")
        self.db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)").fetchall()
        self.insert()
        self.keep_a_copy()

    def connect(self) -> None:
        self.db = apsw.Connection(str(self.path))
        # So small a cache that a transaction of any size spills into the files.
        self.db.pragma("cache_size", 5)

    def insert(self) -> None:
        self.db.execute("INSERT INTO t (body) VALUES (randomblob(500))").fetchall()

    def update_in_place(self) -> None:
        self.db.execute("UPDATE t SET body = randomblob(500) WHERE id = 1").fetchall()

    def set_version(self) -> None:
        self.db.pragma("user_version", self.db.pragma("user_version") + 1)

    def spill(self) -> None:
        if not self.db.in_transaction:
            self.db.execute("BEGIN IMMEDIATE").fetchall()
        self.db.execute(
            "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)"
            " INSERT INTO t (body) SELECT randomblob(2000) FROM n"
        ).fetchall()

    def commit(self) -> None:
        if self.db.in_transaction:
            self.db.execute("COMMIT").fetchall()

    def roll_back(self) -> None:
        if self.db.in_transaction:
            self.db.execute("ROLLBACK").fetchall()

    def checkpoint(self) -> None:
        self.db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def truncate(self) -> None:
        self.commit()
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def vacuum(self) -> None:
        self.commit()
        self.db.execute("VACUUM").fetchall()

    def switch_journal(self) -> None:
        self.commit()
        mode = {"wal": "delete", "delete": "persist"}.get(self.db.pragma("journal_mode"), "wal")
        self.db.pragma("journal_mode", mode)

    def reconnect(self) -> None:
        self.db.close()
        self.connect()

    def keep_a_copy(self) -> None:
        self.truncate()
        self.db.close()
        subprocess.run(["cp", "-p", self.path, self.older], check=True)
        self.connect()

    def copy_over(self) -> None:
        self._replace(["cp", "-p", self.older, self.path])

    def move_over(self) -> None:
        subprocess.run(["cp", "-p", self.older, self.older.with_suffix(".tmp")], check=True)
        self._replace(["mv", self.older.with_suffix(".tmp"), self.path])

    def _replace(self, command: list[object]) -> None:
        self.truncate()
        self.db.close()
        for suffix in ("-wal", "-shm", "-journal"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        subprocess.run([str(word) for word in command], check=True)
        self.connect()

    def touch_back(self) -> None:
        """Give the file the time stamps that it had before the last write, as far as one can."""
        subprocess.run(["touch", "-r", self.older, self.path], check=True)

    def touch(self) -> None:
        subprocess.run(["touch", "-d", "2001-09-09", self.path], check=True)

    def rest(self) -> None:
        pass


EVENTS = sorted(name for name, value in vars(Application).items() if name[0] != "_")
EVENTS.remove("connect")


@settings(
    max_examples=int(os.environ.get("KEEPER_TEST_FINGERPRINTS", "40")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    st.lists(st.lists(st.sampled_from(EVENTS), max_size=3), min_size=2, max_size=5).filter(
        lambda days: sum(map(len, days)) > 0
    )
)
def test_same_fingerprint_means_same_content(days: list[list[str]]) -> None:
    """Whatever happens between two looks: never once is a change overlooked."""
    with TemporaryDirectory() as folder:
        app = Application(Path(folder))
        seen: dict[str, tuple[object, ...]] = {}
        try:
            for events in days:
                for event in events:
                    try:
                        getattr(app, event)()
                    except (apsw.BusyError, apsw.LockedError, apsw.SQLError):
                        app.roll_back()
                found = once_settled(app.path)
                try:
                    now = content(app.path)
                except apsw.BusyError:
                    continue
                if found is not None:
                    assert seen.setdefault(found, now) == now
        finally:
            app.db.close()


@pytest.mark.parametrize("event", ["rest", "reconnect"])
def test_nothing_written_means_same_fingerprint(tmp_path: Path, event: str) -> None:
    """Otherwise it would be of no use."""
    app = Application(tmp_path)
    before = once_settled(app.path)

    getattr(app, event)()

    assert before is not None
    assert once_settled(app.path) == before
    app.db.close()


@pytest.mark.parametrize(
    "event",
    ["insert", "update_in_place", "set_version", "vacuum", "copy_over", "move_over", "touch_back"],
)
def test_whatever_touches_the_file_is_seen(tmp_path: Path, event: str) -> None:
    """Also what sets the modification time back: nobody can set the change time."""
    app = Application(tmp_path)
    before = once_settled(app.path)

    getattr(app, event)()

    assert before is not None
    assert once_settled(app.path) != before
    app.db.close()


def test_what_was_just_written_is_not_trusted(make_database: MakeDatabase) -> None:
    """A second write within the same tick of the clock would look the same."""
    path = make_database(rows=1)

    assert fingerprint(path, path.stat().st_mtime_ns + RACY_NS - 1) is None


def test_file_from_the_future_is_not_trusted(make_database: MakeDatabase) -> None:
    """A clock that was set back says nothing about what is old."""
    path = make_database(rows=1)
    os.utime(path, (time.time() + 10**6,) * 2)

    assert fingerprint(path, later()) is None


def test_journal_is_not_trusted(make_database: MakeDatabase, tmp_path: Path) -> None:
    """Its deletion commits, and leaves the file as it is."""
    path = make_database(rows=1, journal_mode="delete")
    assert once_settled(path) is not None
    Path(f"{path}-journal").write_bytes(b"x")

    assert fingerprint(path, later()) is None


def test_link_leads_to_the_file(make_database: MakeDatabase, tmp_path: Path) -> None:
    """The WAL lies beside the file, not beside the link."""
    path = make_database(rows=1)
    (tmp_path / "link").symlink_to(path)

    assert once_settled(tmp_path / "link") == once_settled(path)


@pytest.mark.parametrize("what", ["absent", "folder"])
def test_what_is_no_file_has_no_fingerprint(tmp_path: Path, what: str) -> None:
    """Whoever opens it will say what is wrong."""
    path = tmp_path / "app.sqlite3"
    if what == "folder":
        path.mkdir()

    assert fingerprint(path, later()) is None


@pytest.mark.parametrize(
    ("name", "trusted"),
    [("ext4", True), ("overlay", True), ("nfs4", False), ("fuse.juicefs", False), (None, False)],
)
def test_only_local_file_systems_are_trusted(name: str | None, trusted: bool) -> None:
    """What another host writes may be seen late."""
    assert module._has_reliable_times(name) is trusted
