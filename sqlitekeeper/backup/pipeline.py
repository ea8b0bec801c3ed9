"""Which database is at which step: locks, room, order.

Databases are read in their order, `jobs` small ones at once, and leave in batches: one large
database, or small ones up to BATCH_BYTES. While a batch is checked, uploaded and published
(batch.py), the next is read. STAGED_BATCHES are in the staging folder at the most: it never
holds more than the two largest databases, or two batches of small ones. Where even that does
not fit, a database waits until the batch before has left. A database is locked against other
keeper runs from its snapshot to its record. One that somebody else has locked is put off until
all others were taken, and then waited for together with all like it.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from sqlitekeeper.backup.batch import Batch, Queues
from sqlitekeeper.backup.model import StagedSnapshot
from sqlitekeeper.backup.record import RunRecord
from sqlitekeeper.backup.result import BackupResult
from sqlitekeeper.backup.snapshot import Staging
from sqlitekeeper.config.settings import Database
from sqlitekeeper.database.snapshot.snapshot import WAIT_SECONDS
from sqlitekeeper.errors import BusyError, KeeperError, LockedError, NoRoomError, as_keeper_error
from sqlitekeeper.events import Level, Listener, Note
from sqlitekeeper.lock_wait import FIRST_SECONDS, LockWait, waits_at_most
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
    runs_wait: LockWait
    on_event: Listener
    locks_wait: LockWait = field(default_factory=lambda: LockWait(WAIT_SECONDS))
    put_off: list[Database] = field(default_factory=list)
    # How long one of them may wait for other runs, and for the application.
    turns: tuple[float, float] = 0.0, FIRST_SECONDS
    is_crowded: bool = False

    def run(self, databases: Sequence[Database]) -> None:
        """Bring databases through all steps."""
        queue = deque(self._present(databases))
        staged: deque[Future[None]] = deque()
        unrecorded: deque[Future[None]] = deque()
        with ExitStack() as held:
            while queue or self.put_off:
                if len(staged) == STAGED_BATCHES:
                    result_of(staged.popleft())
                if len(unrecorded) == MOST_BATCHES:
                    result_of(unrecorded.popleft())
                if not queue:
                    self._wait_for_locks(queue)
                batch = self._take(list(self._lock_next(queue, held)), queue, bool(staged))
                if batch.snapshots:
                    left, recorded = self.queues.add(batch)
                    staged.append(left)
                    unrecorded.append(recorded)
                elif staged and self.is_crowded:
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

    def _wait_for_locks(self, queue: deque[Database]) -> None:
        """Queue once more what was put off, and share the wait that is left."""
        queue.extend(self.put_off)
        self.put_off.clear()
        self.turns = self.runs_wait.turn(len(queue)), self.locks_wait.turn(len(queue), self.jobs)

    def _put_off(self, one: Database, error: KeeperError, wait: LockWait) -> None:
        """Try a database that is locked once more in the end; when the wait is over it fails."""
        if not wait.goes_on:
            self.record.fail(one.name, one.path, error)
            return
        if wait.is_new:
            text = f"{error.message}; it is tried again when the others are done"
            self.on_event(Note(one.name, text))
        self.put_off.append(one)

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
                self._put_off(one, error, self.runs_wait)
            except (KeeperError, OSError) as error:
                self.record.fail(one.name, one.path, as_keeper_error(error))
            else:
                count += 1
                held.push(lock)
                yield one, lock
            queue.popleft()

    def _lock(self, path: Path, *, wait: bool) -> ExitStack:
        """Lock a database against other keeper runs."""
        seconds = self.turns[0] if wait else 0.0
        with ExitStack() as lock:
            lock.enter_context(database_lock(self.state, path, wait_seconds=seconds))
            return lock.pop_all()

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
            elif isinstance(result, BusyError):
                self._put_off(one, result, self.locks_wait)
            else:
                self.record.fail(one.name, one.path, result)
        queue.extendleft(reversed(waiting))
        self.is_crowded = bool(waiting)
        return batch

    def _attempt(self, locked: Locked, on_event: Listener) -> StagedSnapshot | KeeperError:
        one, _ = locked
        try:
            with waits_at_most(self.turns[1]):
                return self.staging.take(one.name, one.path, on_event)
        except (KeeperError, OSError) as error:
            return as_keeper_error(error)

    def _learn(self, names: Sequence[str]) -> None:
        """See what other runs have shipped before they gave the locks up."""
        try:
            self.staging.earlier.learn(History(self.state).shipments(names))
        except KeeperError as error:
            self.on_event(Note("", f"{error}; everything is shipped again", Level.WARNING))
