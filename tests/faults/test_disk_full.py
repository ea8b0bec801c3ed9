"""Full disks: which folder needs how much, nothing half-written left, and the source as it was."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.check import integrity_problems
from sqlitekeeper.database.files import sidecar, size_of
from tests.conftest import (
    S3,
    BackupConfig,
    Beside,
    Keeper,
    MakeDatabase,
    Mount,
    StartKeeper,
    contents,
    count_rows,
    has_open,
    pragma,
)
from tests.faults.surroundings import assert_clean_failure, manifests_that_lie, snapshots_of

SIZE = r"[\d.]+ (?:Bytes|KiB|MiB)"
FILLER = "somebody-elses-file"


def fill(folder: Path) -> None:
    """Take all the room that a file system has left."""
    with (folder / FILLER).open("ab", buffering=0) as file:
        # What is freed meanwhile, or was too little for the last piece, is taken too.
        for piece in (2**20, 4096, 1):
            try:
                while file.write(b"\0" * piece):
                    pass
            except OSError:
                continue


@contextmanager
def filled_once(folder: Path, condition: Callable[[], bool]) -> Iterator[None]:
    """Somebody else fills a file system as soon as a condition holds."""
    over = threading.Event()

    def wait_and_fill() -> None:
        while not over.is_set():
            if condition():
                fill(folder)
                return

    thread = threading.Thread(target=wait_and_fill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def make_room(folder: Path) -> None:
    (folder / FILLER).unlink()


def assert_sound(path: Path, rows: int) -> None:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        assert integrity_problems(connection, "integrity") == []
    finally:
        connection.close()
    assert count_rows(path) == rows


# Staging


def test_staging_that_is_too_small_is_told_before(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig, mount: Mount
) -> None:
    """Which folder, what the snapshot needs and what there is; then it fits, and it is shipped."""
    staging = mount("small", "3m")
    path = make_database(rows=1500)
    to = staging.parent / "to"
    backup_config(path, to=to, staging=staging)
    fill(staging)

    failed = keeper("backup", "-q")

    make_room(staging)
    line = assert_clean_failure(failed, to, staging)
    assert re.search(rf"its snapshot needs {SIZE} in {staging}/\S+, which has 0 Bytes", line)
    assert keeper("backup", "-q").status == 0
    assert manifests_that_lie(to) == []


def test_staging_that_fills_up_in_the_middle(
    start_keeper: StartKeeper,
    keeper: Keeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    mount: Mount,
) -> None:
    """Somebody else takes the room while VACUUM INTO writes."""
    staging = mount("small", "40m")
    path = make_database(rows=30_000)
    to = staging.parent / "to"
    backup_config(path, to=to, staging=staging)

    def has_begun() -> bool:
        return any(file.stat().st_size for file in staging.glob("keeper-*/**/*.sqlite3"))

    with filled_once(staging, has_begun):
        failed = start_keeper("backup", "-q").end()

    make_room(staging)
    line = assert_clean_failure(failed, to, staging)
    assert re.search(rf"its snapshot needs {SIZE} in {staging}/\S+, which has {SIZE} ", line)
    assert_sound(path, 30_000)
    assert keeper("backup", "-q").status == 0


# The state folder


def test_state_folder_that_is_full_stops_nothing(
    keeper: Keeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    mount: Mount,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The snapshot is shipped, and what could not be remembered is told."""
    state = mount("memory", "1m")
    monkeypatch.setenv("KEEPER_STATE", str(state))
    backup_config(make_database(), to=tmp_path / "to")
    fill(state)

    run = keeper("backup", "-q")

    assert run.status == 0
    assert str(state) in run.err
    assert "the disk is full" in run.err
    assert len(snapshots_of(tmp_path / "to")) == 1
    make_room(state)
    assert (healthy := keeper("backup", "--json")).status == 0
    assert manifests_that_lie(tmp_path / "to") == []
    assert "warning" not in healthy.err


# The destination


