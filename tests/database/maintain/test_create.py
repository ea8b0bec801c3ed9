"""New databases: auto-vacuum first, read back, and nothing of anybody's changed on refusal."""

import os
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.maintain.create import JournalMode, create_database, init_database
from sqlitekeeper.database.measure import AutoVacuum
from sqlitekeeper.errors import ConfigError, KeeperError
from sqlitekeeper.events import Event, Note
from tests.conftest import (
    REPOSITORY,
    MakeDatabase,
    Mount,
    OtherUser,
    contents,
    count_rows,
    needs_root,
    pragma,
)


def test_wal_mode_first_is_too_late(tmp_path: Path) -> None:
    """SQLite itself: auto_vacuum set after WAL mode stays 0, which is why the order matters."""
    connection = apsw.Connection(str(tmp_path / "late.sqlite3"))
    connection.pragma("journal_mode", "wal")
    connection.pragma("auto_vacuum", 2)
    connection.execute("CREATE TABLE t (x)").fetchall()
    connection.close()

    assert pragma(tmp_path / "late.sqlite3", "auto_vacuum") == 0


def test_settings_alone_write_nothing(tmp_path: Path) -> None:
    """SQLite itself: with a rollback journal, settings without a write leave 0 bytes."""
    path = tmp_path / "alone.sqlite3"
    connection = apsw.Connection(str(path))
    connection.pragma("page_size", 8192)
    connection.pragma("auto_vacuum", 0)
    connection.pragma("journal_mode", "delete")
    connection.close()

    assert path.stat().st_size == 0


@pytest.mark.parametrize("page_size", [None, 512, 65536])
@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
@pytest.mark.parametrize(
    ("auto_vacuum", "number"), [("none", 0), ("full", 1), ("incremental", 2)], ids=lambda v: str(v)
)
def test_settings_outlive_the_connection(
    tmp_path: Path,
    auto_vacuum: AutoVacuum,
    number: int,
    journal_mode: JournalMode,
    page_size: int | None,
) -> None:
    """A fresh connection finds every setting that was asked for."""
    path = tmp_path / "new.sqlite3"

    create_database(path, auto_vacuum=auto_vacuum, journal_mode=journal_mode, page_size=page_size)

    found = [pragma(path, name) for name in ("auto_vacuum", "journal_mode", "page_size")]
    assert found == [number, journal_mode, page_size or 4096]


def test_pages_can_be_freed_later(tmp_path: Path) -> None:
    """What the application deletes from a new database goes back to the file system."""
    path = tmp_path / "new.sqlite3"
    create_database(path)
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(200000))").fetchall()
    connection.execute("DELETE FROM t").fetchall()
    full = connection.pragma("page_count")
    connection.execute("PRAGMA incremental_vacuum").fetchall()

    assert connection.pragma("page_count") < full - 40
    connection.close()


def test_only_the_database_is_left(tmp_path: Path) -> None:
    """Creating in WAL mode leaves no -wal and no -shm."""
    create_database(tmp_path / "new.sqlite3")

    assert [path.name for path in tmp_path.glob("new*")] == ["new.sqlite3"]


def test_empty_file_counts_as_new(tmp_path: Path) -> None:
    """A file of 0 bytes, as `touch` makes it, becomes a database."""
    path = tmp_path / "empty.sqlite3"
    path.touch()

    assert create_database(path) == "created"
    assert pragma(path, "auto_vacuum") == 2


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_empty_file_beside_an_old_sidecar_is_refused(tmp_path: Path, suffix: str) -> None:
    """SQLite would mix an old sidecar with the new file, so keeper makes none."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "app.sqlite3").touch()
    (folder / f"app.sqlite3{suffix}").write_bytes(b"old")
    before = contents(folder)

    with pytest.raises(KeeperError, match="lies beside it"):
        create_database(folder / "app.sqlite3")

    assert contents(folder) == before


def test_existing_database_is_refused(make_database: MakeDatabase) -> None:
    """An existing database is left as it is, byte for byte."""
    path = make_database("data/app.sqlite3", auto_vacuum="none", rows=5)
    before = contents(path.parent)

    with pytest.raises(KeeperError, match="exists already"):
        create_database(path)

    assert contents(path.parent) == before


def test_existing_database_is_fine_when_asked(make_database: MakeDatabase) -> None:
    """With exist_ok an existing database is said to exist, and not changed either."""
    path = make_database("data/app.sqlite3", auto_vacuum="none", rows=5)
    before = contents(path.parent)

    result = init_database(path, exist_ok=True)

    assert (result.outcome, result.auto_vacuum) == ("exists", "none")
    assert result.reason is not None
    assert f"keeper convert {path}" in result.reason
    assert contents(path.parent) == before


@pytest.mark.parametrize(
    ("found", "asked", "said"),
    [
        ("full", "incremental", "auto_vacuum is full, left to the application"),
        ("none", "full", "auto_vacuum is none; to change it: keeper convert --auto-vacuum full {}"),
    ],
)
def test_advice_on_an_existing_database_lasts(
    make_database: MakeDatabase, found: str, asked: AutoVacuum, said: str
) -> None:
    """An application may ask for full whenever it opens it; none it would have to convert."""
    path = make_database(auto_vacuum=found)

    assert init_database(path, auto_vacuum=asked, exist_ok=True).reason == said.format(path)


def test_something_that_is_no_database_is_refused_even_then(tmp_path: Path) -> None:
    """exist_ok does not extend to files that are no databases."""
    folder = tmp_path / "data"
    folder.mkdir()
    path = folder / "notes.txt"
    path.write_text("not a database, but rather long as such notes go\n" * 100)
    before = contents(folder)

    with pytest.raises(KeeperError, match=r"is not an SQLite database, but a text"):
        init_database(path, exist_ok=True)

    assert contents(folder) == before


def test_memory_database_is_refused() -> None:
    """`:memory:` has no file to create."""
    with pytest.raises(ConfigError, match="without a file"):
        create_database(Path(":memory:"))

    assert not Path(":memory:").exists()


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    """Folders are not made: a typing error would create a tree."""
    with pytest.raises(KeeperError, match="does not exist") as caught:
        create_database(tmp_path / "no" / "app.sqlite3")

    assert caught.value.hint is not None
    assert "mkdir -p" in caught.value.hint
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("size", [0, 100, 4095, 131072])
def test_impossible_page_size_is_refused(tmp_path: Path, size: int) -> None:
    """SQLite would silently take another one."""
    with pytest.raises(ConfigError, match="not a power of two"):
        create_database(tmp_path / "app.sqlite3", page_size=size)

    assert not (tmp_path / "app.sqlite3").exists()


def test_folder_is_refused(tmp_path: Path) -> None:
    """A folder in the database's place is named as what it is."""
    with pytest.raises(KeeperError, match="is a folder"):
        create_database(tmp_path)


