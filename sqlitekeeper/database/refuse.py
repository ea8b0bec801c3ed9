"""Databases that are not opened, because SQLite would lose or mix what belongs to them."""

import os
import shlex
from functools import cache
from pathlib import Path

import apsw

from sqlitekeeper.database.files import IN_MVCC_MODE, MAGIC, sidecar, size_of, user_name
from sqlitekeeper.database.journal import is_begun, is_hot, journal_header
from sqlitekeeper.database.processes import exclusive_holders, openers
from sqlitekeeper.database.set_aside import set_asides
from sqlitekeeper.errors import (
    BusyError,
    KeeperError,
    KeptLockError,
    NotADatabaseError,
    ReadOnlyError,
)
from sqlitekeeper.filesystem.disks import mounts_now, network_filesystem

# https://sqlite.org/fileformat.html#schema_format_number
NEWEST_SCHEMA_FORMAT = 4
# https://sqlite.org/src/doc/wal2/doc/wal2.md
IN_WAL2_MODE = b"\3\3"
SAMPLE_BYTES = 512
# Of 512 random bytes 221 are different ones, more or less 6; of a text, or of pages, half of that.
RANDOM_BYTES = 190
# Magic numbers and where they stand, of what lies under the name of a database now and then.
KINDS = (
    (b"** This file contains an SQLite 2", 0, "one of SQLite 2"),
    (b"DUCK", 8, "one of DuckDB"),
    (b"\x1f\x8b", 0, "a gzip file"),
    (b"\x28\xb5\x2f\xfd", 0, "a zstd file"),
    (b"\xfd7zXZ\0", 0, "an xz file"),
    (b"PK\3\4", 0, "a zip archive"),
)
# What page 1 is, behind the header: https://sqlite.org/fileformat.html#b_tree_pages
TABLE_PAGES = (5, 13)


def refuse_unreadable(connection: apsw.Connection, path: Path) -> None:
    """Refuse what SQLite cannot read by its header, before SQLite looks for its WAL or journal.

    Those of an encrypted database it would bring into the file all the same, and remove.
    Page 1 is all zeros while the first transaction of a new database goes on.

    Raises:
        NotADatabaseError: `path` is encrypted, another program's, or in a mode of Turso or wal2.
    """
    header = connection.read("main", 0, 0, SAMPLE_BYTES)[1]
    if not any(header[:16]):
        return
    if header[:16] != MAGIC:
        raise _other_file(header, path)
    if header[18:20] == IN_MVCC_MODE:
        raise NotADatabaseError(
            f"{path}: is a Turso database in MVCC mode, which SQLite cannot read",
            hint="let the application run in Turso: PRAGMA journal_mode = 'wal'",
        )
    if header[18:20] == IN_WAL2_MODE:
        raise NotADatabaseError(
            f"{path}: is in journal mode wal2, which only a branch of SQLite has",
            hint="let the application run: PRAGMA journal_mode = delete; PRAGMA journal_mode = wal",
        )
    # Ciphers keep something in each page; so does SQLite's own cksumvfs, 8 bytes.
    odd = any(header[72:92]) or header[100] not in TABLE_PAGES
    ciphered = odd and header[20] not in (0, 8)
    if ciphered or int.from_bytes(header[44:48], "big") > NEWEST_SCHEMA_FORMAT:
        raise NotADatabaseError(f"{path}: is encrypted behind a plain header, or damaged")


def _other_file(header: bytes, path: Path) -> NotADatabaseError:
    """What a file is that does not begin like a database, as far as its first bytes tell."""
    other = next((kind for magic, start, kind in KINDS if header[start:].startswith(magic)), None)
    if other or _is_text(header):
        return NotADatabaseError(f"{path}: is not an SQLite database, but {other or 'a text'}")
    rolled_back = "start the application, which rolls back what is in the journal beside it"
    if len(set(header)) < RANDOM_BYTES or size_of(path) % 512:
        return NotADatabaseError(
            f"{path}: is not an SQLite database, or it is encrypted",
            hint=rolled_back if is_hot(journal_header(path)) else None,
        )
    return NotADatabaseError(
        f"{path}: is encrypted as a whole (SQLCipher or the like), or not an SQLite database",
        hint=rolled_back
        if is_hot(journal_header(path))
        else "only the application, which has the key, can export it: have it do so into a folder"
        " of [[files]], and leave the database out of keeper.toml",
    )


def _is_text(header: bytes) -> bool:
    """Whether it is UTF-8 without control characters, so that it is no ciphertext."""
    found = header.rstrip(b"\0")
    text = found.decode(errors="ignore")
    # A character may be cut off at the end of the sample.
    is_whole = len(found) - len(text.encode()) < 4
    return is_whole and len(text) >= 16 and all(ch.isprintable() or ch.isspace() for ch in text)