def test_destination_that_is_full(
    keeper: Keeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    staging: Path,
    mount: Mount,
    any_rclone: Path,
) -> None:
    """Nothing of the snapshot is left there, and the snapshot before it stays."""
    to = mount("to", "2m")
    path = make_database()
    backup_config(path, to=to)
    assert keeper("backup", "-q").status == 0
    before = contents(to)
    (to / "room").write_bytes(b"\0" * 100_000)
    fill(to)
    (to / "room").unlink()
    change(path)

    failed = keeper("backup", "-q")

    make_room(to)
    line = assert_clean_failure(failed, to, staging)
    assert str(to) in line
    assert "the destination's disk is full" in line
    assert contents(to) == before
    assert keeper("backup", "-q").status == 0
    assert len(snapshots_of(to)) == 2


def test_destination_without_room_for_the_manifest(
    keeper: Keeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    staging: Path,
    mount: Mount,
    tmp_path: Path,
) -> None:
    """The snapshot came whole, but counts for nothing until its manifest has."""
    to = mount("to", "2m")
    backup_config(make_database(rows=100), to=to)
    need = keeper("backup", "--to", tmp_path / "elsewhere", "--json").entry["bytes"]
    (to / "room").write_bytes(b"\0" * need)
    fill(to)
    (to / "room").unlink()

    failed = keeper("backup", "-q")

    make_room(to)
    line = assert_clean_failure(failed, to, staging)
    assert ".json" in line
    assert snapshots_of(to) == []
    assert keeper("backup", "-q").status == 0
    assert len(snapshots_of(to)) == 1