def test_dangling_symlink_is_refused(tmp_path: Path) -> None:
    """No file appears at the other end of a symlink."""
    link = tmp_path / "link.sqlite3"
    link.symlink_to(tmp_path / "target.sqlite3")

    with pytest.raises(KeeperError, match="no such file"):
        create_database(link)

    assert not (tmp_path / "target.sqlite3").exists()


@pytest.mark.parametrize(
    "name", ["file:x?mode=memory", "with space.db", "zürich.db", "-flag", "%41.db", "a?b#c", "a'b"]
)
def test_any_name_is_a_file_name(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path is never read as a URI."""
    monkeypatch.chdir(tmp_path)

    create_database(Path(name))

    assert name in [path.name for path in tmp_path.iterdir()]
    assert pragma(tmp_path / name, "auto_vacuum") == 2


def test_root_gives_the_file_to_the_owner_of_the_folder(other_user: OtherUser) -> None:
    """Made by root in an application's folder, the database belongs to the application."""
    path = other_user.folder / "app.sqlite3"

    create_database(path)

    assert (path.stat().st_uid, path.stat().st_gid) == (other_user.uid, other_user.gid)


def test_owner_can_write_what_root_created(other_user: OtherUser) -> None:
    """No sidecar of root's is left to lock the owner out."""
    create_database(other_user.folder / "app.sqlite3")

    assert [path.name for path in other_user.folder.iterdir()] == ["app.sqlite3"]


def test_sticky_folder_says_nothing_about_the_owner(other_user: OtherUser) -> None:
    """In a folder that everyone uses, such as /tmp, root's file stays root's."""
    other_user.folder.chmod(0o1777)

    create_database(other_user.folder / "app.sqlite3")

    assert (other_user.folder / "app.sqlite3").stat().st_uid == 0


@needs_root
def test_failed_creation_leaves_nothing(mount: Mount) -> None:
    """A full disk ends the attempt, and no half of a database remains."""
    folder = mount("full", "8k")
    (folder / "filler").write_bytes(bytes(8192))

    with pytest.raises(KeeperError):
        create_database(folder / "app.sqlite3")

    assert [path.name for path in folder.iterdir()] == ["filler"]


WRITE_MEANWHILE = """
import os, sys
from pathlib import Path
import apsw
from sqlitekeeper.database.maintain import create
step = getattr(create, sys.argv[2])
def lose_the_race(*arguments):
    if os.fork() == 0:
        connection = apsw.Connection(sys.argv[1])
        connection.execute('CREATE TABLE t (x); INSERT INTO t VALUES (1)').fetchall()
        connection.close()
        os._exit(0)
    os.wait()
    return step(*arguments)
setattr(create, sys.argv[2], lose_the_race)
try:
    create.create_database(Path(sys.argv[1]))
except Exception as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("step", "empty", "said"),
    [("put", False, "exists already"), ("_write_settings", True, "somebody has just written")],
)
def test_what_an_application_wrote_first_is_left_as_it_is(
    tmp_path: Path, step: str, empty: bool, said: str
) -> None:
    """Until the last moment it may have come first."""
    path = tmp_path / "app.sqlite3"
    if empty:
        path.touch()

    done = subprocess.run(
        [sys.executable, "-c", WRITE_MEANWHILE, path, step],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert said in done.stdout
    assert count_rows(path) == 1
    assert pragma(path, "journal_mode") == "delete"
    assert [entry.name for entry in tmp_path.glob("keeper-*")] == []


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_sidecar_of_a_lost_database_is_not_mixed_with_a_new_one(
    tmp_path: Path, suffix: str
) -> None:
    """What it holds are somebody's transactions."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / f"app.sqlite3{suffix}").write_bytes(b"old")
    before = contents(folder)

    with pytest.raises(KeeperError, match="lies beside it"):
        create_database(folder / "app.sqlite3")

    assert contents(folder) == before


def test_litter_of_a_killed_run_is_removed(tmp_path: Path) -> None:
    """And told."""
    litter = tmp_path / "keeper-init-abcd1234"
    litter.mkdir(mode=0o700)
    notes: list[Event] = []

    create_database(tmp_path / "app.sqlite3", on_event=notes.append)

    assert not litter.exists()
    assert [str(litter) in note.text for note in notes if isinstance(note, Note)] == [True]
