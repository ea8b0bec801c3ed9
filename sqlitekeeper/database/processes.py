"""Processes that have a database open, as far as the system tells (Linux: /proc)."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw

from sqlitekeeper.database.files import sidecar, size_of

# Where the WAL index keeps its reader locks, one byte each
# (https://sqlite.org/walformat.html, "WAL Locks").
WAL_READ_LOCKS = range(123, 128)

# The bytes of a database file that only an exclusive lock covers by writing
# (https://sqlite.org/src/file/src/os.h, SHARED_FIRST and SHARED_SIZE).
SHARED_BYTES = range(0x40000002, 0x40000002 + 510)

# What the kernel writes behind the name of an open file that nobody else can open any more.
_DELETED = " (deleted)"


@dataclass(frozen=True, slots=True)
class Process:
    """A process and the name of its program ("" where it cannot be read)."""

    pid: int
    program: str

    def __str__(self) -> str:
        if self.pid <= 0:
            return "a process outside this container"
        return f"pid {self.pid} ({self.program})" if self.program else f"pid {self.pid}"


def parse_locks(
    text: str, device: int, inode: int, *, write_only: bool = False
) -> dict[int, list[range]]:
    """The locked byte ranges of one file by process id, from the text of /proc/locks.

    A line: `1: POSIX  ADVISORY  READ 9647 fe:00:2146314 123 123`, see proc(5).
    """
    file = f"{os.major(device):02x}:{os.minor(device):02x}:{inode}"
    held: dict[int, list[range]] = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 8 and fields[5] == file and (fields[3] == "WRITE" or not write_only):
            end = 2**63 if fields[7] == "EOF" else int(fields[7])
            held.setdefault(int(fields[4]), []).append(range(int(fields[6]), end + 1))
    return held


@contextmanager
def locking_file(path: Path, mode: int = apsw.SQLITE_OPEN_READONLY) -> Iterator[apsw.VFSFile]:
    """A database file as SQLite locks it, of which this process may have connections too.

    Closing it drops no lock of theirs, which closing what was opened by `open` does.
    """
    file = apsw.VFSFile("unix", os.path.realpath(path), [mode | apsw.SQLITE_OPEN_MAIN_DB, 0])
    try:
        yield file
    finally:
        file.xClose()


def remove_unused(path: Path, made: Iterable[Path]) -> None:
    """Remove the -shm, and a -wal without content, if nobody has the database open.

    As SQLite does it itself: under an exclusive lock, if that is to be had at once.
    """
    with (
        contextlib.suppress(apsw.Error, OSError),
        locking_file(path, apsw.SQLITE_OPEN_READWRITE) as file,
    ):
        file.xLock(apsw.SQLITE_LOCK_SHARED)
        file.xLock(apsw.SQLITE_LOCK_EXCLUSIVE)
        for one in made:
            if one.name.endswith("-shm") or not size_of(one):
                one.unlink(missing_ok=True)


def wal_readers(path: Path) -> list[Process]:
    """Other processes that are inside a read transaction of a WAL database.

    Empty where the system does not tell.
    """
    try:
        index = sidecar(path, "-shm").stat()
        text = Path("/proc/locks").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    return _with_lock(parse_locks(text, index.st_dev, index.st_ino), WAL_READ_LOCKS)


def exclusive_holders(path: Path) -> list[Process]:
    """Other processes with an exclusive lock on a database file; empty where nothing tells."""
    try:
        facts = path.stat()
        text = Path("/proc/locks").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    held = parse_locks(text, facts.st_dev, facts.st_ino, write_only=True)
    return _with_lock(held, SHARED_BYTES)


def _with_lock(held: Mapping[int, Sequence[range]], wanted: range) -> list[Process]:
    """The other processes whose locks touch some bytes."""
    return [
        Process(pid, _program(pid))
        for pid, ranges in sorted(held.items())
        if pid != os.getpid()
        and any(lock.start < wanted.stop and lock.stop > wanted.start for lock in ranges)
    ]


def processes_of(program: str) -> list[Process]:
    """Every process of a program, whoever runs it."""
    pids = sorted(int(entry.name) for entry in Path("/proc").glob("[0-9]*"))
    return [Process(pid, program) for pid in pids if _program(pid) == program]


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def openers(paths: list[Path]) -> list[Process]:
    """Other processes that have one of these files open (Linux: /proc/*/fd).

    One that was deleted, or replaced, while they had it open counts too: SQLite
    goes on with it, and makes its sidecars under the name that it had. Only root
    sees the processes of other users.
    """
    wanted = set()
    for path in paths:
        with contextlib.suppress(OSError):
            wanted.add(identity(path.stat()))
    lost: dict[str, int] = {}
    for path in paths:
        real = os.path.realpath(path)
        with contextlib.suppress(OSError):
            # Of the file system that it was on: in a container the name may be another file's.
            lost[real] = Path(real).parent.stat().st_dev
    return _processes(wanted, lost)


def identity(facts: os.stat_result) -> tuple[int, int]:
    """What a file is, whatever its name: its device and inode."""
    return facts.st_dev, facts.st_ino


def holders_of(wanted: set[tuple[int, int]]) -> list[Process]:
    """Other processes that have a file of one of these identities open."""
    return _processes(wanted, {})


def _processes(wanted: set[tuple[int, int]], lost: dict[str, int]) -> list[Process]:
    """Other processes with an open file of these identities, or one that lost such a name."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        if pid != os.getpid() and any(
            facts in wanted or lost.get(name) == facts[0] for facts, name in _open_files(entry)
        ):
            found.append(Process(pid, _program(pid)))
    return sorted(found, key=lambda process: process.pid)


def _open_files(process: Path) -> Iterator[tuple[tuple[int, int], str]]:
    """Identity of every file that a process has open, and the name that it lost ("" if none)."""
    try:
        descriptors = list((process / "fd").iterdir())
    except OSError:
        return
    for descriptor in descriptors:
        # Through the link, wherever it leads; it may be closed by now.
        with contextlib.suppress(OSError):
            facts = descriptor.stat()
            # One with a name left is not asked for its own: there may be many.
            link = os.fspath(descriptor.readlink()) if facts.st_nlink == 0 else ""
            yield identity(facts), _lost_name(link, identity(facts))


def _lost_name(link: str, facts: tuple[int, int]) -> str:
    """The name that an open file had before it was deleted or replaced; see proc_pid_fd(5)."""
    name = link.removesuffix(_DELETED)
    if name == link:
        return ""
    try:
        # Anybody may give a file such a name.
        return "" if identity(Path(link).stat()) == facts else name
    except OSError:
        return name
