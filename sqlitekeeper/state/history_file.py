"""The file that keeper's memory lies in: made when it is needed, set aside when it is damaged."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import apsw

from sqlitekeeper.database.connection import open_database, pragma_int, scalar, sqlite_errors
from sqlitekeeper.database.files import SIDECARS
from sqlitekeeper.errors import CheckError, KeeperError, NotADatabaseError
from sqlitekeeper.state.folder import prepare_state_folder

# Format 1 had no `seen`; a history of it is brought up to date where it lies.
FORMAT = 2
# Times are milliseconds since 1970: as text, with the path in each row, ten years took 10 MB.
SCHEMA = """
CREATE TABLE IF NOT EXISTS watched (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE IF NOT EXISTS sample (
    database INTEGER NOT NULL,
    at INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    free_bytes INTEGER NOT NULL,
    wal_bytes INTEGER NOT NULL,
    PRIMARY KEY (database, at)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS thinned (
    at INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS shipment (
    destination TEXT NOT NULL,
    database TEXT NOT NULL,
    object TEXT NOT NULL,
    manifest TEXT NOT NULL,
    PRIMARY KEY (destination, database)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS drill (
    destination TEXT NOT NULL,
    object TEXT NOT NULL,
    at TEXT NOT NULL,
    outcome TEXT NOT NULL,
    PRIMARY KEY (destination, object)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen (
    path TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    sha256 TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""


class SetAsideError(KeeperError):
    """The history was damaged and lies under another name now; the next use starts a new one."""


class UnusableError(Exception):
    """What is there is an SQLite database, but not keeper's history."""


class HistoryFile:
    """keeper's own database in the state folder, made the first time it is needed.

    A damaged one is set aside under a timestamped name, and that is raised once;
    one that a newer keeper wrote is left alone.
    """

    def __init__(self, state: Path) -> None:
        self.path = state / "history.sqlite3"

    @contextmanager
    def open(self) -> Iterator[apsw.Connection]:
        """A connection to it, for this block.

        Raises:
            SetAsideError: it was damaged.
            KeeperError: it cannot be opened, or a newer keeper wrote it.
        """
        prepare_state_folder(self.path.parent)
        if not self.path.exists():
            # Late: it takes a while to import, and this is once.
            from sqlitekeeper.database.maintain.create import create_database

            # A second run may make it at the same time; either is fine.
            create_database(self.path, exist_ok=True, mode=0o600)
        inode = self.path.stat().st_ino
        try:
            with sqlite_errors(self.path), open_database(self.path, write=True) as connection:
                try:
                    self._bring_up_to_date(connection)
                    yield connection
                except apsw.SQLError as error:
                    raise UnusableError(str(error)) from None
        except (NotADatabaseError, CheckError) as error:
            raise self._set_aside(error.message, inode) from None
        except UnusableError as error:
            reason = f"{self.path}: is not keeper's history ({error})"
            raise self._set_aside(reason, inode) from None

    def _bring_up_to_date(self, connection: apsw.Connection) -> None:
        if pragma_int(connection, "user_version") == FORMAT:
            return
        with immediately(connection):
            version = pragma_int(connection, "user_version")
            if version > FORMAT:
                raise KeeperError(
                    f"{self.path}: written by a newer keeper (format {version})",
                    hint="upgrade keeper, or move the file away to start a new history",
                )
            if version == 0 and scalar(connection, "SELECT count(*) FROM sqlite_schema"):
                raise UnusableError("it holds other tables")
            connection.execute(SCHEMA).fetchall()
            connection.pragma("user_version", FORMAT)

    def _set_aside(self, reason: str, inode: int) -> KeeperError:
        """Move the damaged file away with its sidecars, unless another run has done so."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        aside = self.path.with_name(f"{self.path.name}.damaged-{stamp}")
        try:
            if self.path.stat().st_ino == inode:
                for suffix in (*SIDECARS, ""):
                    if (self.path.parent / f"{self.path.name}{suffix}").exists():
                        Path(f"{self.path}{suffix}").rename(f"{aside}{suffix}")
        except OSError as error:
            return KeeperError(f"{reason}; it could not be set aside: {error.strerror}")
        return SetAsideError(f"{reason}; set aside as {aside.name}")


@contextmanager
def immediately(connection: apsw.Connection) -> Iterator[None]:
    """A write transaction from its start, so that no second run comes in between."""
    connection.execute("BEGIN IMMEDIATE").fetchall()
    try:
        yield
        connection.execute("COMMIT").fetchall()
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK").fetchall()
        raise


def path_key(path: Path) -> str:
    """A database's name in the history: its real path, as text that SQLite takes."""
    return os.fsencode(os.path.realpath(path)).decode("utf-8", "backslashreplace")