def change(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("INSERT INTO t (body) VALUES (randomblob(900))").fetchall()
    connection.close()


# Restoring


@pytest.fixture
def backed_up(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig, tmp_path: Path
) -> Path:
    """A database of 7 MB with one snapshot in `to`."""
    path = make_database(rows=7000)
    backup_config(path, to=tmp_path / "to")
    assert keeper("backup", "-q").status == 0
    return path


def test_restore_without_room_changes_nothing(
    keeper: Keeper, backed_up: Path, make_database: MakeDatabase, mount: Mount
) -> None:
    """Said before anything is downloaded; the database that is there stays."""
    mount("target", "4m")
    old = make_database("target/app.sqlite3", rows=50)
    before = contents(old.parent)

    run = keeper("restore", "app", "--to", old, "--replace", "-q")

    assert run.status == 1
    assert re.search(rf"the snapshot needs {SIZE} in {old.parent}, which has {SIZE}", run.err)
    assert contents(old.parent) == before


def test_restore_that_runs_out_of_room_changes_nothing(
    keeper: Keeper,
    start_keeper: StartKeeper,
    backed_up: Path,
    make_database: MakeDatabase,
    mount: Mount,
) -> None:
    """Somebody else takes the room while the snapshot is downloaded."""
    folder = mount("target", "16m")
    old = make_database("target/app.sqlite3", rows=50)
    before = contents(folder)

    with filled_once(folder, lambda: any(folder.glob("keeper-*"))):
        run = start_keeper("restore", "app", "--to", old, "--replace", "-q").end()

    make_room(folder)
    assert run.status == 1
    needs = rf"the snapshot needs {SIZE} in {folder}, which has {SIZE}"
    assert re.search(rf"{needs}|the disk is full", run.err)
    assert contents(folder) == before
    assert keeper("restore", "app", "--to", old, "--replace", "-q").status == 0
    assert_sound(old, 7000)


# Converting


@pytest.fixture
def temporary(mount: Mount, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file system of its own for SQLite's temporary files."""
    folder = mount("temporary", "48m")
    monkeypatch.setenv("SQLITE_TMPDIR", str(folder))
    return folder


def test_conversion_without_temporary_room_is_refused(
    keeper: Keeper, make_database: MakeDatabase, mount: Mount, temporary: Path
) -> None:
    """Which folder, how much, and the variable that chooses another one."""
    mount("data", "6m")
    path = make_database("data/app.sqlite3", rows=2000, auto_vacuum="none")
    before = contents(path.parent)
    fill(temporary)

    run = keeper("convert", path, "--yes", "-q")

    assert run.status == 1
    assert re.search(rf"converting it needs about {SIZE} in {temporary}, which has 0 B", run.err)
    assert "SQLITE_TMPDIR" in run.err
    assert contents(path.parent) == before


@pytest.mark.parametrize("which", ["temporary", "home"])
def test_conversion_that_runs_out_of_room_is_rolled_back(
    start_keeper: StartKeeper,
    keeper: Keeper,
    make_database: MakeDatabase,
    mount: Mount,
    temporary: Path,
    which: str,
) -> None:
    """Somebody else takes the room of either folder in the middle, or too late."""
    home = mount("data", "96m")
    path = make_database("data/app.sqlite3", rows=30_000, auto_vacuum="none")
    before = path.read_bytes()
    folder = temporary if which == "temporary" else home
    running = start_keeper("convert", path, "--yes")

    with filled_once(folder, lambda: has_open(running.process.pid, str(temporary))):
        run = running.end()

    make_room(folder)
    # Before anything reads it: that may leave sidecars.
    left = sorted(contents(home))
    assert left == ["app.sqlite3"] or "holds it" in run.err + run.out, run
    if run.status:
        assert run.status == 1
        assert re.search(rf"converting it needs about {SIZE} in {folder}, which has", run.err)
        assert path.read_bytes() == before
    else:
        assert pragma(path, "auto_vacuum") == 2
    assert contents(temporary) == {}
    assert_sound(path, 30_000)
    assert keeper("convert", path, "--yes", "-q").status == 0
    assert pragma(path, "auto_vacuum") == 2


def test_conversion_that_fills_the_disk_gives_the_room_back(
    start_keeper: StartKeeper,
    make_database: MakeDatabase,
    beside: Beside,
    mount: Mount,
    temporary: Path,
) -> None:
    """The WAL stays where an application has the database open, but does not stay large."""
    home = mount("data", "96m")
    path = make_database("data/app.sqlite3", rows=30_000, auto_vacuum="none")
    beside("idle", path)
    wal = sidecar(path, "-wal")
    running = start_keeper("convert", path, "--yes")

    with filled_once(home, lambda: size_of(wal) > 2**20):
        run = running.end()

    assert size_of(wal) == 0, run
    assert run.status == 1 or pragma(path, "auto_vacuum") == 2


def test_state_folder_without_room_for_a_base(
    keeper: Keeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    mount: Mount,
    s3: S3,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is a warning, and each snapshot is a whole one until there is room."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    state = mount("small-state", "1m")
    monkeypatch.setenv("KEEPER_STATE", str(state))
    path = make_database(rows=10)
    write(path, "UPDATE t SET body = randomblob(150000)")
    backup_config(path, to=s3.to, store="delta")
    for _ in range(2):
        write(path, "INSERT INTO t (body) VALUES ('x')")
        run = keeper("backup", "--json")
        assert run.status == 0, run.err
        assert "the next snapshot is shipped whole: " in run.err
        assert f"the base of deltas needs 2.4 MiB in {state}/bases" in run.err
        assert run.entry["shipped"][0]["encoding"] == "zstd"
        assert list(state.glob("bases/*/*")) == []


def test_staging_without_room_for_what_is_to_be_stored(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig, mount: Mount
) -> None:
    """Beside the snapshot; nothing of either is left, there or at the destination."""
    staging = mount("small-staging", "2800k")
    path = make_database(rows=10)
    write(path, "UPDATE t SET body = randomblob(150000)")
    backup_config(path, to="dest", staging=staging, store="zstd")
    run = keeper("backup", "--json")
    assert run.status == 1
    assert f"{staging}: has no room for what is to be stored" in run.entry["reason"]
    assert list(staging.iterdir()) == []
    assert list((path.parent / "dest").rglob("*.zst*")) == []


def write(path: Path, sql: str) -> None:
    """Write to a database, as its application does."""
    connection = apsw.Connection(str(path))
    connection.execute(sql).fetchall()
    connection.close()
