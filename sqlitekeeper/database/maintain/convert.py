"""Giving an existing database another auto-vacuum mode, by writing it anew where needed."""

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import apsw

from sqlitekeeper import wording
from sqlitekeeper.database.check import integrity_problems
from sqlitekeeper.database.checksums import WRITES_NONE, has_checksums
from sqlitekeeper.database.connection import (
    in_wal_mode,
    open_database,
    report_progress,
    sqlite_errors,
)
from sqlitekeeper.database.files import (
    read_only_reason,
    refuse_other_users_file,
    sidecar,
    size_of,
    stat_database,
)
from sqlitekeeper.database.litestream import left_to, litestream_of
from sqlitekeeper.database.maintain.checkpoint import checkpoint_truncate
from sqlitekeeper.database.maintain.rewrite import choose_folder, folders, rewrite
from sqlitekeeper.database.measure import AUTO_VACUUM, AutoVacuum, measure, read_measurement
from sqlitekeeper.database.remarks import is_pointer_map
from sqlitekeeper.errors import CheckError, KeeperError, NoRoomError, ReadOnlyError
from sqlitekeeper.events import Listener, Note, Tick, ignore
from sqlitekeeper.filesystem.private_folder import STAGING, remove_litter
from sqlitekeeper.result import Result

# Copied, compared, checked and written back: 70 to 150 MB a second on an SSD, the fewer the
# smaller its rows are, and 40 on a busy host.
REWRITTEN_BYTES_PER_SECOND = 50 * 10**6
WAIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class ConvertPlan:
    """What a conversion would do. Sizes in bytes."""

    name: str
    path: Path
    before: AutoVacuum
    wanted: AutoVacuum
    bytes: int
    live_bytes: int
    needs_vacuum: bool
    writers_wait_seconds: float

    @property
    def needed(self) -> bool:
        """Whether there is anything to do at all."""
        return self.before != self.wanted


@dataclass(frozen=True, slots=True)
class ConvertResult(Result):
    """What a conversion did. Sizes in bytes."""

    path: Path
    outcome: Literal["converted", "already", "skipped", "failed"]
    auto_vacuum_before: str | None = None
    auto_vacuum_after: str | None = None
    bytes_before: int = 0
    bytes_after: int = 0
    seconds: float = 0.0


def plan_conversion(
    path: Path,
    wanted: AutoVacuum = "incremental",
    *,
    name: str | None = None,
    on_event: Listener = ignore,
) -> ConvertPlan:
    """Find out what a conversion would mean, and refuse it where it could not work.

    What killed runs left where a copy may lie is removed first: it takes room.

    Raises:
        KeeperError: the database is empty.
        NoRoomError: not enough room in the database's folder or in SQLite's
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
    name = name or path.stem
    _remove_litter(path, name, on_event)
    if needs_vacuum:
        choose_folder(path, found.live_bytes)
    return ConvertPlan(
        name=name,
        path=path,
        before=found.auto_vacuum,
        wanted=wanted,
        bytes=found.bytes,
        live_bytes=found.live_bytes,
        needs_vacuum=needs_vacuum,
        writers_wait_seconds=found.live_bytes / REWRITTEN_BYTES_PER_SECOND if needs_vacuum else 0.0,
    )


def _remove_litter(path: Path, name: str, on_event: Listener) -> None:
    for folder in dict.fromkeys(folders(path)):
        for litter in remove_litter(folder, STAGING):
            on_event(Note(name, f"removed {litter}, left by a run that was killed"))


def convert(plan: ConvertPlan, on_event: Listener = ignore) -> ConvertResult:
    """Carry out a plan; nothing has changed unless this returns.

    A database that integrity_check complains of is left as it is: a copy would
    carry its damage over, or lose what can still be salvaged. So is one whose
    copy differs from it in any row or rowid, see `rewrite`. The mode is then read
    back through a fresh connection.

    Raises:
        CheckError: the database is not sound, its copy is not the same, or the mode
            did not last.
        BusyError: the application held the database for longer than 30 seconds, or
            got in between too often.
        NoRoomError: a folder turned out to be too small.
    """
    began = time.monotonic()
    if not plan.needed:
        return ConvertResult(
            plan.name, plan.path, "already", None, plan.before, plan.before, plan.bytes, plan.bytes
        )
    with _opened(plan.path) as connection:
        report_progress(connection, lambda: None)
        problems = integrity_problems(connection, "integrity")
        if plan.needs_vacuum:
            # It is written anew, by the b-trees alone.
            problems = [problem for problem in problems if not is_pointer_map(problem)]
        if problems:
            raise CheckError(
                f"{plan.path}: left as it is, since integrity_check complains: {problems[0]}",
                hint="if the application works with it, let it REINDEX, or rebuild the full-text"
                " index; else restore a snapshot, or salvage it with the sqlite3 shell's .recover",
            )
        connection.pragma("auto_vacuum", AUTO_VACUUM.index(plan.wanted))
        if plan.needs_vacuum:
            _rewrite(connection, plan, on_event)
        reason = _checkpoint(connection, plan)
    after = measure(plan.path)
    if after.auto_vacuum != plan.wanted:
        raise CheckError(
            f"{plan.path}: auto_vacuum is {after.auto_vacuum} again after converting to"
            f" {plan.wanted}: somebody sets it whenever the database is opened",
            hint="change it in the application",
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


@contextmanager
def _opened(path: Path) -> Iterator[apsw.Connection]:
    with (
        sqlite_errors(path),
        open_database(path, write=True, wait_seconds=WAIT_SECONDS) as connection,
    ):
        if litestream_of(path):
            # An automatic checkpoint, which does not truncate, could leave a gap in its replica.
            connection.wal_autocheckpoint(0)
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        yield connection


def _rewrite(connection: apsw.Connection, plan: ConvertPlan, on_event: Listener) -> None:
    total = 2 * plan.live_bytes

    def advance(done: int) -> None:
        on_event(Tick(plan.name, "convert", min(done, total), total))

    with _opened(plan.path) as writer:
        try:
            rewrite(connection, writer, plan.path, plan.live_bytes, advance)
        except NoRoomError:
            # The WAL may have taken all that there was.
            _checkpoint(connection, plan)
            raise
        except apsw.SQLError as error:
            # Indexes, checks and generated columns may take what only the application has.
            raise KeeperError(
                f"{plan.path}: only the application can VACUUM it ({error})",
                hint=f"let the application run: PRAGMA auto_vacuum = {plan.wanted}; VACUUM",
            ) from None


def _checkpoint(connection: apsw.Connection, plan: ConvertPlan) -> str | None:
    """Bring the WAL into the file; why it could not be, with all of the conversion in it."""
    if not in_wal_mode(connection):
        return None
    if litestream := litestream_of(plan.path):
        return left_to(litestream)
    try:
        checkpoint_truncate(connection, max_lock_seconds=0.1)
    except apsw.FullError:
        wal = sidecar(plan.path, "-wal")
        size = wording.size(size_of(wal))
        return f"{wal} holds it, {size}, until there is room to bring it into the database"
    return None
