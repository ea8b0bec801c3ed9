"""Findings about one database: where it lies, what lies beside it, how it is set up.

    stat: the place and its neighbours -> a hot journal? -> open read-only -> settings, last writer

Nothing is changed. A database with a hot journal, or with sidecars that its owner
cannot write, is not opened at all: SQLite may do away with them as it does so.
"""

import os
import shlex
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlitekeeper.database.blind_spot import blind_spot
from sqlitekeeper.database.connection import open_database, sqlite_errors
from sqlitekeeper.database.files import sidecar, sidecars_of, stat_database
from sqlitekeeper.database.journal import is_hot, journal_header
from sqlitekeeper.database.measure import Measurement, read_measurement
from sqlitekeeper.database.processes import openers, parse_locks, wal_readers
from sqlitekeeper.database.wal_reset_bug import is_affected, last_writer, version_text
from sqlitekeeper.doctor.finding import Finding, Level
from sqlitekeeper.doctor.litestream import diagnose_litestream
from sqlitekeeper.errors import (
    BusyError,
    CheckError,
    KeeperError,
    KeptLockError,
    NotADatabaseError,
    as_keeper_error,
)
from sqlitekeeper.filesystem.disks import mount_of, mounts_now, network_filesystem
from sqlitekeeper.wording import size

LARGE_WAL_BYTES = 16 * 2**20
# Read for its snapshot in a tenth of a second: no application notices that its writers waited.
LARGE_BYTES = 2**24
TEMPORARY_FOLDERS = ("/tmp", "/dev/shm")  # noqa: S108 (what lies there is warned of)
MEMORY_FILESYSTEMS = frozenset({"tmpfs", "ramfs"})
WAIT_SECONDS = 1.0
# A transaction keeps its journal for a moment after its process was last seen.
SECOND_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class DatabaseDiagnosis:
    """The findings on one database; `measured` is None where it could not be opened."""

    findings: tuple[Finding, ...]
    measured: Measurement | None = None


def diagnose_database(name: str, path: Path) -> DatabaseDiagnosis:
    """Look at one database file, without changing it."""
    try:
        facts = stat_database(path)
    except KeeperError as error:
        fix = f"correct its path in keeper.toml, or: keeper init {shlex.quote(str(path))}"
        return DatabaseDiagnosis((Finding("fail", name, "open", error.message, fix),))
    findings = [
        _place(name, path),
        _links(name, path, facts),
        diagnose_litestream(name, path),
        sidecars := _sidecars(name, path, facts),
        journal := _journal(name, path, facts),
    ]
    if "fail" in (sidecars.level, journal.level):
        return DatabaseDiagnosis(tuple(findings))
    try:
        with sqlite_errors(path), open_database(path, wait_seconds=WAIT_SECONDS) as connection:
            found = read_measurement(connection, path)
            writer = last_writer(connection)
    except (KeeperError, OSError) as error:
        return DatabaseDiagnosis((*findings, _not_opened(name, path, as_keeper_error(error))))
    findings += [
        Finding("ok", name, "open", f"{path}: opens, {size(found.bytes)}"),
        _auto_vacuum(name, path, found),
        _journal_mode(name, path, found),
        _wal_size(name, path, found),
        judge_wal_place(name, found.journal_mode, network_filesystem(path)),
        judge_last_writer(name, found.journal_mode, writer),
    ]
    return DatabaseDiagnosis(tuple(findings), found)


def find_twins(databases: Iterable[tuple[str, Path]]) -> Iterator[Finding]:
    """Databases, each a name and a path, that are one file under two names (hard links).

    Symlinks are seen through where the configuration is read.
    """
    first: dict[tuple[int, int], Path] = {}
    for name, path in databases:
        try:
            facts = path.stat()
        except OSError:
            continue
        twin = first.setdefault((facts.st_dev, facts.st_ino), path)
        if twin != path:
            yield Finding(
                "fail",
                name,
                "twin",
                f"{path} is the same file as {twin}: it would be worked on twice",
                f"leave one of them out of keeper.toml: {path} or {twin}",
            )


def memory_filesystem(path: Path) -> str | None:
    """The name of the file system in memory that holds `path`; None on disks."""
    mount = mount_of(os.path.realpath(path), mounts_now())
    return mount.filesystem if mount and mount.filesystem in MEMORY_FILESYSTEMS else None


