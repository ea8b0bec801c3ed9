"""Which files of a folder are SQLite databases."""

import os
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from sqlitekeeper.files.databases import find_databases
from tests.conftest import REPOSITORY, MakeDatabase, OtherUser, needs_root

HEADER = b"SQLite format 3\0"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder."""
    path = tmp_path / "folder"
    path.mkdir()
    return path


@pytest.mark.parametrize("name", ["photo.jpg", "a b/[1]*?.x", "no-suffix", ".hidden/.db"])
def test_database_is_known_by_its_first_bytes(
    make_database: MakeDatabase, folder: Path, name: str
) -> None:
    """Whatever it is called."""
    make_database(f"folder/{name}", rows=1)

    assert find_databases(folder) == (os.fsencode(name),)


@pytest.mark.parametrize("content", [b"", HEADER[:-1], HEADER[1:], b"x" + HEADER, b"x" * 4096])
def test_other_content_is_no_database(folder: Path, content: bytes) -> None:
    """Not even under a database's name."""
    (folder / "app.sqlite3").write_bytes(content)

    assert find_databases(folder) == ()


def test_names_need_not_be_utf8(folder: Path) -> None:
    """They come back as they are."""
    names = [b"\xff\xfe", b"new\nline", "é".encode()]
    for name in names:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(HEADER)

    assert set(find_databases(folder)) == set(names)


def test_configured_databases_count_whatever_they_hold(folder: Path, tmp_path: Path) -> None:
    """Empty, encrypted, or not there yet; by their real path; and not those elsewhere."""
    (folder / "empty.db").touch()
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "folder2").mkdir()
    known = [
        folder / "empty.db",
        tmp_path / "link" / "sub" / "new.db",
        tmp_path / "folder2" / "other.db",
        tmp_path / "elsewhere.db",
    ]

    assert find_databases(folder, known) == (b"empty.db", b"sub/new.db")


def test_symlinks_are_not_followed(make_database: MakeDatabase, folder: Path) -> None:
    """Neither to a database nor in a circle."""
    make_database("folder/app.db", rows=1)
    (folder / "link.db").symlink_to(make_database(rows=1))
    (folder / "circle").symlink_to(folder)

    assert find_databases(folder) == (b"app.db",)


def test_pipes_are_not_waited_for(folder: Path) -> None:
    """Opening one would block until somebody writes."""
    os.mkfifo(folder / "pipe")

    assert find_databases(folder) == ()


def test_folder_that_vanished_holds_nothing(folder: Path) -> None:
    """It is passed over, as a file is that goes meanwhile."""
    folder.rmdir()

    assert find_databases(folder) == ()


@needs_root
def test_what_cannot_be_read_is_passed_over(
    make_database: MakeDatabase, other_user: OtherUser
) -> None:
    """The rest is looked at."""
    database = make_database(rows=1, journal_mode="delete")
    for name in ("closed/app.db", "secret.db", "open.db"):
        target = other_user.folder / "data" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(database.read_bytes())
        target.chmod(0o644)
    (other_user.folder / "data" / "closed").chmod(0o700)
    (other_user.folder / "data" / "secret.db").chmod(0o600)
    program = f"""
import os
from pathlib import Path
from sqlitekeeper.files.databases import find_databases
os.setgroups([]); os.setgid({other_user.gid}); os.setuid({other_user.uid})
print(find_databases(Path({str(other_user.folder / "data")!r})))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True
    )

    assert (done.stdout, done.stderr) == ("(b'open.db',)\n", "")


def test_locks_that_this_process_holds_survive(make_database: MakeDatabase, folder: Path) -> None:
    """Opening and closing the file once more would let another process write into a transaction."""
    path = make_database("folder/app.db", rows=1, journal_mode="delete")
    holder = apsw.Connection(str(path))
    holder.execute("BEGIN IMMEDIATE").fetchall()
    holder.execute("DELETE FROM t").fetchall()

    assert find_databases(folder) == (b"app.db",)

    writer = (
        "import apsw, sys\n"
        "try: apsw.Connection(sys.argv[1]).execute('BEGIN IMMEDIATE').fetchall()\n"
        "except apsw.BusyError: print('busy')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", writer, str(path)], capture_output=True, check=True, text=True
    )
    assert done.stdout == "busy\n"
    holder.close()
