"""The walk-through of recipes/disaster, on a machine that has nothing but rclone's remote."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sqlitekeeper.destination.layout import manifest_object
from sqlitekeeper.store.without_keeper import COMMANDS
from tests.backup.shipped import change
from tests.conftest import REPOSITORY, S3, Keeper, MakeDatabase, count_rows, pragma
from tests.recipes.shell_blocks import run_shell

README = (REPOSITORY / "recipes/disaster/README.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)

Shell = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def backups(tmp_path: Path, make_database: MakeDatabase, keeper: Keeper) -> Path:
    """What an application with two databases shipped, and a third that was dropped years ago."""
    config = tmp_path / "keeper.toml"
    paths = [
        make_database("app/production.sqlite3", rows=30),
        make_database("app/production_errors.sqlite3", rows=20, journal_mode="delete"),
        make_database("app/old_blog.sqlite3", rows=10),
    ]
    tables = "".join(f'[[databases]]\npath = "{path}"\n' for path in paths)
    config.write_text(f'{tables}[backup]\nto = "web1"\n')
    assert keeper("backup").status == 0
    old = tmp_path / "web1/old_blog"
    for file in list(old.iterdir()):
        if file.suffix == ".json":
            text = file.read_text()
            file.write_text(re.sub(r"\b20\d\d(-?\d\d-?\d\dT)", r"2020\1", text))
        file.rename(old / re.sub(r"-20\d\d(\d{4}T)", r"-2020\1", file.name))
    return tmp_path / "web1"


@pytest.fixture
def empty_machine(backups: Path, s3: S3, tmp_path: Path) -> Shell:
    """A shell with the variables that the page defines, and nothing of the lost server."""
    backups.rename(s3.folder / "web1")
    here = tmp_path / "empty"
    here.mkdir()
    remote = {
        name: value for name, value in os.environ.items() if name.startswith("RCLONE_CONFIG_")
    }
    environment = remote | {
        "FROM": f"{s3.to}/web1",
        "HOME": str(here),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "KEEPER_STATE": str(here / "state"),
    }

    def run(script: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["sh", "-euc", script], cwd=here, env=environment, capture_output=True, text=True
        )

    return run


def test_walk_through_brings_everything_back(empty_machine: Shell, tmp_path: Path) -> None:
    """Each block in its order."""
    snapshots, status, restore, where, by_hand, _ = BLOCKS
    here = tmp_path / "empty"

    listed = empty_machine(snapshots)
    assert listed.returncode == 0, listed.stderr
    for name in ("production", "production_errors", "old_blog"):
        assert f"{name}/{name}-20" in listed.stdout

    aged = empty_machine(status)
    assert aged.returncode == 12
    assert re.search(r"old_blog: stale", aged.stdout + aged.stderr)
    assert re.search(r"production: fresh", aged.stdout + aged.stderr)

    restored = empty_machine(restore)
    assert restored.returncode == 0, restored.stderr
    assert count_rows(here / "restored/production.sqlite3") == 30
    assert count_rows(here / "restored/production_errors.sqlite3") == 20
    assert count_rows(here / "restored/old_blog.sqlite3") == 10
    assert pragma(here / "restored/production.sqlite3", "journal_mode") == "wal"
    assert pragma(here / "restored/production_errors.sqlite3", "journal_mode") == "delete"

    assert str(tmp_path / "app/production.sqlite3") in empty_machine(where).stdout

    alone = empty_machine(by_hand)
    assert alone.returncode == 0, alone.stderr
    assert '"sha256"' in alone.stdout
    assert count_rows(here / "by-hand/production.sqlite3") == 30


def test_snapshot_that_was_damaged_is_not_restored_by_either_way(
    s3: S3, empty_machine: Shell, tmp_path: Path
) -> None:
    """The last byte of one is flipped."""
    (snapshot,) = (s3.folder / "web1/production").glob("*.sqlite3")
    content = bytearray(snapshot.read_bytes())
    content[-1] ^= 1
    snapshot.write_bytes(content)
    *_, restore, _, by_hand, _ = BLOCKS

    assert empty_machine(restore).returncode != 0
    assert not (tmp_path / "empty/restored/production.sqlite3").exists()
    assert empty_machine(by_hand).returncode != 0


def test_commands_are_those_of_restore_text() -> None:
    """Which lie at the destination."""
    assert BLOCKS[-1] == COMMANDS


@pytest.mark.skipif(
    not (shutil.which("zstd") and shutil.which("jq")), reason="zstd and jq are not installed"
)
@pytest.mark.parametrize("store", ["plain", "zstd", "delta"])
def test_what_keeper_has_stored_comes_back_without_it(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path, store: str
) -> None:
    """However it was stored; of a delta through its base."""
    path = make_database("app/production.sqlite3", rows=3000)
    (tmp_path / "keeper.toml").write_text(
        f'[[databases]]\npath = "{path}"\n[backup]\nto = "my-bucket/web1"\nstore = "{store}"\n'
    )
    for _ in range(2):
        change(path)
        (shipped,) = keeper("backup", "--json").entry["shipped"]
    assert shipped["encoding"] == store
    manifest = manifest_object(shipped["object"])
    script = re.sub(r"manifest=production.*", f"manifest={manifest}", BLOCKS[-1])
    work = tmp_path / "work"
    work.mkdir()
    environment = {"RCLONE_CONFIG_B2_TYPE": "alias", "RCLONE_CONFIG_B2_REMOTE": str(tmp_path)}
    done = run_shell(script, work, env=environment)
    assert (done.returncode, done.stdout) == (0, "restored.sqlite3: OK\n"), done.stderr
    assert count_rows(work / "restored.sqlite3") == 3002