def _not_opened(name: str, path: Path, error: KeeperError) -> Finding:
    fix = error.hint
    if isinstance(error, CheckError) and (users := openers([path])):
        fix = f"stop {_listed(users)} first; then {fix}"
    if isinstance(error, NotADatabaseError) and not fix:
        fix = _other_file(name, path)
    # A lock says that the application works, not that anything is wrong.
    passes = isinstance(error, BusyError) and not isinstance(error, KeptLockError)
    level: Level = "warn" if passes else "fail"
    return Finding(level, name, "open", error.message, fix)


def _other_file(name: str, path: Path) -> str:
    """What to do about a file that is no database; what an application works with stays."""
    leave = "leave it out of keeper.toml"
    if users := openers([path]):
        return f"{_listed(users)} works with it: {leave}, or correct its path there"
    if blind_spot(path) or sidecars_of(path):
        return f"{leave}, or correct its path there: an application may work with it"
    return f"keeper restore {shlex.quote(name)} if it should be one; else {leave}"


def _place(name: str, path: Path) -> Finding:
    real = os.path.realpath(path)
    memory = memory_filesystem(path)
    passing = next((one for one in TEMPORARY_FOLDERS if real.startswith(one + "/")), None)
    if not memory and not passing:
        return Finding("ok", name, "place", f"{path}: lies where files stay")
    where = f"on {memory}, in memory" if memory else f"in {passing}, which is emptied"
    return Finding(
        "warn",
        name,
        "place",
        f"{path}: lies {where}; a restart of the host takes it away",
        f"stop the application, then: mv {shlex.quote(real)} to a folder such as /srv/app/storage,"
        " and name that one in the application and in keeper.toml",
    )


def _links(name: str, path: Path, facts: os.stat_result) -> Finding:
    if facts.st_nlink < 2:
        return Finding("ok", name, "hard_links", "has one name only")
    return Finding(
        "warn",
        name,
        "hard_links",
        f"{path}: has {facts.st_nlink} hard links; each name gets a -wal and a -journal of its"
        " own, so two of them in use damage the database",
        f"find {shlex.quote(str(path.parent))} -xdev -samefile {shlex.quote(str(path))}"
        "  # then remove all names but one",
    )


def _sidecars(name: str, path: Path, facts: os.stat_result) -> Finding:
    """A -wal or the like that the database's owner cannot write locks the application out."""
    foreign: list[Path] = []
    shut: list[Path] = []
    for suffix in sidecars_of(path):
        file = sidecar(path, suffix)
        try:
            beside = file.lstat()
        except OSError:
            continue
        if beside.st_uid != facts.st_uid:
            foreign.append(file)
            shared = beside.st_mode & 0o020 and beside.st_gid == facts.st_gid
            if facts.st_uid != 0 and not shared and not beside.st_mode & 0o002:
                shut.append(file)
    if not foreign:
        return Finding("ok", name, "sidecar_owner", "what lies beside it has its owner")
    files = ", ".join(file.name for file in shut or foreign)
    effect = "which cannot write them" if shut else "which can write them all the same"
    real = shlex.quote(os.path.realpath(path))
    return Finding(
        "fail" if shut else "warn",
        name,
        "sidecar_owner",
        f"{files}: not owned by the database's owner, {effect}",
        f"chown --reference={real} {' '.join(shlex.quote(str(file)) for file in foreign)}",
    )


def _journal(name: str, path: Path, facts: os.stat_result) -> Finding:
    ok = Finding("ok", name, "hot_journal", "no transaction was cut off")
    header = journal_header(path)
    if not is_hot(header) or _in_use(path, facts):
        return ok
    time.sleep(SECOND_POLL_SECONDS)
    if journal_header(path) != header or _in_use(path, facts):
        return ok
    return Finding(
        "fail",
        name,
        "hot_journal",
        f"{path.name}-journal: a transaction was cut off, and nobody has rolled it back yet; until"
        " then nobody can read the database without writing to it. Do not delete this file",
        f"start the application, or: keeper vacuum {shlex.quote(str(path))}",
    )


def _in_use(path: Path, facts: os.stat_result) -> bool:
    """Whether another process has the database open, or anybody holds a lock on it."""
    if openers([path]) or os.path.lexists(sidecar(path, ".lock")):
        return True
    try:
        locks = Path("/proc/locks").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return bool(parse_locks(locks, facts.st_dev, facts.st_ino))


