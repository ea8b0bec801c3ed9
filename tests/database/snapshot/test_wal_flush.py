"""Flushing to disk in parts, between which an application gets its turn."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from sqlitekeeper.database.snapshot.snapshot import LARGE_BYTES
from sqlitekeeper.filesystem.flush import LEAST_PART_BYTES, sync
from tests.conftest import (
    REPOSITORY,
    WAIT_SECONDS,
    Beside,
    MakeDatabase,
    Mount,
    as_ordinary_user,
    count_rows,
    needs_root,
)
from tests.faults.killing import can_trace

MEBIBYTE = 2**20
needs_strace = pytest.mark.skipif(not can_trace(), reason="strace is missing, or may not trace")

SYNC = """
import sys
from pathlib import Path
from sqlitekeeper.filesystem.flush import sync
sync(Path(sys.argv[1]))
"""


def traced(code: str, *arguments: object, trace: Path, options: str) -> str:
    """Run code under strace, and return what it said; `trace` then has its system calls."""
    command = ["strace", "-f", "-y", "-o", trace, *options.split(), sys.executable, "-c", code]
    done = subprocess.run(
        [*map(str, command), *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=3 * WAIT_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_strace
def test_large_file_is_flushed_part_by_part(tmp_path: Path) -> None:
    """All of it, and then what is left, such as its size."""
    file, trace = tmp_path / "file", tmp_path / "trace"
    file.write_bytes(b"x" * (5 * LEAST_PART_BYTES + 1))

    traced(SYNC, file, trace=trace, options="-e trace=fsync,sync_file_range")

    calls = [line for line in trace.read_text().splitlines() if str(file) in line]
    parts = [tuple(map(int, found)) for found in re.findall(r">, (\d+), (\d+), ", "".join(calls))]
    ends = [start + length for start, length in parts]
    assert len(parts) > 1
    assert [start for start, _ in parts] == [0, *ends[:-1]]
    assert ends[-1] >= file.stat().st_size
    assert "fsync(" in calls[-1]
    assert all(call.endswith(" = 0") for call in calls)


@pytest.fixture
def file_on_a_broken_disk(tmp_path: Path, mount: Mount) -> Iterator[Path]:
    """A file of 32 MiB; its disk takes all that is written, and cannot keep a MiB in the middle."""
    memory, folder = mount("memory", "150m"), tmp_path / "disk"
    image, filler = memory / "image", memory / "filler"
    with image.open("wb") as disk:
        disk.truncate(100 * MEBIBYTE)
    folder.mkdir()
    with ExitStack() as stack:

        def run(command: str) -> str:
            words = command.split()
            if not shutil.which(words[0]):
                pytest.skip(f"needs {words[0]}")
            done = subprocess.run(words, capture_output=True, text=True)
            return pytest.skip(done.stderr) if done.returncode else done.stdout

        run(f"mkfs.ext4 -q -F -b 4096 -E nodiscard -J size=4 {image}")
        run(f"mount -o loop,errors=continue,noinit_itable {image} {folder}")
        stack.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=True)
        file = folder / "file"
        file.write_bytes(b"a" * 32 * MEBIBYTE)
        run(f"sync {file}")
        # Physical blocks of 4 KiB: where the last 16 MiB begin, which are in one piece.
        pieces = re.findall(r": +(\d+)\.\. *(\d+): +(\d+)\.\.", run(f"filefrag -v -b4096 {file}"))
        (block,) = (
            int(physical) + 4096 - int(first)
            for first, last, physical in pieces
            if int(first) <= 4096 and int(last) >= 4096 + 256
        )
        # No room in memory for what the disk has lost.
        with image.open("r+b") as whole:
            os.posix_fallocate(whole.fileno(), 0, 100 * MEBIBYTE)
        run(f"fallocate --punch-hole --offset {block * 4096} --length {MEBIBYTE} {image}")
        with suppress(OSError), filler.open("wb", buffering=0) as rest:
            while True:
                rest.write(b"x" * 4096)
        yield file


@needs_root
def test_part_that_the_disk_does_not_take_is_an_error(file_on_a_broken_disk: Path) -> None:
    """The system tells of it once: who opens the file afterwards, and asks again, hears nothing."""
    with file_on_a_broken_disk.open("r+b") as file:
        file.write(b"b" * 32 * MEBIBYTE)

    with pytest.raises(OSError, match=r"No space|Input/output error"):
        sync(file_on_a_broken_disk)


@needs_strace
def test_part_that_fails_is_an_error_at_once(tmp_path: Path) -> None:
    """Older systems tell of it no second time."""
    file, trace = tmp_path / "file", tmp_path / "trace"
    file.write_bytes(b"x" * 2 * LEAST_PART_BYTES)
    failing = "-e trace=sync_file_range -e inject=sync_file_range:error=EIO"

    with pytest.raises(AssertionError, match="Input/output error"):
        traced(SYNC, file, trace=trace, options=failing)


@needs_strace
def test_system_without_parts_flushes_in_one_go(tmp_path: Path) -> None:
    """As where a filter of system calls does not let it do more."""
    file, trace = tmp_path / "file", tmp_path / "trace"
    file.write_bytes(b"x" * 2 * LEAST_PART_BYTES)
    without = "-e trace=fsync,sync_file_range -e inject=sync_file_range:error=ENOSYS"

    traced(SYNC, file, trace=trace, options=without)

    assert re.search(rf"fsync\(\d+<{file}>\) += 0", trace.read_text())


def test_python_without_ctypes_flushes_in_one_go(tmp_path: Path) -> None:
    """Where libffi was missing when it was built."""
    file = tmp_path / "file"
    file.write_bytes(b"x" * 2 * LEAST_PART_BYTES)
    code = f"import sys; sys.modules['_ctypes'] = None\n{SYNC}"

    subprocess.run([sys.executable, "-c", code, file], cwd=REPOSITORY, check=True)


def test_file_that_may_not_be_written_to_is_flushed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a snapshot is that somebody has made read-only."""
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
    """There are no parts of either."""
    (tmp_path / "empty").touch()

    sync(tmp_path / "empty")
    sync(tmp_path)


