"""The hourly work on one database: free pages in short transactions, then checkpoint."""

import shlex
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import apsw

from sqlitekeeper.database.checksums import WRITES_NONE, has_checksums
from sqlitekeeper.database.connection import (
    open_database,
    sqlite_errors,
    wait_for_locks,
)
from sqlitekeeper.database.files import (
    read_only_reason,
    refuse_other_users_file,
    sidecar,
    size_of,
    stat_database,
)
from sqlitekeeper.database.litestream import left_to, litestream_of
from sqlitekeeper.database.maintain.checkpoint import (
    Checkpoint,
    CheckpointMode,
    checkpoint_mode,
    checkpoint_passive,
    checkpoint_truncate,
    pinned,
)
from sqlitekeeper.database.maintain.free_pages import (
    FIRST_BATCH_PAGES,
    WAIT_SECONDS,
    WriteLocks,
    free_batch,
    next_batch,
)
from sqlitekeeper.database.maintain.pointer_map import left_for, map_fault
from sqlitekeeper.database.measure import Measurement, read_measurement
from sqlitekeeper.database.wal_reset_bug import checkpoint_remark
from sqlitekeeper.errors import BusyError
from sqlitekeeper.events import Level, Listener, Note, Tick, ignore
from sqlitekeeper.lock_wait import waits_at_most
from sqlitekeeper.result import Result
from sqlitekeeper.workers import stop_if_asked

# After each transaction the application gets as long as the transaction took, and at least this.
MIN_PAUSE_SECONDS = 0.02
# Everything that plain `PRAGMA optimize` does, and 0x10000: also look at tables that this
# connection has not queried, which for keeper is all of them (https://sqlite.org/pragma.html).
OPTIMIZE = "PRAGMA optimize = 0x1fffe"


@dataclass(frozen=True, slots=True)
class VacuumResult(Result):
    """What one run did to one database; `longest_lock_ms` bounds any write lock it held."""

    path: Path
    outcome: Literal["done", "skipped", "busy", "failed"]
    freed_pages: int = 0
    freed_bytes: int = 0
    free_pages_left: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    wal_bytes_before: int = 0
    wal_bytes_after: int = 0
    checkpoint: Checkpoint | None = None
    longest_lock_ms: float = 0.0
    seconds: float = 0.0
    page_size: int = 0
    wrong_map: str | None = None


@dataclass(frozen=True, slots=True)
class VacuumOptions:
    """How far a run may go. `pages` 0: all; `budget_seconds` None: no limit; see `map_fault`.

    `checkpoint` may also be True ("truncate") or False ("none").
    """

    pages: int = 1000
    max_lock_ms: int = 100
    keep_free_pages: int = 0
    budget_seconds: float | None = None
    checkpoint: CheckpointMode | bool = "truncate"
    optimize: bool = False
    dry_run: bool = False
    wrong_map: str | None = None


def vacuum(
    path: Path,
    options: VacuumOptions = VacuumOptions(),
    *,
    name: str | None = None,
    on_event: Listener = ignore,
) -> VacuumResult:
    """Free pages and truncate the WAL of one database.

    Never holds a write transaction much longer than `options.max_lock_ms`:
    the batches are sized by what the previous ones took, commit included.

    Raises:
        BusyError: the application held the database for longer than 5 seconds.
        KeeperError: see `open_database`.
    """
    name = name or path.stem
    if stat_database(path).st_size == 0 and not size_of(sidecar(path, "-wal")):
        return VacuumResult(name, path, "skipped", "the file is empty: nothing was ever written")
    if not options.dry_run:
        refuse_other_users_file(path)
    if not options.dry_run and (reason := read_only_reason(path)):
        return VacuumResult(name, path, "skipped", reason)
    began = time.monotonic()
    with (
        sqlite_errors(path),
        open_database(path, write=not options.dry_run, wait_seconds=WAIT_SECONDS) as connection,
    ):
        before = read_measurement(connection, path)
        if has_checksums(connection):
            return _left_alone(name, path, before, WRITES_NONE)
        target = _target(before, options)
        if options.dry_run:
            reason = _convert_advice(before, path) or f"dry run: would free {target:,} pages"
            return _left_alone(name, path, before, reason)
        wrong = options.wrong_map or map_fault(connection, before, target, options.max_lock_ms)
        # It could be read, so nobody keeps it locked for good, and writers are waited for.
        with waits_at_most(WAIT_SECONDS):
            done = _run(
                connection, name, path, before, 0 if wrong else target, options, began, on_event
            )
        return replace(done, **left_for(path, wrong, done.reason)) if wrong else done


def _target(found: Measurement, options: VacuumOptions) -> int:
    """How many pages this run should free."""
    if found.auto_vacuum != "incremental":
        return 0
    spare = max(0, found.free_pages - options.keep_free_pages)
    return min(spare, options.pages) if options.pages else spare


def _left_alone(name: str, path: Path, found: Measurement, reason: str) -> VacuumResult:
    return VacuumResult(
        name,
        path,
        "skipped",
        reason,
        page_size=found.page_size,
        free_pages_left=found.free_pages,
        bytes_before=found.bytes,
        bytes_after=found.bytes,
        wal_bytes_before=found.wal_bytes,
        wal_bytes_after=found.wal_bytes,
    )