def _auto_vacuum(name: str, path: Path, found: Measurement) -> Finding:
    file = shlex.quote(str(path))
    if found.pages == 0:
        return Finding(
            "warn", name, "auto_vacuum", f"{path}: is empty, 0 bytes", f"keeper init {file}"
        )
    if found.auto_vacuum == "incremental":
        return Finding("ok", name, "auto_vacuum", "auto_vacuum is incremental")
    if found.auto_vacuum == "full":
        # An application that asks for it, as diskcache does at each open, would undo a conversion.
        message = "auto_vacuum is full: each commit shrinks the file by what it has freed"
        return Finding("ok", name, "auto_vacuum", message)
    message = "auto_vacuum is none: the file can never shrink, and keeper vacuum frees nothing"
    return Finding("warn", name, "auto_vacuum", message, f"keeper convert {file}")


def _journal_mode(name: str, path: Path, found: Measurement) -> Finding:
    mode = f"journal_mode is {found.journal_mode}"
    if found.journal_mode == "wal":
        return Finding("ok", name, "journal_mode", mode)
    lock = "writers wait while a snapshot is made (keeper backup says for how long)"
    users = openers([path])
    if not users and found.live_bytes < LARGE_BYTES:
        return Finding("ok", name, "journal_mode", f"{mode}: {lock}")
    who = f"{_listed(users)} has it open" if users else f"it has {size(found.bytes)}"
    return Finding(
        "warn",
        name,
        "journal_mode",
        f"{mode}, and {who}: readers and writers keep each other waiting, and {lock}",
        f"stop the application, then: sqlite3 {shlex.quote(str(path))} 'PRAGMA journal_mode = wal'",
    )


def _wal_size(name: str, path: Path, found: Measurement) -> Finding:
    if found.wal_bytes <= max(found.bytes, LARGE_WAL_BYTES):
        return Finding("ok", name, "wal_size", f"WAL {size(found.wal_bytes)}")
    readers = wal_readers(path)
    held = f"; {_listed(readers)} is reading and keeps it from being emptied" if readers else ""
    return Finding(
        "warn",
        name,
        "wal_size",
        f"the WAL has {size(found.wal_bytes)}, the database {size(found.bytes)}{held}",
        f"keeper vacuum {shlex.quote(str(path))}",
    )


def _listed(processes: Sequence[object]) -> str:
    """The first of some processes, and how many more there are."""
    more = f" and {len(processes) - 1} more" if len(processes) > 1 else ""
    return f"{processes[0]}{more}"


def judge_wal_place(name: str, journal_mode: str, network: str | None) -> Finding:
    """WAL mode needs memory that all its users share; `network` names a file system across hosts.

    https://sqlite.org/wal.html
    """
    if network is None:
        return Finding("ok", name, "network", "lies on a file system of this host")
    if journal_mode != "wal":
        return Finding(
            "warn",
            name,
            "network",
            f"lies on {network}: locks across hosts are often broken, and then it gets damaged",
            "move it to a disk of the host that uses it",
        )
    return Finding(
        "fail",
        name,
        "network",
        f"is in WAL mode on {network}: WAL does not work across hosts, and gets damaged when a"
        " second host opens it",
        "move it to a disk of the host that uses it, and run keeper there",
    )


def judge_last_writer(name: str, journal_mode: str, number: int) -> Finding:
    """The SQLite that wrote the file last, as its header has it (SQLITE_VERSION_NUMBER).

    keeper's own writes leave keeper's version there.
    """
    version = version_text(number)
    if journal_mode != "wal" or not is_affected(number):
        said = (
            f"last written by SQLite {version}"
            if number
            else "does not record which SQLite wrote it last"
        )
        return Finding("ok", name, "wal_reset_bug", said)
    return Finding(
        "warn",
        name,
        "wal_reset_bug",
        f"last written by SQLite {version}, which has the WAL-reset bug: a checkpoint by another"
        " process, such as keeper vacuum, can make it lose committed transactions",
        "upgrade the SQLite that the application uses to 3.51.3 or newer (3.50.7 and 3.44.6 are"
        " mended too), then restart it; until then: checkpoint = false in [vacuum]",
    )
