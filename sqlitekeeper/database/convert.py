"""Giving an existing database another auto-vacuum mode, by one full VACUUM where needed."""

import os
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import apsw

from sqlitekeeper import wording
from sqlitekeeper.database.checkpoint import checkpoint_truncate
from sqlitekeeper.database.checksums import WRITES_NONE, has_checksums
from sqlitekeeper.database.connection import (
    open_database,
    pragma_int,
    report_progress,
    sqlite_errors,
)
from sqlitekeeper.database.files import (
    free_bytes,
    litestream_beside,
    read_only_reason,
    refuse_other_users_file,
    sidecar,
    size_of,
    stat_database,
)
from sqlitekeeper.database.measure import AUTO_VACUUM, AutoVacuum, measure, read_measurement
from sqlitekeeper.database.proof import integrity_problems, row_counts
from sqlitekeeper.errors import CheckError, KeeperError, ReadOnlyError
from sqlitekeeper.events import Listener, Tick, ignore

# A full VACUUM of 700 MB kept writers waiting for 7.4 s on an SSD.
VACUUM_BYTES_PER_SECOND = 95 * 10**6
WAIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class ConvertPlan:
    """What a conversion would do. Sizes in bytes."""

    name: str
    path: Path
    before: AutoVacuum
    wanted: AutoVacuum
    bytes: int
    needs_vacuum: bool
    writers_wait_seconds: float

    @property
    def needed(self) -> bool:
        """Whether there is anything to do at all."""
        return self.before != self.wanted


@dataclass(frozen=True, slots=True)
class ConvertResult:
    """What a conversion did. Sizes in bytes."""

    name: str
    path: Path
    outcome: Literal["converted", "already", "failed"]
    reason: str | None = None
    auto_vacuum_before: str | None = None
    auto_vacuum_after: str | None = None
    bytes_before: int = 0
    bytes_after: int = 0
    seconds: float = 0.0
    exit_code: int = 0


def sqlite_temporary_folder() -> Path:
    """Where SQLite puts the temporary file of a VACUUM.

    The order is SQLite's own: https://sqlite.org/tempfiles.html, section 5.
    """
    candidates = (os.environ.get("SQLITE_TMPDIR"), os.environ.get("TMPDIR"))
    for name in (*candidates, "/var/tmp", "/usr/tmp", "/tmp", "."):  # noqa: S108
        if name and os.path.isdir(name) and os.access(name, os.W_OK | os.X_OK):  # noqa: PTH112
            return Path(name)
    return Path()


def plan_conversion(
    path: Path, wanted: AutoVacuum = "incremental", *, name: str | None = None
) -> ConvertPlan:
    """Find out what a conversion would mean, and refuse it where it could not work.

    A VACUUM writes the whole database to a temporary file, and then once more
    to the WAL or the rollback journal beside the database.

    Raises:
        KeeperError: not enough room in the database's folder or in SQLite's
            temporary folder.
        ReadOnlyError: the file or its file system cannot be written.
    """
    stat_database(path)
    # Before it is opened: reading a WAL database that cannot be written leaves sidecars.
    refuse_other_users_file(path)
    if reason := read_only_reason(path):
        raise ReadOnlyError(f"{path}: {reason}")
    with sqlite_errors(path), open_database(path) as connection:
        found = read_measurement(connection, path)
        if has_checksums(connection):
            raise ReadOnlyError(
                f"{path}: {WRITES_NONE}",
                hint=f"let the application run: PRAGMA auto_vacuum = {wanted}; VACUUM",
            )
    if found.pages == 0:
        raise KeeperError(
            f"{path}: is empty", hint=f"keeper init {shlex.quote(str(path))} makes a new database"
        )
    needs_vacuum = "none" in (found.auto_vacuum, wanted) and found.auto_vacuum != wanted
    if needs_vacuum:
        _require_room(path, found.pages * found.page_size)
    return ConvertPlan(
        name=name or path.stem,
        path=path,
        before=found.auto_vacuum,
        wanted=wanted,
        bytes=found.bytes,
        needs_vacuum=needs_vacuum,
        writers_wait_seconds=found.live_bytes / VACUUM_BYTES_PER_SECOND if needs_vacuum else 0.0,
    )


def _require_room(path: Path, database_bytes: int) -> None:
    # Pointer-map pages and the WAL's frame headers add less than 2 %.
    need = database_bytes + database_bytes // 50 + 2**20
    home = Path(os.path.realpath(path)).parent
    folders = (home, sqlite_temporary_folder())
    same_disk = folders[0].stat().st_dev == folders[1].stat().st_dev
    for folder in folders[:1] if same_disk else folders:
        need_here, free = (2 * need if same_disk else need), free_bytes(folder)
        if free < need_here:
            raise KeeperError(
                f"{path}: VACUUM needs about {wording.size(need_here)} in {folder},"
                f" which has {wording.size(free)}",
                hint="make room there"
                + ("" if folder == home else ", or set SQLITE_TMPDIR to another folder"),
            )


