"""RESTORE.txt: its commands, run as they stand there by a shell with the real programs."""

import json
import re
import shutil
import textwrap
from pathlib import Path

import pytest

from sqlitekeeper.store.frames import compress
from sqlitekeeper.store.without_keeper import restore_text
from tests.recipes.shell_blocks import run_shell
from tests.store.snapshots import fill, make_snapshot, run, stored_delta

NAME = "production/production-20261124T030000Z"
BASE = "production/production-20261123T030000Z.sqlite3.zst"

pytestmark = pytest.mark.skipif(
    not (shutil.which("zstd") and shutil.which("jq")), reason="zstd and jq are not installed"
)


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """A destination, b2:my-bucket/web1 to rclone."""
    folder = tmp_path / "remote/my-bucket/web1/production"
    folder.mkdir(parents=True)
    return folder.parent


@pytest.fixture
def snapshots(tmp_path: Path) -> tuple[Path, Path]:
    """A database before and after a day; some pieces lie nowhere in the base."""
    live = tmp_path / "live.sqlite3"
    fill(live, 12_000)
    before = make_snapshot(live, tmp_path / "before.sqlite3")
    fill(live, 6_000, seed=1)
    run(live, "DELETE FROM posts WHERE id % 50 = 7; ALTER TABLE events RENAME TO happenings")
    return before, make_snapshot(live, tmp_path / "after.sqlite3")


def restored(tmp_path: Path) -> bytes:
    """The database that the commands of RESTORE.txt bring back."""
    (block,) = re.findall(r"^(    set -eu\n(?:    .*\n|\n)+)", restore_text(), re.MULTILINE)
    work = tmp_path / "work"
    work.mkdir()
    environment = {"RCLONE_CONFIG_B2_REMOTE": str(tmp_path / "remote")}
    done = run_shell(textwrap.dedent(block), work, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "restored.sqlite3: OK\n"
    return (work / "restored.sqlite3").read_bytes()


def write_manifest(remote: Path, **snapshot: object) -> None:
    (remote / f"{NAME}.json").write_text(json.dumps({"format": 2, "snapshot": snapshot}, indent=2))


def test_restores_a_delta(remote: Path, snapshots: tuple[Path, Path], tmp_path: Path) -> None:
    """Through its base, piece by piece."""
    before, after = snapshots
    base, delta, made = stored_delta(before, after, tmp_path)
    base.rename(remote / BASE)
    delta.rename(remote / f"{NAME}.delta.zst")
    write_manifest(
        remote,
        object=f"{NAME}.delta.zst",
        sha256=made.sha256,
        encoding="delta",
        base=BASE,
        pieces=[piece.to_json() for piece in made.pieces],
    )
    assert len(made.pieces) > 3
    assert restored(tmp_path) == after.read_bytes()


def test_restores_a_compressed_snapshot(
    remote: Path, snapshots: tuple[Path, Path], tmp_path: Path
) -> None:
    """By zstd alone."""
    made = compress(snapshots[1], remote / f"{NAME}.sqlite3.zst")
    write_manifest(remote, object=f"{NAME}.sqlite3.zst", sha256=made.sha256, encoding="zstd")
    assert restored(tmp_path) == snapshots[1].read_bytes()


def test_restores_a_plain_snapshot(
    remote: Path, snapshots: tuple[Path, Path], tmp_path: Path
) -> None:
    """Its manifest says nothing of an encoding."""
    made = compress(snapshots[1], tmp_path / "unused")
    shutil.copy(snapshots[1], remote / f"{NAME}.sqlite3")
    write_manifest(remote, object=f"{NAME}.sqlite3", sha256=made.sha256)
    assert restored(tmp_path) == snapshots[1].read_bytes()