def _convert_advice(found: Measurement, path: Path) -> str | None:
    if found.auto_vacuum != "none":
        return None
    quoted = shlex.quote(str(path))
    return f"auto_vacuum is none, so no page can be freed; to change that: keeper convert {quoted}"


def _run(
    connection: apsw.Connection,
    name: str,
    path: Path,
    before: Measurement,
    target: int,
    options: VacuumOptions,
    began: float,
    on_event: Listener,
) -> VacuumResult:
    in_wal_mode = before.journal_mode == "wal"
    litestream = litestream_of(path) if in_wal_mode else None
    asked = checkpoint_mode(options.checkpoint)
    mode = asked if in_wal_mode and not litestream else "none"
    max_lock = options.max_lock_ms / 1000
    locks = WriteLocks()
    reasons = [_convert_advice(before, path)]
    if mode != "none":
        reasons.append(checkpoint_remark(connection))
    # Checkpoints of our own choosing only, outside the timed transactions.
    connection.wal_autocheckpoint(0)
    if mode != "truncate":
        # The last connection to close would checkpoint, and remove the WAL: it locks everybody out.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)

    freed = 0
    deadline = began + options.budget_seconds if options.budget_seconds is not None else None
    batch = FIRST_BATCH_PAGES
    while freed < target and (deadline is None or time.monotonic() < deadline):
        stop_if_asked()
        try:
            took = free_batch(connection, min(batch, target - freed), max_lock, locks)
        except apsw.BusyError:
            if not freed:
                raise
            return _cut_short(name, path, before, freed, locks, began)
        freed += took.freed
        on_event(Tick(name, "vacuum", min(freed, target), target, "pages"))
        on_event(
            Note(name, f"freed {took.freed} pages in {took.seconds * 1000:.1f} ms", Level.DETAIL)
        )
        if took.freed == 0:
            break
        batch = next_batch(batch, took.freed, took.seconds, max_lock)
        if freed < target:
            paused = time.monotonic()
            if mode != "none":
                checkpoint_passive(connection)
            pause = max(MIN_PAUSE_SECONDS, took.seconds) - (time.monotonic() - paused)
            time.sleep(max(0.0, pause))

    if options.optimize:
        reasons.append(_optimize(connection, max_lock, locks))

    checkpoint = None
    if litestream and asked != "none":
        reasons.append(left_to(litestream))
    elif mode == "passive":
        checkpoint = checkpoint_passive(connection)
    elif mode == "truncate":
        checkpoint, longest = checkpoint_truncate(connection, max_lock)
        locks.add(longest)
    if checkpoint:
        reasons.append(pinned(path, checkpoint))
    wait_for_locks(connection, WAIT_SECONDS)
    after = read_measurement(connection, path)
    idle = before.auto_vacuum == "none" and checkpoint is None and not options.optimize
    return VacuumResult(
        name,
        path,
        "skipped" if idle else "done",
        "; ".join(filter(None, reasons)) or None,
        page_size=before.page_size,
        freed_pages=freed,
        freed_bytes=freed * before.page_size,
        free_pages_left=after.free_pages,
        bytes_before=before.bytes,
        bytes_after=after.bytes,
        wal_bytes_before=before.wal_bytes,
        wal_bytes_after=after.wal_bytes,
        checkpoint=checkpoint,
        longest_lock_ms=round(locks.longest * 1000, 3),
        seconds=round(time.monotonic() - began, 3),
    )


def _cut_short(
    name: str, path: Path, before: Measurement, freed: int, locks: WriteLocks, began: float
) -> VacuumResult:
    """The result of a run that found the database locked after some batches: those are kept."""
    return VacuumResult(
        name,
        path,
        "busy",
        f"{path}: database is locked; freed {freed} pages before that",
        page_size=before.page_size,
        freed_pages=freed,
        freed_bytes=freed * before.page_size,
        free_pages_left=before.free_pages - freed,
        bytes_before=before.bytes,
        bytes_after=size_of(path),
        wal_bytes_before=before.wal_bytes,
        wal_bytes_after=size_of(sidecar(path, "-wal")),
        longest_lock_ms=round(locks.longest * 1000, 3),
        seconds=round(time.monotonic() - began, 3),
        exit_code=BusyError.exit_code,
    )


def _optimize(connection: apsw.Connection, max_lock: float, locks: WriteLocks) -> str | None:
    """PRAGMA optimize, given up (rolled back) when it would hold the lock for too long."""
    began = time.monotonic()
    wait_for_locks(connection, max_lock)
    connection.set_progress_handler(lambda: time.monotonic() - began > max_lock, 1000)
    try:
        connection.execute(OPTIMIZE).fetchall()
    except apsw.InterruptError:
        return "PRAGMA optimize would have held the write lock for too long and was given up"
    except apsw.BusyError:
        return "PRAGMA optimize found the database locked and was left out"
    except apsw.SQLError as error:
        return f"only the application can run PRAGMA optimize here ({error})"
    finally:
        connection.set_progress_handler(None)
        locks.add(time.monotonic() - began)
    return None
