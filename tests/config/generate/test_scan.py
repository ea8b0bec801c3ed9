"""Which files below a folder are databases that a keeper.toml should name."""

import os
from pathlib import Path

import pytest

from sqlitekeeper.config.generate.scan import find_databases, transient_reason
from sqlitekeeper.errors import ConfigError
from tests.conftest import MakeDatabase, OtherUser

HEADER = b"SQLite format 3\0" + b"\0" * 496


def database(path: Path) -> Path:
    """A file that starts as an SQLite database does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(HEADER)
    return path


def found(folder: Path) -> list[str]:
    """What was found, relative to the folder."""
    return [str(one.path.relative_to(folder)) for one in find_databases(folder).databases]


def test_a_real_database_is_found(make_database: MakeDatabase, tmp_path: Path) -> None:
    """As SQLite writes it, and by its absolute path."""
    path = make_database("srv/app.sqlite3", rows=1)
    assert [one.path for one in find_databases(tmp_path / "srv").databases] == [path]


@pytest.mark.parametrize("name", ["app", "app.txt", "x/y/z.db", "größe.db", ".hidden.db", "a\nb"])
def test_the_header_counts_and_not_the_name(folder: Path, name: str) -> None:
    """At any depth."""
    database(folder / name)
    assert found(folder) == [name]


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"no database" * 100, HEADER[1:]])
def test_what_only_has_the_name_is_left_out(folder: Path, content: bytes) -> None:
    """Empty files, parts of a header, and other files."""
    (folder / "app.sqlite3").write_bytes(content)
    assert found(folder) == []


@pytest.mark.parametrize(
    "name",
    [
        "app.db-wal",
        "app.db-shm",
        "app.db-journal",
        "app.db.before-20261123T030000Z",
        ".git/app.db",
        ".cache/app.db",
        "node_modules/x/app.db",
        "keeper-staging-abc/app.db",
    ],
)
def test_what_lies_beside_databases_is_left_out(folder: Path, name: str) -> None:
    """Sidecars, what a restore set aside, hidden folders, staging folders."""
    database(folder / name)
    assert found(folder) == []


def test_keepers_own_snapshots_are_left_out(folder: Path) -> None:
    """A snapshot has its manifest beside it; a file that only looks like one is found."""
    database(folder / "app/app-20261123T030000Z.sqlite3")
    (folder / "app/app-20261123T030000Z.json").touch()
    database(folder / "app/app-20261123T030000Z-k3f9q.sqlite3")
    (folder / "app/app-20261123T030000Z-k3f9q.json").touch()
    database(folder / "other-20261123T030000Z.sqlite3")
    assert found(folder) == ["other-20261123T030000Z.sqlite3"]


def test_keepers_own_history_is_left_out(folder: Path) -> None:
    """It is vacuumed by keeper itself; somebody else's history.sqlite3 is found."""
    database(folder / "state/history.sqlite3")
    (folder / "state/locks").mkdir()
    database(folder / "browser/history.sqlite3")
    assert found(folder) == ["browser/history.sqlite3"]


def test_symlinked_folders_are_not_entered(folder: Path, tmp_path: Path) -> None:
    """A loop of links has no end."""
    database(tmp_path / "elsewhere/app.db")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(folder)
    assert found(folder) == []


def test_a_file_and_a_link_to_it_are_one_database(folder: Path, tmp_path: Path) -> None:
    """Under its own name; a link to a file that lies elsewhere counts."""
    database(folder / "z.db")
    (folder / "a.db").symlink_to("z.db")
    (folder / "b.db").symlink_to(database(tmp_path / "elsewhere.db"))
    (folder / "dangling.db").symlink_to("nowhere")
    assert found(folder) == ["b.db", "z.db"]


def test_a_pipe_is_not_opened(folder: Path) -> None:
    """Reading one would wait for ever."""
    os.mkfifo(folder / "pipe.db")
    assert found(folder) == []


def test_a_name_that_is_not_utf8_is_said_and_left_out(folder: Path) -> None:
    """TOML cannot hold it."""
    database(folder / os.fsdecode(b"caf\xe9.db"))
    result = find_databases(folder)
    assert result.databases == ()
    assert "left out: its path is not valid UTF-8" in result.remarks[0]
    assert result.remarks[0].isprintable()


def test_what_cannot_be_read_is_said(other_user: OtherUser) -> None:
    """A folder and a file that only root may look into, seen by somebody else."""
    database(other_user.folder / "open.db")
    closed = database(other_user.folder / "closed.db")
    closed.chmod(0)
    database(other_user.folder / "secret/app.db").parent.chmod(0)

    run = other_user.keeper("config", "init", other_user.folder)

    assert run.status == 0
    assert "open.db" in run.out
    for path in (closed, other_user.folder / "secret"):
        assert f"warning: {path}: cannot be read: Permission denied" in run.err


@pytest.mark.parametrize(
    ("name", "words"), [("nosuch", "no such folder"), ("file", "not a folder")]
)
def test_no_folder_is_an_error(folder: Path, name: str, words: str) -> None:
    """A usage error, with the path as it was given."""
    (folder / "file").touch()
    with pytest.raises(ConfigError, match=words) as caught:
        find_databases(Path(name))
    assert caught.value.message.startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("production_cache", "Solid Cache"),
        ("production_queue", "Solid Queue"),
        ("staging-cable", "Solid Cable"),
    ],
)
def test_solid_databases_are_told_by_their_names(name: str, word: str) -> None:
    """With the reason for leaving them out."""
    assert word in (transient_reason(name) or "")


@pytest.mark.parametrize("name", ["production", "production_errors", "cache", "queue", "cached"])
def test_a_name_that_may_be_anything_is_backed_up(name: str) -> None:
    """When in doubt."""
    assert transient_reason(name) is None
