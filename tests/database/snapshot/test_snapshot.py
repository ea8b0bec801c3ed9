"""Snapshots of live databases."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from sqlitekeeper.database.check import integrity_problems
from sqlitekeeper.database.snapshot.snapshot import take_snapshot
from sqlitekeeper.errors import BusyError, CheckError, KeeperError
from sqlitekeeper.events import Event
from tests.conftest import Companion, MakeDatabase, Mount, contents, count_rows, needs_root, pragma


def ledger_sum(path: Path) -> object:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        assert integrity_problems(connection, "integrity") == []
        return connection.execute("SELECT total(amount) FROM ledger").get
    finally:
        connection.close()


def test_snapshot_holds_every_row(make_database: MakeDatabase, tmp_path: Path) -> None:
    """A snapshot is a plain database with the same rows."""
    take_snapshot(make_database(rows=50), tmp_path / "copy")

    assert count_rows(tmp_path / "copy") == 50


def test_snapshot_is_private(make_database: MakeDatabase, tmp_path: Path) -> None:
    """SQLite would make the copy readable by everyone."""
    take_snapshot(make_database(rows=1), tmp_path / "copy")

    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["file", "symlink"])
def test_target_that_exists_is_refused(
    make_database: MakeDatabase, tmp_path: Path, kind: str
) -> None:
    """Nobody's file is overwritten, and no symlink followed."""
    path, target, other = make_database(rows=1), tmp_path / "copy", tmp_path / "other"
    other.write_bytes(b"")
    target.hardlink_to(other) if kind == "file" else target.symlink_to(other)

    with pytest.raises(OSError, match="File exists"):
        take_snapshot(path, target)

    assert other.read_bytes() == b""


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_snapshot_beside_a_writer_is_one_state(
    make_database: MakeDatabase,
    tmp_path: Path,
    beside: Callable[[str, Path], Companion],
    journal_mode: str,
) -> None:
    """No transaction is seen in part, and the writer loses nothing."""
    path = make_database(rows=400, journal_mode=journal_mode)
    writer = beside("write", path)

    take_snapshot(path, tmp_path / "copy")

    committed = int(writer.end())
    assert ledger_sum(tmp_path / "copy") == 0
    assert count_rows(path, "ledger") == 2 * committed


def test_same_content_gives_the_same_bytes(make_database: MakeDatabase, tmp_path: Path) -> None:
    """Which is why an equal hash means unchanged."""
    path = make_database(rows=50, deleted=10)

    take_snapshot(path, tmp_path / "one")
    take_snapshot(path, tmp_path / "two")

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_settings_are_kept_except_for_wal(make_database: MakeDatabase, tmp_path: Path) -> None:
    """The source tells that it was in WAL mode, since the snapshot cannot."""
    path = make_database(rows=5)
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 7)
    connection.pragma("application_id", 11)
    connection.close()

    source = take_snapshot(path, tmp_path / "copy")

    names = ("auto_vacuum", "user_version", "application_id", "journal_mode")
    assert [pragma(tmp_path / "copy", name) for name in names] == [2, 7, 11, "delete"]
    assert (source.journal_mode, source.user_version, source.application_id) == ("wal", 7, 11)


def test_snapshot_leaves_the_database_alone(make_database: MakeDatabase, tmp_path: Path) -> None:
    """Not a byte of the database changes, and nothing is left beside it."""
    path = make_database("data/app.sqlite3", rows=20)
    before = contents(path.parent)

    take_snapshot(path, tmp_path / "copy")

    assert contents(path.parent) == before


def test_empty_database_is_refused(tmp_path: Path) -> None:
    """A snapshot of nothing would be false comfort."""
    (tmp_path / "empty.sqlite3").touch()

    with pytest.raises(KeeperError, match="is empty"):
        take_snapshot(tmp_path / "empty.sqlite3", tmp_path / "copy")

    assert not (tmp_path / "copy").exists()


def test_interrupted_snapshot_leaves_nothing(make_database: MakeDatabase, tmp_path: Path) -> None:
    """What is raised while the copy is written ends it, and removes it."""

    def stop(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take_snapshot(make_database(rows=4000), tmp_path / "copy", stop)

    assert not (tmp_path / "copy").exists()


def test_damaged_database_leaves_nothing(make_database: MakeDatabase, tmp_path: Path) -> None:
    """Damage is a failed check, and no copy of it is kept."""
    path = make_database(rows=100)
    with path.open("r+b") as file:
        file.seek(20 * 4096)
        file.write(b"\xff" * 4096 * 3)

    with pytest.raises(CheckError, match="is damaged"):
        take_snapshot(path, tmp_path / "copy")

    assert not (tmp_path / "copy").exists()


@needs_root
def test_no_room_is_known_before(make_database: MakeDatabase, mount: Mount) -> None:
    """The folder for snapshots is measured first."""
    small = mount("small", "1m")

    with pytest.raises(KeeperError, match=r"its snapshot needs .* which has 1.0 MiB"):
        take_snapshot(make_database(rows=400), small / "copy")

    assert list(small.iterdir()) == []


def test_locked_rollback_database_is_busy(
    make_database: MakeDatabase,
    tmp_path: Path,
    beside: Callable[[str, Path], Companion],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who keeps the database locked for longer than keeper waits is reported."""
    monkeypatch.setattr("sqlitekeeper.database.snapshot.snapshot.WAIT_SECONDS", 0.2)
    path = make_database(rows=1, journal_mode="delete")
    beside("lock", path)

    with pytest.raises(BusyError, match="database is locked"):
        take_snapshot(path, tmp_path / "copy")


COMES_AND_GOES = """
import sys, apsw
connection = apsw.Connection(sys.argv[1])
connection.execute("INSERT INTO t (body) VALUES ('committed')").fetchall()
connection.close()
"""


def test_what_an_application_commits_meanwhile_is_flushed(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Closing the last connection empties the WAL into the file, which must be on the disk then."""
    path = make_database(rows=5000)
    came: list[Event] = []

    def come_and_go(event: Event) -> None:
        if not came:
            came.append(event)
            subprocess.run([sys.executable, "-c", COMES_AND_GOES, str(path)], check=True)

    with _witnessed() as seen:
        take_snapshot(path, tmp_path / "copy", come_and_go)

    assert came
    assert count_rows(path) == 5001
    flushed, removed = ("flushed", path.name), ("removed", f"{path.name}-wal")
    assert removed in seen
    assert flushed in seen[: seen.index(removed)]


@contextmanager
def _witnessed() -> Iterator[list[tuple[str, str]]]:
    """What SQLite flushes and removes in this process, in order, by the names of files."""
    seen: list[tuple[str, str]] = []

    class File(apsw.VFSFile):
        def __init__(self, name: Any, flags: list[int]) -> None:
            self.name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
            super().__init__("unix", name, flags)

        def xSync(self, flags: int) -> None:  # noqa: N802
            seen.append(("flushed", Path(self.name).name))
            super().xSync(flags)

    class Witness(apsw.VFS):
        def __init__(self) -> None:
            super().__init__("witness", "unix", makedefault=True)

        def xOpen(self, name: Any, flags: list[int]) -> File:  # noqa: N802
            return File(name, flags)

        def xDelete(self, name: str, sync_folder: bool) -> None:  # noqa: N802
            seen.append(("removed", Path(name).name))
            super().xDelete(name, sync_folder)

    witness = Witness()
    try:
        yield seen
    finally:
        witness.unregister()
