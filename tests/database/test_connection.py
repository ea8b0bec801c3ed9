"""Opening other people's databases: nothing changed, nothing left, nobody locked out."""

import os
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.connection import open_database, wait_for_locks
from sqlitekeeper.database.measure import measure
from sqlitekeeper.errors import BusyError, KeeperError
from tests.conftest import Beside, MakeDatabase, OtherUser, contents, count_rows, needs_root


@pytest.mark.parametrize("size", [5, 99, 5000])
def test_what_is_no_database_may_be_encrypted(tmp_path: Path, size: int) -> None:
    """Both explanations are given, and the file stays as it is, alone."""
    folder = tmp_path / "data"
    folder.mkdir()
    path = folder / "secret.db"
    path.write_bytes(os.urandom(size))
    before = contents(folder)

    with pytest.raises(KeeperError, match="is not an SQLite database, or it is encrypted"):
        measure(path)

    assert contents(folder) == before


def test_encrypted_database_that_looks_like_wal_leaves_no_sidecars(tmp_path: Path) -> None:
    """Bytes 18 and 19 of noise can say WAL by chance."""
    path = tmp_path / "data" / "secret.db"
    path.parent.mkdir()
    path.write_bytes(b"\x07" * 18 + b"\x02\x02" + b"\x07" * 5000)

    with pytest.raises(KeeperError, match="or it is encrypted"):
        measure(path)

    assert list(contents(path.parent)) == ["secret.db"]


def test_reading_an_idle_wal_database_leaves_no_sidecars(make_database: MakeDatabase) -> None:
    """A plain read-only connection would leave -wal and -shm."""
    path = make_database("data/app.sqlite3")
    before = contents(path.parent)

    with open_database(path) as connection:
        connection.execute("SELECT count(*) FROM t").fetchall()

    assert contents(path.parent) == before


@needs_root
def test_root_reading_a_read_only_wal_database_leaves_no_sidecars(
    make_database: MakeDatabase,
) -> None:
    """Sidecars of mode 0444 would lock the application out once the file may be written again."""
    path = make_database("data/app.sqlite3")
    path.chmod(0o444)
    before = contents(path.parent)

    measure(path)

    assert contents(path.parent) == before


