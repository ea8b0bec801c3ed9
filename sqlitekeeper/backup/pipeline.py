"""Which database is at which step: locks, room, order.

Databases are read in their order, `jobs` small ones at once, and leave in batches: one large
database, or small ones up to BATCH_BYTES. While a batch is checked, uploaded and published
(batch.py), the next is read. STAGED_BATCHES are in the staging folder at the most: it never
holds more than the two largest databases, or two batches of small ones. Where even that does
not fit, a database waits until the batch before has left. A database is locked against other
keeper runs from its snapshot to its record.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sqlitekeeper.backup.batch import Batch, Queues
from sqlitekeeper.backup.model import StagedSnapshot
from sqlitekeeper.backup.record import RunRecord
from sqlitekeeper.backup.result import BackupResult
from sqlitekeeper.backup.snapshot import Staging
from sqlitekeeper.config.settings import Database
from sqlitekeeper.errors import KeeperError, LockedError, NoRoomError, as_keeper_error
from sqlitekeeper.events import Level, Listener, Note
from sqlitekeeper.state.history import History
from sqlitekeeper.state.locks import database_lock
from sqlitekeeper.workers import in_order, result_of

BATCH_BYTES = 64 * 2**20
# Each holds a lock file open: those of all batches stay far below the usual 1,024.
BATCH_DATABASES = 150
MOST_BATCHES = 4
STAGED_BATCHES = 2

Locked = tuple[Database, ExitStack]


@dataclass(slots=True)
class Pipeline:
    """Takes databases off the queue, and hands their snapshots on."""

    staging: Staging
    queues: Queues
    record: RunRecord
    state: Path
    jobs: int
    lock_wait_seconds: float
    on_event: Listener

    def run(self, databases: Sequence[Database]) -> None:
        """Bring databases through all steps."""
        queue = deque(self._present(databases))
        staged: deque[Future[None]] = deque()
        unrecorded: deque[Future[None]] = deque()
        with ExitStack() as held:
            while queue:
                if len(staged) == STAGED_BATCHES:
                    result_of(staged.popleft())
                if len(unrecorded) == MOST_BATCHES:
                    result_of(unrecorded.popleft())
                batch = self._take(list(self._lock_next(queue, held)), queue, bool(staged))
                if batch.snapshots:
                    left, recorded = self.queues.add(batch)
                    staged.append(left)
                    unrecorded.append(recorded)
                elif staged:
                    result_of(staged.popleft())
            for recorded in unrecorded:
                result_of(recorded)

    def _present(self, databases: Sequence[Database]) -> Iterator[Database]:
        """The databases that are there, or should be."""
        for one in databases:
            try:
                if one.optional and not one.path.exists():
                    reason = f"{one.path}: no such file, and it is optional"
                    result = BackupResult(one.name, one.path, "skipped", reason)
                    self.record.results[one.path] = result
                else:
                    yield one
            except OSError as error:
                self.record.fail(one.name, one.path, as_keeper_error(error))

    def _lock_next(self, queue: deque[Database], held: ExitStack) -> Iterator[Locked]:
        """Lock the databases of the next batch, and take them off the queue."""
        size = count = 0
        while queue and count < BATCH_DATABASES:
            one = queue[0]
            size += self.staging.expected_bytes(one.name, one.path)
            if count and size > BATCH_BYTES:
                return
            try:
                # Nobody is waited for with locks in hand: those of a batch that is
                # under way will be given up whatever happens here.
                lock = self._lock(one.path, wait=not count)
            except LockedError as error:
                if count:
                    return
                self.record.fail(one.name, one.path, error)
            except (KeeperError, OSError) as error:
                self.record.fail(one.name, one.path, as_keeper_error(error))
            else:
                count += 1
                held.push(lock)
                yield one, lock
            queue.popleft()

    def _lock(self, path: Path, *, wait: bool) -> ExitStack:
        """Lock a database against other keeper runs.

        All waiting of the run together is bounded: one that hangs with a hundred locks
        must not keep this one for a hundred times as long.
        """
        began = time.monotonic()
        seconds = self.lock_wait_seconds if wait else 0.0
        try:
            with ExitStack() as lock:
                lock.enter_context(database_lock(self.state, path, wait_seconds=seconds))
                return lock.pop_all()
        finally:
            waited = time.monotonic() - began
            self.lock_wait_seconds = max(0.0, self.lock_wait_seconds - waited)

    def _take(self, locked: Sequence[Locked], queue: deque[Database], may_wait: bool) -> Batch:
        """Take snapshots; what finds no room goes back on the queue, if some is to come."""
        self._learn([one.name for one, _ in locked])
        results = in_order(locked, self._attempt, self.jobs, self.on_event)
        may_wait = may_wait or any(isinstance(one, StagedSnapshot) for one in results)
        crowded = [one for one in results if isinstance(one, NoRoomError)]
        if len(crowded) > 1 and self.jobs > 1 and not may_wait:
            # Read at once, they may have taken the room from one another.
            self.jobs, may_wait = 1, True
        batch, waiting = Batch([], []), []
        for (one, lock), result in zip(locked, results, strict=True):
            if isinstance(result, StagedSnapshot):
                batch.snapshots.append(result)
                batch.locks.append(lock)
                continue
            lock.close()
            if isinstance(result, NoRoomError) and may_wait:
                waiting.append(one)
            else:
                self.record.fail(one.name, one.path, result)
        queue.extendleft(reversed(waiting))
        return batch

    def _attempt(self, locked: Locked, on_event: Listener) -> StagedSnapshot | KeeperError:
        one, _ = locked
        try:
            return self.staging.take(one.name, one.path, on_event)
        except (KeeperError, OSError) as error:
            return as_keeper_error(error)

    def _learn(self, names: Sequence[str]) -> None:
        """See what other runs have shipped before they gave the locks up."""
        try:
            self.staging.earlier.learn(History(self.state).shipments(names))
        except KeeperError as error:
            self.on_event(Note("", f"{error}; everything is shipped again", Level.WARNING))
