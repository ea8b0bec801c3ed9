"""Nothing in keeper opens a live database except through SQLite.

POSIX locks belong to the process: one open() and close() of the file, of its
-wal or of its -shm drops those that SQLite holds
(https://sqlite.org/howtocorrupt.html, section 2.2).
"""

import json
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY, MakeDatabase

PRELUDE = """
import json, sys
from pathlib import Path
from sqlitekeeper.database import files, measure, processes
from sqlitekeeper.database.maintain import convert, create, vacuum
from sqlitekeeper.database.snapshot import snapshot
from sqlitekeeper.state import history, locks

path, target = Path(sys.argv[1]), Path(sys.argv[2])
opened = []

def record(event, details):
    if event == "open" and isinstance(details[0], (str, bytes, Path)):
        name = details[0].decode() if isinstance(details[0], bytes) else str(details[0])
        if name.startswith(str(path)):
            opened.append(name)

sys.addaudithook(record)
"""

LOG_BESIDE = "path.with_suffix('.db-log').write_bytes(bytes(40)); opened.clear()"


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        ("measure.measure(path)", False),
        ("vacuum.vacuum(path)", False),
        ("vacuum.vacuum(path, vacuum.VacuumOptions(pages=0, optimize=True))", False),
        ("vacuum.vacuum(path, vacuum.VacuumOptions(dry_run=True))", False),
        ("convert.convert(convert.plan_conversion(path, 'none'))", False),
        ("snapshot.take_snapshot(path, target)", False),
        ("processes.wal_readers(path)", False),
        ("with locks.database_lock(target, path): pass", False),
        (f"{LOG_BESIDE}; files.sidecars_of(path.with_suffix('.other'))", False),
        ("path.read_bytes()", True),
    ],
)
def test_no_file_of_the_database_is_opened(
    make_database: MakeDatabase, work: str, expected: bool
) -> None:
    """Python's own audit of open() stays empty; the last line shows that it would not."""
    path = make_database(rows=200, deleted=100)

    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{PRELUDE}\n{work}\nprint(json.dumps(opened))",
            str(path),
            str(path.with_name("target")),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )

    assert bool(json.loads(done.stdout)) is expected