def test_reading_does_not_checkpoint_somebody_elses_wal(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A WAL that was left by a crash is read, and stays for its application."""
    path = make_database("live/app.sqlite3", rows=1)
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    connection = apsw.Connection(str(path))
    connection.execute("INSERT INTO t (body) VALUES (1)").fetchall()
    for file in path.parent.iterdir():
        (crashed / file.name).write_bytes(file.read_bytes())
    connection.close()
    before = contents(crashed)

    with open_database(crashed / "app.sqlite3") as reader:
        assert reader.execute("SELECT count(*) FROM t").get == 2

    after = contents(crashed)
    assert {name: after[name] for name in ("app.sqlite3", "app.sqlite3-wal")} == {
        name: before[name] for name in ("app.sqlite3", "app.sqlite3-wal")
    }


@pytest.fixture(params=["content", "0 bytes"])
def copied(request: pytest.FixtureRequest, make_database: MakeDatabase, tmp_path: Path) -> Path:
    """A database with a WAL and no index of it: as Turso leaves it, or copied."""
    path = make_database("live/app.sqlite3", rows=1)
    copy = tmp_path / "copied" / "app.sqlite3"
    copy.parent.mkdir()
    connection = apsw.Connection(str(path))
    connection.execute("INSERT INTO t (body) VALUES (1)").fetchall()
    wal = copy.with_name("app.sqlite3-wal")
    if request.param == "content":
        wal.write_bytes(path.with_name("app.sqlite3-wal").read_bytes())
    else:
        wal.touch()
    copy.write_bytes(path.read_bytes())
    connection.close()
    return copy


def _read_damaged(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.write(b"SQLite format 3\0".ljust(200, b"\2"))
    with pytest.raises(KeeperError):
        measure(path)


def _read_interrupted(path: Path) -> None:
    def read() -> None:
        with open_database(path) as connection:
            connection.execute("SELECT count(*) FROM t").fetchall()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read()


def _read_beside_another_reader(path: Path) -> None:
    with open_database(path) as connection:
        connection.execute("SELECT count(*) FROM t").fetchall()
        measure(path)


@pytest.mark.parametrize(
    "read", [measure, _read_interrupted, _read_beside_another_reader, _read_damaged]
)
def test_reading_leaves_no_index_of_a_wal(copied: Path, read: Callable[[Path], object]) -> None:
    """A read-only connection makes a -shm and cannot remove it; the WAL stays as it is."""
    wal = copied.with_name("app.sqlite3-wal")
    before = wal.read_bytes()

    read(copied)

    assert sorted(contents(copied.parent)) == ["app.sqlite3", "app.sqlite3-wal"]
    assert wal.read_bytes() == before


def test_index_that_an_application_uses_by_now_stays(copied: Path, beside: Beside) -> None:
    """Somebody may open a database while it is read."""
    with open_database(copied) as connection:
        connection.execute("SELECT count(*) FROM t").fetchall()
        application = beside("read", copied)
        index = copied.with_name("app.sqlite3-shm").stat().st_ino

    assert copied.with_name("app.sqlite3-shm").stat().st_ino == index
    application.end()


def test_failed_writer_leaves_no_sidecars(make_database: MakeDatabase) -> None:
    """It neither brings the WAL into a file that it cannot read, nor leaves an index."""
    path = make_database("data/app.sqlite3")
    with path.open("r+b") as stream:
        stream.seek(100)
        stream.write(b"\2" * 200)
    before = contents(path.parent)

    with pytest.raises(KeeperError), open_database(path, write=True):
        pass

    assert contents(path.parent) == before


def test_name_that_looks_like_a_uri_is_a_file(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`file:x?mode=memory` opens the file of that name."""
    path = make_database("file:x?mode=memory", rows=3)
    monkeypatch.chdir(path.parent)

    with open_database(Path(path.name)) as connection:
        assert connection.execute("SELECT count(*) FROM t").get == 3


def test_absent_file_is_not_created(tmp_path: Path) -> None:
    """Opening for writing makes no new database."""
    path = tmp_path / "absent.sqlite3"

    with pytest.raises(KeeperError, match="no such file"), open_database(path, write=True):
        pass

    assert not path.exists()


def test_name_that_sqlite_cannot_take_is_said(make_database: MakeDatabase) -> None:
    """File names that are no UTF-8 exist on Linux; SQLite does not open them."""
    path = make_database(rows=1)
    odd = Path(os.fsdecode(os.fsencode(path.parent) + b"/\xff.sqlite3"))
    path.rename(odd)

    with pytest.raises(KeeperError, match="valid UTF-8"):
        measure(odd)


def test_triggers_of_the_schema_do_not_run(make_database: MakeDatabase) -> None:
    """Nothing in somebody's schema runs through keeper's connection."""
    path = make_database(rows=1)
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE seen (x)").fetchall()
    connection.execute(
        "CREATE TRIGGER spy AFTER INSERT ON t BEGIN INSERT INTO seen VALUES (1); END"
    ).fetchall()
    connection.close()

    with open_database(path, write=True) as ours:
        ours.execute("INSERT INTO t (body) VALUES (1)").fetchall()

    assert count_rows(path, "seen") == 0


@pytest.mark.parametrize("successor", [True, False])
def test_failure_after_the_file_was_replaced_is_put_down_to_that(
    make_database: MakeDatabase, successor: bool
) -> None:
    """SQLite calls it a database that was moved, a bad disk or a read-only one."""
    path = make_database("app.sqlite3", journal_mode="delete")

    def write_too_late() -> None:
        with open_database(path, write=True) as connection:
            path.unlink()
            if successor:
                make_database("app.sqlite3", journal_mode="delete")
            connection.execute("DELETE FROM t").fetchall()

    with pytest.raises(BusyError, match="was replaced while keeper had it open"):
        write_too_late()


def test_stat_of_a_file_that_is_gone_is_put_down_to_its_replacement(
    make_database: MakeDatabase,
) -> None:
    """As while its sidecars are looked at."""
    path = make_database("app.sqlite3")

    def look_too_late() -> None:
        with open_database(path):
            path.unlink()
            path.stat()

    with pytest.raises(BusyError, match=r"was replaced .* \(No such file or directory\)"):
        look_too_late()


def test_waiting_for_a_lock_ends(make_database: MakeDatabase) -> None:
    """A lock that is not given back makes the statement fail, not hang."""
    path = make_database(rows=1)
    holder, waiter = apsw.Connection(str(path)), apsw.Connection(str(path))
    holder.execute("BEGIN IMMEDIATE").fetchall()
    wait_for_locks(waiter, 0.05)

    with pytest.raises(apsw.BusyError):
        waiter.execute("BEGIN IMMEDIATE").fetchall()

    holder.close()
    waiter.close()


def test_other_user_is_refused(make_database: MakeDatabase, other_user: OtherUser) -> None:
    """Sidecars under a wrong owner would lock the application out: say whom to run as."""
    path = other_user.folder / "app.sqlite3"
    make_database(rows=5).rename(path)
    path.chmod(0o666)
    before = contents(other_user.folder)

    run = other_user.keeper("vacuum", path, "--json")

    assert (run.status, run.entry["outcome"]) == (1, "failed")
    assert "sudo -u root keeper" in run.entry["reason"]
    assert {k: v for k, v in contents(other_user.folder).items() if "state" not in k} == before


def test_owner_is_let_in(make_database: MakeDatabase, other_user: OtherUser) -> None:
    """The database's owner needs no root."""
    path = other_user.folder / "app.sqlite3"
    make_database(rows=400, deleted=100).rename(path)
    os.chown(path, other_user.uid, other_user.gid)

    run = other_user.keeper("vacuum", path, "--pages", 5, "--json")

    assert (run.status, run.entry["freed_pages"]) == (0, 5)


def test_sidecars_that_root_makes_belong_to_the_owner(
    make_database: MakeDatabase, other_user: OtherUser
) -> None:
    """Root's work beside the application makes no file that the application cannot open."""
    path = other_user.folder / "app.sqlite3"
    make_database(rows=5).rename(path)
    os.chown(path, other_user.uid, other_user.gid)

    with open_database(path, write=True) as connection:
        connection.execute("INSERT INTO t (body) VALUES (1)").fetchall()
        owners = {file.name: file.stat().st_uid for file in other_user.folder.iterdir()}

    names = ("app.sqlite3", "app.sqlite3-shm", "app.sqlite3-wal")
    assert owners == dict.fromkeys(names, other_user.uid)
