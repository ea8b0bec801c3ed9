"""A database file and its sidecars as the file system knows them, without opening them."""

import os
import pwd
import re
import shlex
import stat
from contextlib import suppress
from pathlib import Path

import apsw

from sqlitekeeper.errors import KeeperError

# What SQLite keeps beside a database, and Turso, whose commits are in a log in MVCC mode.
OF_SQLITE = ("-wal", "-shm", "-journal")
LOG = "-log"
SIDECARS = (*OF_SQLITE, LOG)
# https://sqlite.org/fileformat.html, section 1.3; its bytes 18 and 19 in that mode.
MAGIC = b"SQLite format 3\0"
IN_MVCC_MODE = b"\xff\xff"
# The name that a database gets when a restore replaces it.
SET_ASIDE = re.compile(r"(?P<file>.+)\.before-\d{8}T\d{6}Z", re.DOTALL)
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def last_written(path: Path) -> float:
    """When a database or its WAL was last written, in seconds since 1970; 0 without either."""
    times = []
    for file in (path, sidecar(path, "-wal")):
        # The application may close the database, and remove its WAL, at any time.
        with suppress(OSError):
            times.append(file.stat().st_mtime)
    return max(times, default=0.0)


def sidecar(path: Path, suffix: str) -> Path:
    """The path of the `-wal`, `-shm`, `-journal` or log file that belongs to `path`.

    SQLite puts it beside the file itself, not beside a symlink that leads there. Turso
    (0.8.3) calls the log of `app.db`, `app.sqlite3` and `app` alike `app.db-log`; one
    that is set aside has the name of its database.
    """
    real = os.path.realpath(path)
    if suffix == LOG and not SET_ASIDE.fullmatch(os.path.basename(real)):  # noqa: PTH119
        return Path(real).with_suffix(f".db{LOG}")
    return Path(real + suffix)


def sidecars_of(path: Path) -> tuple[str, ...]:
    """Which sidecars lie beside a database."""
    beside = (suffix for suffix in SIDECARS if os.path.lexists(sidecar(path, suffix)))
    return tuple(suffix for suffix in beside if suffix != LOG or _has_log(path))


def _has_log(path: Path) -> bool:
    """Whether a file that has the name of its log belongs to a database.

    It may be a database itself, or the log of one that has the same name but for its end.
    """
    real, log = Path(os.path.realpath(path)), sidecar(path, LOG)
    if _header(log).startswith(MAGIC):
        return False
    alike = (one for one in real.parent.iterdir() if one.with_suffix(f".db{LOG}") == log)
    # Not the file itself, by whatever name: it may be locked by a descriptor of ours.
    return not any(_header(one)[18:] == IN_MVCC_MODE for one in alike if not _is_same(one, real))


def _is_same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return path == other


def _header(path: Path) -> bytes:
    """The first 20 bytes of a file beside a database, if there are any to be read.

    It may be a live database too: through SQLite's own VFS, reading it drops no lock.
    """
    try:
        if not path.is_file():
            return b""
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_MAIN_DB
        file = apsw.VFSFile("unix", os.fspath(path), [flags, 0])
        try:
            return file.xRead(20, 0)
        finally:
            file.xClose()
    except (apsw.Error, OSError, ValueError):
        return b""


def wal_files(path: Path) -> set[Path]:
    """What lies beside a database because of its WAL."""
    real = os.path.realpath(path)
    return {Path(file) for file in (f"{real}-wal", f"{real}-shm") if os.path.exists(file)}  # noqa: PTH110


def stat_database(path: Path) -> os.stat_result:
    """Stat a database file.

    Raises:
        KeeperError: the file is absent, unreachable or not a regular file.
    """
    try:
        facts = path.stat()
    except FileNotFoundError:
        raise KeeperError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise KeeperError(f"{path}: {reason}") from None
    if not stat.S_ISREG(facts.st_mode):
        kind = next((word for test, word in _KINDS if test(facts.st_mode)), "not a regular file")
        raise KeeperError(f"{path}: is {kind}, not a database file")
    return facts


def size_of(path: Path) -> int:
    """The size of a file in bytes; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def read_only_reason(path: Path) -> str | None:
    """Why `path` must not be written, or None when it may be, or not even be read.

    root passes every permission check, so a file without any write bit counts
    as read-only for root too: somebody meant it.
    """
    folder = Path(os.path.realpath(path)).parent
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return "the file system is mounted read-only"
    if not os.access(path, os.R_OK):
        # Opening it will say so: whoever runs keeper as the wrong user has to hear of it.
        return None
    if not path.stat().st_mode & 0o222 or not os.access(path, os.W_OK):
        return "the file is read-only"
    if not os.access(folder, os.W_OK):
        return f"the folder {folder} is read-only"
    return None


def refuse_other_users_file(path: Path) -> None:
    """Refuse a file that its owner may write and this user may not.

    It is not read-only: keeper runs as the wrong user, which would go unnoticed
    if the file were only skipped.

    Raises:
        KeeperError: names the user to run as.
    """
    facts = path.stat()
    writable_by_owner = facts.st_mode & stat.S_IWUSR and facts.st_uid != os.geteuid()
    read_only = os.statvfs(path).f_flag & os.ST_RDONLY
    if writable_by_owner and not read_only and not os.access(path, os.W_OK):
        owner = user_name(facts.st_uid)
        raise KeeperError(
            f"{path}: belongs to {owner}, and this user may not write it",
            hint=f"run it as that user: sudo -u {shlex.quote(owner)} keeper ...",
        )


def user_name(uid: int) -> str:
    """The name of a user, or the number as `sudo -u` takes it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def can_write(path: Path) -> bool:
    """Whether this process could write `path` and make files beside it, meant or not."""
    folder = os.path.dirname(os.path.realpath(path))  # noqa: PTH120
    read_only = os.statvfs(path).f_flag & os.ST_RDONLY
    return not read_only and os.access(path, os.W_OK) and os.access(folder, os.W_OK)