def locked_error(path: Path) -> BusyError:
    """Who has a database locked, and whether that ends before the application does."""
    holders = exclusive_holders(path)
    who = ", ".join(map(str, holders or openers([path])))
    held = f"{path}: database is locked" + (f" by {who}" if holders else "")
    # One that commits has a journal; in WAL mode nobody locks the file itself while -shm is used.
    if holders and not (is_begun(journal_header(path)) or sidecar(path, "-shm").exists()):
        return KeptLockError(
            f"{held}, which writes nothing meanwhile: as with locking_mode EXCLUSIVE, and in Turso,"
            " where a lock lasts as long as the application has the database open",
            hint=f"run keeper while {who} is stopped; in an application of your own:"
            " PRAGMA locking_mode = NORMAL; else leave the database out of keeper.toml",
        )
    hint = "another process holds a lock on it" if holders or not who else f"{who} has it open"
    return BusyError(held, hint=f"{hint}; try again when it is done")


def refuse_foreign_sidecars(path: Path, owner: int) -> None:
    """A WAL or its index made under another user's id would lock the application out.

    Raises:
        KeeperError: names the user to run as.
    """
    me = os.geteuid()
    if me in (0, owner) or all(sidecar(path, suffix).exists() for suffix in ("-wal", "-shm")):
        return
    name = user_name(owner)
    raise KeeperError(
        f"{path}: belongs to {name}; keeper would create -wal and -shm files that {name} "
        "cannot open",
        hint=f"run it as that user: sudo -u {shlex.quote(name)} keeper ...",
    )


def refuse_shut_sidecars(path: Path) -> None:
    """Whoever may write a database has to write its WAL and index too, made by the application.

    Raises:
        KeeperError: names the file, and the user to run as.
    """
    for file in (sidecar(path, suffix) for suffix in ("-wal", "-shm")):
        if file.exists() and os.access(path, os.W_OK) and not os.access(file, os.W_OK):
            owner = user_name(file.stat().st_uid)
            raise KeeperError(
                f"{path}: {file.name} beside it belongs to {owner}, and this user may not write it",
                hint=f"run it as that user: sudo -u {shlex.quote(owner)} keeper ...; or have the"
                " application make files that its group may write: umask 007",
            )


def refuse_lone_wal(path: Path, facts: os.stat_result) -> None:
    """SQLite deletes a WAL beside a file of 0 bytes, be the connection read-only.

    A database in WAL mode has its first page in the file before it has a WAL, so
    somebody has emptied this one, and the WAL may have all that is left of it.

    Raises:
        KeeperError: `path` is such a file.
    """
    # Its size once more: an application may make its database at this moment.
    if facts.st_size == 0 and size_of(sidecar(path, "-wal")) and size_of(path) == 0:
        raise KeeperError(
            f"{path}: has 0 bytes, and {path.name}-wal beside it has transactions,"
            " which SQLite would delete",
            hint="stop the application, put both files away, and restore a snapshot;"
            " what is in the WAL may be salvaged",
        )


def refuse_remote(path: Path) -> None:
    """Refuse a database in WAL mode that another host may be writing.

    Raises:
        ReadOnlyError: names the file system, one that hosts share.
    """
    if remote := network_filesystem(path):
        raise ReadOnlyError(
            f"{path}: WAL mode does not work across hosts, and this is {remote}",
            hint="run keeper on the host that has the disk",
        )


def refuse_second_name(path: Path, facts: os.stat_result) -> None:
    """Two names of one database in WAL mode have a WAL each, and none knows of the other.

    An application that opens it by the other name has transactions that are not seen here, and
    the two overwrite each other's pages (https://sqlite.org/howtocorrupt.html). A WAL
    beside this name says that it is the one in use. `path` is no symlink.

    Raises:
        KeeperError: the file has another name, and this one may be the wrong one.
    """
    if sidecar(path, "-wal").exists():
        return
    if facts.st_nlink > 1 and facts.st_nlink - _unfinished(path) > 1:
        raise KeeperError(
            f"{path}: has another name (a hard link); if an application uses that one, its WAL"
            " is beside that one, and keeper would damage the database",
            hint="remove all names but one; to find them: find"
            f" {shlex.quote(str(path.parent))} -xdev -samefile {shlex.quote(str(path))}",
        )
    if os.fspath(path) in _mount_points():
        raise KeeperError(
            f"{path}: is mounted as a single file, without the -wal beside the original; if an"
            " application has that one open, keeper would damage the database",
            hint="mount its folder instead",
        )


def _unfinished(path: Path) -> int:
    """How many of its names are those that a killed restore has set aside."""
    return sum(1 for aside in set_asides(path) if aside.samefile(path))


@cache
def _mount_points() -> frozenset[str]:
    """Where something is mounted; asked once, since a command works on thousands of databases."""
    return frozenset(mount.point for mount in mounts_now())
