"""SQLite databases below a folder, found by what they hold, not by what they are called."""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlitekeeper.config.databases import BESIDE
from sqlitekeeper.config.generate.applications import needs_no_backup, uploads_beside
from sqlitekeeper.config.names import solid_kind
from sqlitekeeper.config.paths import absolute
from sqlitekeeper.config.quoting import readable
from sqlitekeeper.errors import ConfigError

# https://sqlite.org/fileformat.html, section 1.3: the first bytes of every database.
_MAGIC = b"SQLite format 3\0"
_SMALLEST_PAGE_BYTES = 512

_SNAPSHOT = re.compile(r"(?P<stem>.+-\d{8}T\d{6}Z(-[2-9a-z]{5})?)\.sqlite3", re.DOTALL)
_NOT_ENTERED = re.compile(r"\..*|node_modules|keeper-staging-.*", re.DOTALL)
# The kernel's own folders: no files on a disk, and some of them act when they are read.
_KERNEL = frozenset({"/proc", "/sys", "/dev"})

_IN_MVCC_MODE = b"\xff\xff"
_MVCC = (
    "is in Turso's MVCC mode, which keeper cannot read; let the application run in Turso:"
    " PRAGMA journal_mode = 'wal'"
)
_UNREADABLE = (
    "it has a -wal beside it, and SQLite cannot read it: encrypted, perhaps; only the application"
    " can export it"
)
_REASONS = {
    "cache": "Solid Cache: what it holds can be computed again",
    "queue": "Solid Queue: restored jobs would run a second time",
    "cable": "Solid Cable: messages that are over in a day",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A database that a new keeper.toml should name.

    `no_backup` says why it needs no backup, None when it does; `note` is said
    about it in a comment. `modes` are the journal_mode and auto_vacuum that
    somebody has asked for, by key.
    """

    path: Path
    no_backup: str | None = None
    note: str | None = None
    modes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, sorted by path, and what it could not look at or had to leave out.

    `uploads` are folders of uploaded files beside the databases.
    """

    databases: tuple[Candidate, ...]
    remarks: tuple[str, ...] = ()
    uploads: tuple[Path, ...] = ()


def find_databases(folder: Path) -> Found:
    """Every SQLite database below a folder, each file once.

    Symlinked and hidden folders and node_modules are not entered; what SQLite
    and keeper put beside a database (-wal, snapshots, what a restore set
    aside) is left out.

    Raises:
        ConfigError: there is no such folder.
    """
    root = absolute(folder)
    if not root.is_dir():
        absence = "is not a folder" if os.path.lexists(root) else "no such folder"
        raise ConfigError(f"{readable(folder)}: {absence}")
    remarks: list[str] = []
    by_file: dict[str, Path] = {}
    for path in sorted(_databases(root, remarks), key=lambda path: (path.is_symlink(), path)):
        by_file.setdefault(os.path.realpath(path), path)
    found = []
    for path in sorted(by_file.values()):
        if reason := unwritable(path):
            remarks.append(f"{readable(path)}: left out: {reason}")
        else:
            found.append(Candidate(path, transient_reason(path.stem) or needs_no_backup(path)))
    return Found(tuple(found), tuple(remarks), uploads_beside(one.path for one in found))


def transient_reason(name: str) -> str | None:
    """Why a database of this name holds nothing worth a backup; None when it may.

    Rails calls them production_cache, production_queue and production_cable. A
    plain "cache" or "queue" may be anything, so it is backed up.
    """
    kind = solid_kind(name)
    return _REASONS[kind] if kind and name.lower().endswith((f"_{kind}", f"-{kind}")) else None


def unwritable(path: Path) -> str | None:
    """Why keeper.toml, which is UTF-8, cannot name this file; None when it can."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "its path is not valid UTF-8, so that keeper.toml cannot name it"
    return None


def _databases(root: Path, remarks: list[str]) -> Iterator[Path]:
    def note(error: OSError) -> None:
        remarks.append(f"{readable(str(error.filename))}: cannot be read: {error.strerror}")

    for where, folders, files in os.walk(root, onerror=note):
        folders[:] = sorted(
            name
            for name in folders
            if not _NOT_ENTERED.fullmatch(name) and os.path.join(where, name) not in _KERNEL  # noqa: PTH118
        )
        beside = {*folders, *files}
        for name in sorted(files):
            if _is_keepers(name, beside):
                continue
            path = Path(where) / name
            try:
                header = _header(path)
                if header.startswith(_MAGIC):
                    yield path
                    if header[18:] == _IN_MVCC_MODE:
                        remarks.append(f"{readable(path)}: {_MVCC}")
                elif f"{name}-wal" in beside:
                    remarks.append(f"{readable(path)}: left out: {_UNREADABLE}")
            except OSError as error:
                note(error)


def _is_keepers(name: str, beside: set[str]) -> bool:
    """Whether a file belongs to a database or to keeper, instead of being one of the user's."""
    if BESIDE.search(name):
        return True
    if snapshot := _SNAPSHOT.fullmatch(name):
        return f"{snapshot['stem']}.json" in beside
    # The state folder: the history that keeper looks after itself.
    return name == "history.sqlite3" and "locks" in beside


def begins_like_sqlite(descriptor: int) -> bool:
    """Whether an open file starts as SQLite databases do."""
    return os.pread(descriptor, len(_MAGIC), 0) == _MAGIC


def _header(path: Path) -> bytes:
    """The first 20 bytes of a file; none of one that is too small for a database.

    Raises:
        OSError: it cannot be read.
    """
    try:
        facts = path.stat()
    except (FileNotFoundError, RuntimeError):
        return b""
    if not stat.S_ISREG(facts.st_mode) or facts.st_size < _SMALLEST_PAGE_BYTES:
        return b""
    # Closing a file drops every POSIX lock that this process holds on it, and
    # with them those of an SQLite connection (sqlite.org/howtocorrupt.html 2.2).
    # So this may only run in a process that has no database open, as those of
    # `keeper config init` have none; other processes' locks are not touched.
    # O_NONBLOCK: what has become a pipe in the meantime must not hold us up.
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.pread(file, 20, 0)
    finally:
        os.close(file)
