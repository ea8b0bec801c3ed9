"""Another auto-vacuum mode for an existing database, with proof."""

import os
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.check import integrity_problems
from sqlitekeeper.database.maintain.convert import convert, plan_conversion
from sqlitekeeper.database.measure import AutoVacuum
from sqlitekeeper.errors import CheckError, KeeperError, NoRoomError, ReadOnlyError
from sqlitekeeper.events import Event
from sqlitekeeper.filesystem.disks import free_bytes
from tests.conftest import Companion, MakeDatabase, Mount, contents, count_rows, needs_root, pragma
from tests.damage import make_index_disagree

Beside = Callable[[str, Path], Companion]


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_none_becomes_incremental(make_database: MakeDatabase, journal_mode: str) -> None:
    """A fresh connection finds the new mode, every row, and the old journal mode."""
    path = make_database(auto_vacuum="none", deleted=100, journal_mode=journal_mode)

    result = convert(plan_conversion(path))

    assert (result.outcome, result.reason) == ("converted", None)
    assert (result.auto_vacuum_before, result.auto_vacuum_after) == ("none", "incremental")
    assert [pragma(path, name) for name in ("auto_vacuum", "journal_mode")] == [2, journal_mode]
    assert count_rows(path) == 300
    assert result.bytes_after == path.stat().st_size < result.bytes_before


@pytest.mark.parametrize(
    ("before", "wanted", "number"), [("full", "incremental", 2), ("incremental", "full", 1)]
)
def test_full_and_incremental_need_no_vacuum(
    make_database: MakeDatabase, before: str, wanted: AutoVacuum, number: int
) -> None:
    """Between these two a flag changes and nobody waits."""
    path = make_database(auto_vacuum=before)

    plan = plan_conversion(path, wanted)
    convert(plan)

    assert (plan.needs_vacuum, plan.writers_wait_seconds) == (False, 0.0)
    assert pragma(path, "auto_vacuum") == number


def test_incremental_becomes_none(make_database: MakeDatabase) -> None:
    """The way back takes a VACUUM too."""
    path = make_database()

    plan = plan_conversion(path, "none")
    convert(plan)

    assert plan.needs_vacuum
    assert pragma(path, "auto_vacuum") == 0


def test_what_is_converted_already_stays(make_database: MakeDatabase) -> None:
    """Nothing to do means that no byte changes."""
    path = make_database("data/app.sqlite3")
    before = contents(path.parent)

    assert convert(plan_conversion(path)).outcome == "already"
    assert contents(path.parent) == before


def test_planning_changes_nothing(make_database: MakeDatabase) -> None:
    """A plan is only read off the database."""
    path = make_database("data/app.sqlite3", auto_vacuum="none")
    before = contents(path.parent)

    plan = plan_conversion(path)

    assert plan.needed
    assert contents(path.parent) == before


def test_nothing_is_left_beside_the_database(make_database: MakeDatabase) -> None:
    """No -wal, no -shm and no -journal stay where nobody else has it open."""
    path = make_database("data/app.sqlite3", auto_vacuum="none")

    convert(plan_conversion(path))

    assert list(contents(path.parent)) == ["app.sqlite3"]


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_writer_beside_loses_nothing(
    make_database: MakeDatabase, beside: Beside, journal_mode: str
) -> None:
    """The application's commits go on before and after, without a pause."""
    path = make_database(rows=2000, auto_vacuum="none", journal_mode=journal_mode)
    writer = beside("write", path)

    result = convert(plan_conversion(path))

    committed = int(writer.end())
    assert (result.outcome, result.reason) == ("converted", None)
    assert count_rows(path, "ledger") == 2 * committed
    assert pragma(path, "auto_vacuum") == 2
    connection = apsw.Connection(str(path))
    assert connection.execute("SELECT total(amount) FROM ledger").get == 0
    assert integrity_problems(connection, "integrity") == []
    connection.close()


def test_damaged_database_is_not_converted(make_database: MakeDatabase) -> None:
    """VACUUM would hide what is wrong; nothing is changed, and the error says what it is."""
    path = make_database("data/app.sqlite3", rows=1, auto_vacuum="none")
    make_index_disagree(path)
    before = contents(path.parent)

    with pytest.raises(CheckError, match=r"left as it is, since integrity_.*index stale"):
        convert(plan_conversion(path))

    assert contents(path.parent) == before


def test_broken_check_constraint_is_the_applications_affair(make_database: MakeDatabase) -> None:
    """As a foreign key without a parent is: the pages are sound, and so is the conversion."""
    path = make_database(rows=1, auto_vacuum="none")
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE c (x CHECK (x > 0))").fetchall()
    connection.pragma("ignore_check_constraints", 1)
    connection.execute("INSERT INTO c VALUES (-1)").fetchall()
    connection.close()

    assert convert(plan_conversion(path)).outcome == "converted"