def convert(plan: ConvertPlan, listen: Listener = ignore) -> ConvertResult:
    """Carry out a plan, and prove the result before saying so.

    A database that integrity_check complains of is left as it is: VACUUM would
    carry its damage over, or lose what can still be salvaged.

    The proof: the mode read back through a fresh connection, integrity_check,
    and the row count of every table. The counts are compared unless the
    application wrote meanwhile, which `reason` then says.

    Raises:
        CheckError: the database is not sound, or the result is not.
        BusyError: the application held the database for longer than 30 seconds.
    """
    began = time.monotonic()
    if not plan.needed:
        return ConvertResult(
            plan.name, plan.path, "already", None, plan.before, plan.before, plan.bytes, plan.bytes
        )
    with (
        sqlite_errors(plan.path),
        open_database(plan.path, write=True, wait_seconds=WAIT_SECONDS) as connection,
    ):
        litestream = litestream_beside(plan.path)
        if litestream:
            # A checkpoint of ours would make it lose its place.
            connection.wal_autocheckpoint(0)
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        reason = _vacuum_and_compare(connection, plan, listen)
        found = read_measurement(connection, plan.path)
        left = None
        if found.journal_mode == "wal" and litestream:
            left = "the checkpoint is left to Litestream, which runs beside it"
        elif found.journal_mode == "wal":
            left = _checkpoint(connection, plan)
        reason = "; ".join(filter(None, [reason, left])) or None
    after = measure(plan.path)
    if after.auto_vacuum != plan.wanted:
        raise CheckError(
            f"{plan.path}: auto_vacuum is {after.auto_vacuum} after converting to {plan.wanted}"
        )
    return ConvertResult(
        plan.name,
        plan.path,
        "converted",
        reason,
        plan.before,
        after.auto_vacuum,
        plan.bytes,
        after.bytes,
        round(time.monotonic() - began, 3),
    )


def _vacuum(connection: apsw.Connection, plan: ConvertPlan) -> None:
    try:
        connection.execute("VACUUM")
    except apsw.FullError:
        if measure(plan.path).auto_vacuum == plan.wanted:
            # Only its temporary file, or the checkpoint, had no room when all was committed
            # (seen: 3.54.1).
            return
        # What it had written is gone again, so this tells which folder was too small.
        _require_room(plan.path, plan.bytes)
        raise
    except apsw.SQLError as error:
        # Every index is built anew, which takes the application's own collations and functions.
        raise KeeperError(
            f"{plan.path}: only the application can VACUUM it ({error})",
            hint=f"let the application run: PRAGMA auto_vacuum = {plan.wanted}; VACUUM",
        ) from None


def _checkpoint(connection: apsw.Connection, plan: ConvertPlan) -> str | None:
    """Bring the WAL into the file; why it could not be, with all of the conversion in it."""
    try:
        checkpoint_truncate(connection, max_lock_seconds=0.1)
    except apsw.FullError:
        wal = sidecar(plan.path, "-wal")
        size = wording.size(size_of(wal))
        return f"{wal} holds it, {size}, until there is room to bring it into the database"
    return None


def _vacuum_and_compare(
    connection: apsw.Connection, plan: ConvertPlan, listen: Listener
) -> str | None:
    with connection:
        version = pragma_int(connection, "data_version")
        rows_before = row_counts(connection)
        problems = integrity_problems(connection, "integrity")
    if problems:
        raise CheckError(
            f"{plan.path}: is damaged, left as it is: {problems[0]}",
            hint="restore a snapshot, or salvage it with the sqlite3 shell's .recover",
        )
    connection.pragma("auto_vacuum", AUTO_VACUUM.index(plan.wanted))
    if plan.needs_vacuum:
        wal = sidecar(plan.path, "-wal")
        report_progress(
            connection, lambda: listen(Tick(plan.name, "convert", size_of(wal), plan.bytes))
        )
        _vacuum(connection, plan)
    with connection:
        rows_after = row_counts(connection)
        others_wrote = pragma_int(connection, "data_version") != version
        problems = integrity_problems(connection, "integrity")
    if problems:
        raise CheckError(
            f"{plan.path}: integrity_check complains after the conversion: {problems[0]}",
            hint="restore the last snapshot",
        )
    if rows_before == rows_after:
        return None
    different = sorted(
        table
        for table in rows_before.keys() | rows_after.keys()
        if rows_before.get(table) != rows_after.get(table)
    )
    if others_wrote:
        return f"the application wrote meanwhile, so row counts differ in: {', '.join(different)}"
    raise CheckError(
        f"{plan.path}: row counts changed in the conversion: {', '.join(different)}",
        hint="restore the last snapshot",
    )
