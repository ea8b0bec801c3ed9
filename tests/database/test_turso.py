"""Turso's MVCC mode, which keeps commits in a log beside the database."""

import subprocess
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from sqlitekeeper.database.maintain.create import create_database
from sqlitekeeper.database.replace import replace as placing
from sqlitekeeper.database.replace import undo as undoing
from sqlitekeeper.errors import KeeperError
from tests.conftest import Keeper, MakeDatabase, count_rows
from tests.database.replace.test_replace import crash_with_wal

turso = pytest.importorskip("turso", reason="pyturso is not installed")

HOLD_OPEN = """
import sys, turso
connection = turso.connect(sys.argv[1])
connection.execute("INSERT INTO t (body) VALUES ('x')")
connection.commit()
print("ready", flush=True)
sys.stdin.read()
"""
NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)


@pytest.fixture
def make_plain(make_database: MakeDatabase) -> MakeDatabase:
    """Make databases without auto-vacuum: Turso opens the others read-only."""
    return partial(make_database, auto_vacuum="none")


def rows(path: Path) -> int:
    """The rows of the table, as Turso has them."""
    connection = turso.connect(str(path))
    (found,) = connection.execute("SELECT count(*) FROM t").fetchone()
    connection.close()
    return int(found)


def to_mvcc(path: Path) -> None:
    """Turn a database to MVCC mode, and commit three rows that are in its log only."""
    connection = turso.connect(str(path))
    assert connection.execute("PRAGMA journal_mode = 'mvcc'").fetchall() == [("mvcc",)]
    for _ in range(3):
        connection.execute("INSERT INTO t (body) VALUES ('logged')")
        connection.commit()
    connection.close()
    assert log_of(path).stat().st_size > 0
    assert rows(path) == 8


def log_of(path: Path) -> Path:
    """Where Turso keeps the commits."""
    return path.with_suffix(".db-log")


def test_restored_database_opens_in_turso_and_undo_brings_the_log_back(
    keeper: Keeper, make_plain: MakeDatabase
) -> None:
    """A log that is left beside a restored file keeps Turso from opening it."""
    path = make_plain(rows=5)
    assert keeper("backup", path, "--to", "dest").status == 0
    to_mvcc(path)
    logged = log_of(path).read_bytes()

    done = keeper("restore", path, "--from", "dest", "--replace")

    assert done.status == 0, done.err
    assert not log_of(path).exists()
    assert [kept.read_bytes() for kept in path.parent.glob("*.before-*-log")] == [logged]
    assert rows(path) == 5
    assert keeper("restore", path, "--undo").status == 0
    assert log_of(path).read_bytes() == logged
    assert rows(path) == 8
    assert list(path.parent.glob("*.before-*-log")) == []


@pytest.mark.parametrize("commits", [0, 3])
def test_log_that_an_earlier_restore_left_is_set_aside(
    make_plain: MakeDatabase, tmp_path: Path, commits: int
) -> None:
    """Beside a database that SQLite settles, which knows nothing of it."""
    mvcc, path = make_plain("mvcc.sqlite3", rows=5), make_plain(rows=6)
    to_mvcc(mvcc)
    log_of(mvcc).rename(log_of(path))
    logged = log_of(path).read_bytes()
    if commits:
        crash_with_wal(path, commits)
    (work_folder := tmp_path / "workshop").mkdir()

    placing.place(make_plain("new", rows=9), path, NOW, work_folder, replace=True)

    assert (rows(path), log_of(path).exists()) == (9, False)
    undoing.undo(path, NOW, work_folder)
    assert count_rows(path) == 6 + commits
    assert log_of(path).read_bytes() == logged


def test_log_without_a_database_is_moved_away(keeper: Keeper, make_plain: MakeDatabase) -> None:
    """As a WAL without one is."""
    path = make_plain(rows=5)
    assert keeper("backup", path, "--to", "dest").status == 0
    to_mvcc(path)
    path.unlink()

    done = keeper("restore", path.stem, "--to", path, "--from", "dest")

    assert done.status == 0, done.err
    assert "what lay there without a database is kept" in done.out
    assert rows(path) == 5


def test_database_whose_name_ends_with_log_is_nobodys_sidecar(
    make_plain: MakeDatabase, tmp_path: Path
) -> None:
    """Not even that of the database whose name is its beginning."""
    path, log = make_plain("audit", rows=5), make_plain("audit-log", rows=7)
    (work_folder := tmp_path / "workshop").mkdir()

    placing.place(make_plain("new", rows=9), path, NOW, work_folder, replace=True)

    assert (count_rows(path), count_rows(log)) == (9, 7)


def test_log_of_another_database_is_left_alone(make_plain: MakeDatabase, tmp_path: Path) -> None:
    """Turso knows app.db and app.sqlite3 by the same log, and one of them is in MVCC mode."""
    other, path = make_plain("app.db", rows=5), make_plain("app.sqlite3", rows=6)
    to_mvcc(other)
    (work_folder := tmp_path / "workshop").mkdir()

    placing.place(make_plain("new", rows=9), path, NOW, work_folder, replace=True)

    assert rows(other) == 8
    assert count_rows(path) == 9


def test_init_refuses_beside_a_log(make_plain: MakeDatabase) -> None:
    """Turso would refuse both."""
    path = make_plain(rows=5)
    to_mvcc(path)
    path.unlink()

    with pytest.raises(KeeperError, match=r"app\.db-log lies beside it"):
        create_database(path)

    assert not path.exists()


def test_files_leaves_the_log_of_a_database_out(
    keeper: Keeper, make_plain: MakeDatabase, tmp_path: Path
) -> None:
    """And no other file whose name ends with -log."""
    to_mvcc(make_plain("uploads/app.sqlite3", rows=5))
    (tmp_path / "uploads/build-log").write_text("a text")
    (tmp_path / "keeper.toml").write_text(
        '[[files]]\nname = "uploads"\npath = "uploads"\nto = "shelf"\n'
    )

    assert keeper("files").status == 0

    assert {path.name for path in (tmp_path / "shelf").rglob("*")} == {"build-log"}


def test_who_has_it_open_in_turso_is_named(keeper: Keeper, make_plain: MakeDatabase) -> None:
    """Its lock lasts as long as the connection; the database is sound."""
    path = make_plain(rows=5)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_OPEN, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as application:
        assert application.stdout is not None
        assert application.stdout.readline() == "ready\n"
        run = keeper("report", path, "--json")
        doctor = keeper("doctor", path, "--json")
        application.communicate()

    assert f"locked by pid {application.pid} (python), which writes nothing" in run.entry["reason"]
    (found,) = (one for one in doctor.json["findings"] if one["check"] == "open")
    assert found["level"] == "fail"
    assert "damaged" not in found["message"] + run.err
