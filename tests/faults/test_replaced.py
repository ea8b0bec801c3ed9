"""An application that deletes its database and starts a new one while keeper opens the old one.

SQLite opens the WAL after the main file, and both by name: the old file with
the new WAL would be taken for damaged, or have it checkpointed into it.
"""

import os
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from tests.conftest import REPOSITORY, holds_open, wait_until
from tests.faults.killing import can_trace
from tests.faults.ledger import add, make_ledger, problems_of


@pytest.mark.skipif(not can_trace(), reason="strace is missing, or may not trace")
@pytest.mark.parametrize("command", ["vacuum", "backup"])
def test_new_wal_is_never_mixed_with_the_old_file(
    tmp_path: Path, staging: Path, command: str
) -> None:
    """The new one is worked on instead, and all that was committed meanwhile is there."""
    path = tmp_path / "app.sqlite3"
    make_ledger(path, bytes_of_ballast=200_000)
    tracing = f"strace -D -f -qq -o /dev/null -P {path}-wal -e trace=openat -e".split()
    tracing.append("inject=openat:delay_enter=3000000:when=1")
    to = ["--to", "dest"] if command == "backup" else []
    process = subprocess.Popen(
        [*tracing, sys.executable, "-m", "sqlitekeeper", command, path, *to],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: holds_open(process.pid, str(path)))
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    make_ledger(path, bytes_of_ballast=400_000)
    application = apsw.Connection(str(path))
    add(application, 1)

    _, said = process.communicate(timeout=60)

    assert process.returncode == 0, said
    for snapshot in tmp_path.glob("dest/app/*.sqlite3"):
        assert problems_of(snapshot, committed=1) == []
    assert command == "vacuum" or list(tmp_path.glob("dest/app/*.sqlite3"))
    add(application, 2)
    application.close()
    assert problems_of(path, committed=2) == []