def test_interrupted_conversion_changes_nothing(make_database: MakeDatabase) -> None:
    """What is raised while the copy is made leaves nothing of it."""
    path = make_database("data/app.sqlite3", rows=4000, auto_vacuum="none")
    before = contents(path.parent)

    def stop(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(plan_conversion(path), stop)

    assert contents(path.parent) == before


def test_read_only_file_is_refused(make_database: MakeDatabase) -> None:
    """Also for root: somebody meant it."""
    path = make_database("data/app.sqlite3", auto_vacuum="none")
    path.chmod(0o444)
    before = contents(path.parent)

    with pytest.raises(ReadOnlyError, match="the file is read-only"):
        plan_conversion(path)

    assert contents(path.parent) == before


def test_empty_file_is_refused(tmp_path: Path) -> None:
    """There is nothing to convert; init makes a new database."""
    (tmp_path / "empty.sqlite3").touch()

    with pytest.raises(KeeperError, match="is empty") as caught:
        plan_conversion(tmp_path / "empty.sqlite3")

    assert "keeper init" in (caught.value.hint or "")


@needs_root
@pytest.mark.parametrize("linked", [False, True])
def test_room_beside_the_database_is_checked(
    make_database: MakeDatabase, mount: Mount, tmp_path: Path, linked: bool
) -> None:
    """All goes through the WAL or the journal in the database's own folder."""
    folder = mount("small", "1m")
    path = make_database("small/app.sqlite3", auto_vacuum="none")
    if linked:
        (tmp_path / "link.sqlite3").symlink_to(path)

    with pytest.raises(
        NoRoomError, match=f"converting it needs about .* in {folder}, which has"
    ) as found:
        plan_conversion(tmp_path / "link.sqlite3" if linked else path)

    assert found.value.hint == "make room there"


@needs_root
@pytest.mark.parametrize("which", ["other", "small"])
def test_room_for_the_copy_is_checked(
    make_database: MakeDatabase, mount: Mount, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """In SQLite's temporary folder, on another disk or on the same, and beside the database."""
    monkeypatch.setenv("SQLITE_TMPDIR", str(mount("other", "1m")))
    mount("small", "5m")
    folder = Path(os.environ["SQLITE_TMPDIR"]).parent / which
    monkeypatch.setenv("SQLITE_TMPDIR", str(folder))
    path = make_database("small/app.sqlite3", rows=1500, auto_vacuum="none")

    with pytest.raises(
        NoRoomError, match=f"converting it needs about .* in {folder}, which has"
    ) as found:
        plan_conversion(path)

    assert "SQLITE_TMPDIR" in (found.value.hint or "")


@needs_root
@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_pages_in_use_are_what_needs_room(
    make_database: MakeDatabase, mount: Mount, monkeypatch: pytest.MonkeyPatch, journal_mode: str
) -> None:
    """A file that is full of free pages is converted where it would not fit once more."""
    folder = mount("small", "64m")
    monkeypatch.setenv("SQLITE_TMPDIR", str(folder))
    path = make_database(
        "small/app.sqlite3",
        rows=15_000,
        deleted=12_500,
        auto_vacuum="none",
        journal_mode=journal_mode,
    )
    (folder / "filler").write_bytes(bytes(free_bytes(folder) - 8 * 2**20))
    assert free_bytes(folder) < path.stat().st_size

    assert convert(plan_conversion(path)).bytes_after < 3_000_000


@needs_root
def test_without_a_vacuum_no_room_is_needed(make_database: MakeDatabase, mount: Mount) -> None:
    """Changing a flag fits on a disk that is nearly full."""
    mount("small", "1m")
    path = make_database("small/app.sqlite3", auto_vacuum="full")

    assert convert(plan_conversion(path)).outcome == "converted"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
@pytest.mark.parametrize("variable", ["SQLITE_TMPDIR", "TMPDIR"])
def test_the_checked_folder_is_the_one_that_sqlite_uses(
    make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """While it runs, the copy is where the room was looked for."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv(variable, str(temporary))
    path = make_database(rows=6000, auto_vacuum="none")
    links: set[str] = set()

    def look(event: Event) -> None:
        for link in Path("/proc/self/fd").iterdir():
            if os.path.lexists(link):
                links.add(str(link.readlink()))

    convert(plan_conversion(path), look)

    assert any(link.startswith(str(temporary)) for link in links)