def test_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Nobody is told that something was flushed which is gone."""
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "gone")


# Takes a snapshot that goes on until its WAL was flushed; says what it was told.
SNAPSHOT = """
import sys, time
from pathlib import Path
from sqlitekeeper.database.snapshot.snapshot import take_snapshot
from sqlitekeeper.events import Note

path, target, trace = map(Path, sys.argv[1:])
until = time.monotonic() + 30

def on_event(event):
    if isinstance(event, Note):
        print(event.level.name, event.text)
        return
    while "-wal>) = " not in trace.read_text() and time.monotonic() < until:
        time.sleep(0.01)

take_snapshot(path, target, on_event)
"""


@needs_strace
def test_wal_of_a_large_database_is_flushed_while_it_is_read(
    make_database: MakeDatabase, beside: Beside, tmp_path: Path
) -> None:
    """Otherwise the application's first commit afterwards would have to flush all of it."""
    path, copy, trace = make_database(rows=20_000), tmp_path / "copy", tmp_path / "trace"
    assert path.stat().st_size >= LARGE_BYTES
    beside("write", path)

    said = traced(SNAPSHOT, path, copy, trace, trace=trace, options="-e trace=fdatasync")

    assert re.search(rf"fdatasync\(\d+<{path}-wal>\) = 0", trace.read_text())
    assert not said
    assert count_rows(copy) == 20_000


@needs_strace
@pytest.mark.parametrize(
    ("number", "text"),
    [("EIO", "Input/output error"), ("ENODATA", "No data available")],
)
def test_wal_that_cannot_be_flushed_is_told(
    make_database: MakeDatabase, beside: Beside, tmp_path: Path, number: str, text: str
) -> None:
    """The snapshot does not depend on it; but who opens the WAL later is not told any more."""
    path, copy, trace = make_database(rows=20_000), tmp_path / "copy", tmp_path / "trace"
    beside("write", path)
    options = f"-P {path}-wal -e trace=fdatasync -e inject=fdatasync:error={number}"

    said = traced(SNAPSHOT, path, copy, trace, trace=trace, options=options)

    assert said == f"WARNING {path}-wal: cannot be flushed to disk ({text})\n"
    assert count_rows(copy) == 20_000


INTERRUPTED = """
import signal, sys
from pathlib import Path
from sqlitekeeper.database.snapshot import wal_flush

class WorkerPool:
    # As if a signal came in the moment in which the work was given away.
    def __init__(self, worker_pool): self.worker_pool = worker_pool
    def submit(self, *work):
        self.worker_pool.submit(*work)
        raise KeyboardInterrupt

wal_flush.worker_pool = lambda size, worker_pool=wal_flush.worker_pool: Wrapped(worker_pool(size))

class Wrapped:
    def __init__(self, worker_pool): self.worker_pool = worker_pool
    def __enter__(self): return WorkerPool(self.worker_pool.__enter__())
    def __exit__(self, *error): return self.worker_pool.__exit__(*error)

try:
    with wal_flush.flushed_wal(Path(sys.argv[1]), print, "app"):
        print("not reached")
except KeyboardInterrupt:
    print("ended")
"""


def test_signal_while_it_begins_leaves_no_thread_that_goes_on(
    make_database: MakeDatabase, beside: Beside
) -> None:
    """The thread would flush for ever, and whoever waits for it wait for ever."""
    path = make_database(rows=10)
    beside("write", path)

    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, path],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
    )

    assert done.stdout == "ended\n"
