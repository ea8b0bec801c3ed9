"""Flushing to disk in parts, between which an application gets its turn."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sqlitekeeper.database.flushing import LEAST_PART_BYTES, sync
from tests.conftest import REPOSITORY, as_ordinary_user


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_large_file_is_flushed_part_by_part(tmp_path: Path) -> None:
    """All of it, and then what is left, such as its size."""
    file, size = tmp_path / "file", 5 * LEAST_PART_BYTES + 1
    file.write_bytes(b"x" * size)
    code = (
        "from sqlitekeeper.database.flushing import sync; from pathlib import Path;"
        f"sync(Path({str(file)!r}))"
    )

    done = subprocess.run(
        ["strace", "-y", "-e", "trace=fsync,msync", sys.executable, "-c", code],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")

    parts = [int(one) for one in re.findall(r"msync\(\w+, (\d+), MS_SYNC\) += 0", done.stderr)]
    assert len(parts) > 1
    assert sum(parts) == size
    assert f"fsync(3<{file}>) = 0" in re.sub(" += ", " = ", done.stderr.splitlines()[-2])
    assert file.read_bytes() == b"x" * size


def test_file_that_may_not_be_written_to_is_flushed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts are flushed through a mapping that could be written to; fsync needs none."""
    # Relative, so that an ordinary user need not reach pytest's own private folder.
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    file = Path("file")
    file.write_bytes(b"x" * 2 * LEAST_PART_BYTES)
    file.chmod(0o444)

    with as_ordinary_user():
        assert not os.access(file, os.W_OK, effective_ids=True)
        sync(file)


def test_folder_and_empty_file_are_flushed(tmp_path: Path) -> None:
    """Nothing to map in either."""
    (tmp_path / "empty").touch()

    sync(tmp_path / "empty")
    sync(tmp_path)


def test_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Nobody is told that something was flushed which is gone."""
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "gone")
