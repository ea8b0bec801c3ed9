"""Databases are read while those before them are checked and shipped.

    queue --> claim: lock some databases --> take: snapshot, sha256      (--jobs at once)
                                               |
    the next batch is taken meanwhile          v
                             +-- prove: integrity, row counts --+
                             |                                  |
                             +-- upload: rclone, many files ----+        deliver
                             |                                  |
    the next batch is        v                                  v
    uploaded meanwhile       read back --> manifests, latest.json, record     finish
                                           (of some batches in one go)

A batch is one large database, or small ones up to BATCH_BYTES. It leaves the
staging folder when it is delivered, and only STAGED_BATCHES are in there, be they
taken or delivered: the folder never holds more than the two largest databases, or
two batches of small ones. Where even that does not fit, a database waits until the
batch before has left.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sqlitekeeper.backup.model import Delivered, Taken
from sqlitekeeper.backup.publish import Finisher
from sqlitekeeper.errors import KeeperError, LockedError, NoRoomError, as_keeper_error
from sqlitekeeper.events import Listener
from sqlitekeeper.workers import Place, in_order, result_of, worker_pool

BATCH_BYTES = 64 * 2**20
# Each holds a lock file open: those of three batches stay far below the usual 1,024.
BATCH_DATABASES = 150
STAGED_BATCHES = 2
# How much larger than the first the second of two may be that are read at once.
ALIKE = 1.2


@dataclass(frozen=True, slots=True)
class Job:
    """One database to back up; an `optional` one may be absent."""

    name: str
    path: Path
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """A job whose database is locked against other keeper runs until `lock` is closed."""

    job: Job
    lock: ExitStack = field(default_factory=ExitStack)


# A batch that is being delivered, whose future gives that of its finish; its databases.
Shipping = tuple[Future[Future[None]], int]


class Work(Protocol):
    """What a backup run does at each station."""

    def expected_bytes(self, job: Job) -> int:
        """About how large the snapshot will be; 0 where none is needed."""

    def has_room(self, size: int) -> bool:
        """Whether snapshots of so many bytes together fit into the staging folder now."""

    def lock(self, job: Job, *, wait: bool) -> ExitStack:
        """Lock a database, waiting for other runs or not."""

    def prepare(self, jobs: list[Job]) -> None:
        """See what others have done to these databases before they were locked."""

    def take(self, job: Job, on_event: Listener) -> Taken:
        """Make the snapshot."""

    def deliver(self, batch: list[Taken], place: Place) -> Delivered:
        """Prove and upload a batch, and remove it from the staging folder.

        Uploading starts when its turn comes and ends the turn.
        """

    def finish(self, batches: Sequence[Delivered]) -> None:
        """Announce and record batches."""

    def fail(self, job: Job, error: KeeperError) -> None:
        """Note why a database is not backed up."""


def run_pipeline(work: Work, queue: deque[Job], jobs: int, on_event: Listener) -> None:
    """Bring all jobs through the stations; `jobs` small databases, or two large ones, are read
    at once.
    """
    with ExitStack() as held, worker_pool(STAGED_BATCHES) as shippers, worker_pool(1) as thread:
        finisher = Finisher(work, thread)

        def deliver(
            batch: list[tuple[Claim, Taken]], place: Place, before: Future[Future[None]] | None
        ) -> Future[None]:
            try:
                try:
                    delivered = work.deliver([taken for _, taken in batch], place)
                finally:
                    place.leave()
                if before:
                    # Batches are finished in their order, whichever is delivered first.
                    result_of(before)
            except BaseException:
                finisher.give_up()
                raise
            return finisher.finish(delivered, [claim.lock for claim, _ in batch])

        place: Place | None = None
        shipping: deque[Shipping] = deque()
        finishing: deque[tuple[Future[None], int]] = deque()
        while queue or shipping:
            claims = list(_claim(work, queue, held))
            is_pair = jobs > 1 and not shipping and _is_pair(work, claims, queue)
            if is_pair:
                # Nothing else goes on yet: the next large one is read at the same time.
                claims += _claim(work, queue, held, in_hand=True)
            taken = _take(work, claims, queue, jobs, on_event, may_wait=bool(shipping))
            batches = [[one] for one in taken] if is_pair else [taken]
            for batch in filter(None, batches):
                place = Place(place)
                before = shipping[-1][0] if shipping else None
                finisher.expect()
                shipping.append((shippers.submit(deliver, batch, place, before), len(batch)))
            if len(shipping) == STAGED_BATCHES or (shipping and not taken):
                future, databases = shipping.popleft()
                finishing.append((result_of(future), databases))
                # What waits to be finished keeps its locks meanwhile.
                while sum(count for _, count in finishing) > BATCH_DATABASES:
                    result_of(finishing.popleft()[0])
        for ended, _ in finishing:
            result_of(ended)


def _is_pair(work: Work, claims: list[Claim], queue: deque[Job]) -> bool:
    """Whether a database that was claimed and the next are both large, with room for both.

    The next is not much larger: the first is not uploaded before both are read.
    """
    if len(claims) != 1 or not queue:
        return False
    first, second = work.expected_bytes(claims[0].job), work.expected_bytes(queue[0])
    alike = second <= first * ALIKE
    return second > BATCH_BYTES and alike and work.has_room(first + second)


def _claim(
    work: Work, queue: deque[Job], held: ExitStack, *, in_hand: bool = False
) -> Iterator[Claim]:
    """Lock the jobs of the next batch, and take them off the queue.

    `in_hand` is whether locks are held for what nobody works on yet.
    """
    size = count = 0
    while queue and count < BATCH_DATABASES:
        job = queue[0]
        size += work.expected_bytes(job)
        if count and size > BATCH_BYTES:
            return
        try:
            # Nobody is waited for with locks in hand: those of a batch that is
            # under way will be given up whatever happens here.
            lock = work.lock(job, wait=not count and not in_hand)
        except LockedError as error:
            if count or in_hand:
                return
            work.fail(job, error)
        except (KeeperError, OSError) as error:
            work.fail(job, as_keeper_error(error))
        else:
            count += 1
            held.push(lock)
            yield Claim(job, lock)
        queue.popleft()


def _take(
    work: Work,
    claims: list[Claim],
    queue: deque[Job],
    jobs: int,
    on_event: Listener,
    *,
    may_wait: bool,
) -> list[tuple[Claim, Taken]]:
    """Take snapshots of what was claimed; what finds no room now goes back on the queue."""

    def attempt(claim: Claim, on_event: Listener) -> Taken | KeeperError:
        try:
            return work.take(claim.job, on_event)
        except (KeeperError, OSError) as error:
            return as_keeper_error(error)

    work.prepare([claim.job for claim in claims])
    results = in_order(claims, attempt, jobs, on_event)
    crowded = [n for n, result in enumerate(results) if isinstance(result, NoRoomError)]
    if len(crowded) > 1 and not may_wait and not any(isinstance(r, Taken) for r in results):
        # Read at once, they may have taken the room from one another.
        again = in_order([claims[n] for n in crowded], attempt, 1, on_event)
        for n, result in zip(crowded, again, strict=True):
            results[n] = result
    batch: list[tuple[Claim, Taken]] = []
    rest: list[tuple[Claim, KeeperError]] = []
    for claim, result in zip(claims, results, strict=True):
        if isinstance(result, KeeperError):
            rest.append((claim, result))
        else:
            batch.append((claim, result))
    for claim, error in reversed(rest):
        claim.lock.close()
        if isinstance(error, NoRoomError) and (batch or may_wait):
            queue.appendleft(claim.job)
        else:
            work.fail(claim.job, error)
    return batch
