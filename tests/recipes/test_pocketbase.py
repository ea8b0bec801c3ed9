"""recipes/pocketbase: its commands, on databases that are used as PocketBase uses them."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from tests.conftest import Beside, contents, count_rows, pragma
from tests.recipes.shell_blocks import recipe, run_shell, shell_blocks

POCKETBASE = recipe("pocketbase")
INIT, FILES, CHECK, RESTORE = shell_blocks("pocketbase")

# https://github.com/pocketbase/pocketbase/blob/master/core/db_connect.go, in its order.
PRAGMAS = {
    "busy_timeout": "10000",
    "journal_mode": "WAL",
    "journal_size_limit": "200000000",
    "synchronous": "NORMAL",
    "foreign_keys": "ON",
    "temp_store": "MEMORY",
    "cache_size": "-32000",
}

Run = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a block of the README where /srv/pocketbase is a folder of the test."""
    home = tmp_path / "pocketbase"
    (home / "pb_data/storage/posts/r1").mkdir(parents=True)
    (home / "pb_data/storage/posts/r1/picture.png").write_bytes(b"one")
    config = (POCKETBASE / "keeper.toml").read_text()
    (home / "keeper.toml").write_text(config.replace("/srv/pocketbase", str(home)))

    def run_block(block: str) -> "subprocess.CompletedProcess[str]":
        return run_shell(block, tmp_path, paths={"/srv/pocketbase": home})

    return run_block


def work(path: Path, table: str, *, rows: int, deleted: int) -> None:
    """Use a file as PocketBase would, from its first start on."""
    connection = apsw.Connection(str(path))
    for name, value in PRAGMAS.items():
        connection.execute(f"PRAGMA {name} = {value}").fetchall()
    with connection:
        connection.execute(f"CREATE TABLE {table} (id TEXT PRIMARY KEY NOT NULL, data TEXT)")
        connection.executemany(
            f"INSERT INTO {table} VALUES (?, hex(randomblob(450)))",
            [(f"r{n:014}",) for n in range(rows)],
        )
        connection.execute(f"DELETE FROM {table} WHERE id < ?", (f"r{deleted:014}",))
    connection.close()


def test_readme_takes_new_databases_to_a_backup_and_back(tmp_path: Path, run: Run) -> None:
    """Data is backed up, logs are only vacuumed."""
    assert run(INIT).returncode == 0
    data = tmp_path / "pocketbase/pb_data/data.db"
    logs = data.with_name("auxiliary.db")
    work(data, "posts", rows=6000, deleted=5000)
    work(logs, "_logs", rows=6000, deleted=5000)
    free = [pragma(path, "freelist_count") for path in (data, logs)]

    done = run(CHECK)

    assert done.returncode == 0, done.stderr
    assert [pragma(path, "freelist_count") for path in (data, logs)] == [n - 1000 for n in free]
    (snapshot,) = (tmp_path / "remote").rglob("*.sqlite3")
    assert snapshot.parent == tmp_path / "remote/my-bucket/web1/data"
    assert count_rows(snapshot, "posts") == 1000

    work(data, "lost", rows=1, deleted=0)
    done = run(RESTORE)
    assert done.returncode == 0, done.stderr
    assert count_rows(data, "posts") == 1000
    assert pragma(data, "journal_mode") == "wal"


def test_uploaded_files_go_to_a_place_of_their_own(tmp_path: Path, run: Run) -> None:
    """And none of them at all is a failure, not a reason to delete what is there."""
    assert run(FILES).returncode == 0
    there = tmp_path / "remote/my-bucket/web1-files"
    assert contents(there) == {"posts/r1/picture.png": b"one"}

    shutil.rmtree(tmp_path / "pocketbase/pb_data/storage")
    assert run(FILES).returncode == 1
    assert contents(there) == {"posts/r1/picture.png": b"one"}


def test_restore_waits_for_nobody_and_replaces_nothing_under_a_server(
    tmp_path: Path, run: Run, beside: Beside
) -> None:
    """PocketBase has to be stopped first."""
    assert run(INIT).returncode == 0
    data = tmp_path / "pocketbase/pb_data/data.db"
    work(data, "posts", rows=10, deleted=0)
    work(data.with_name("auxiliary.db"), "_logs", rows=10, deleted=0)
    assert run("cd /srv/pocketbase && keeper backup").returncode == 0
    beside("idle", data)

    done = run(RESTORE)

    assert done.returncode == 1
    assert "stop the application first" in done.stderr
