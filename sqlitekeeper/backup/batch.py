"""One batch's way: checked while it is uploaded, read back, published, recorded.

Each step has a queue and a thread of its own, and every batch passes them in order:

    check            one for all: a thread would keep the cache of every check it ever made
    encode           what is stored is made, unless that is the plain file
    upload           to one destination after the other
    leave            what is checked and uploaded leaves the staging folder
    publish          at each destination: read back, wait for the check, manifests
    record           wait for all destinations, remember, give the locks up

A destination that hangs when it is read back holds up no other. What fails its check was
uploaded to the first destination for nothing and is deleted again; until then it is an object
without a manifest, which nobody takes for a snapshot.
"""

import errno
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlitekeeper.backup.check import Checker
from sqlitekeeper.backup.encode import Encoded, Encoder
from sqlitekeeper.backup.model import CheckedSnapshot, StagedSnapshot, StoredSnapshot
from sqlitekeeper.backup.publish import publish
from sqlitekeeper.backup.record import AtDestination, RunRecord
from sqlitekeeper.backup.upload import Uploader
from sqlitekeeper.errors import KeeperError, NoRoomError, as_keeper_error
from sqlitekeeper.events import Level, Listener, Note, Tick
from sqlitekeeper.workers import WorkerPool, result_of, worker_pool

Checks = list[CheckedSnapshot | KeeperError]
# By database.
Encodings = dict[str, Encoded | KeeperError]


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What of a batch was uploaded to one destination, and what went wrong, by database."""

    snapshots: list[StoredSnapshot]
    problems: dict[str, str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Batch:
    """Snapshots that go together, until their `locks` are given up."""

    snapshots: list[StagedSnapshot]
    locks: list[ExitStack]


@dataclass(frozen=True, slots=True)
class Queues:
    """A thread for each step; at destinations those of each, in the order of the run's."""

    checker: Checker
    encoder: Encoder
    uploaders: Sequence[Uploader]
    record: RunRecord
    clock: Callable[[], datetime]
    on_event: Listener
    check_queue: WorkerPool
    encode_queue: WorkerPool
    upload_queue: WorkerPool
    leave_queue: WorkerPool
    publish_queues: Sequence[WorkerPool]
    record_queue: WorkerPool

    def add(self, batch: Batch) -> tuple[Future[None], Future[None]]:
        """Queue a batch at every step; returns when it has left staging, and when it is done."""
        checks = self.check_queue.submit(self._check, batch)
        encodings = self.encode_queue.submit(self._encode, batch)
        uploads: list[Future[Uploaded]] = []
        published = {}
        for uploader, queue in zip(self.uploaders, self.publish_queues, strict=True):
            uploading = self.upload_queue.submit(self._upload, batch, uploader, checks, encodings)
            uploads.append(uploading)
            to = uploader.destination.to
            published[to] = queue.submit(self._publish, uploader, uploading, checks, encodings)
        left = self.leave_queue.submit(self._leave_staging, batch, checks, encodings, uploads)
        return left, self.record_queue.submit(self._record, batch, checks, encodings, published)

    def _check(self, batch: Batch) -> Checks:
        checked: Checks = []
        for snapshot in batch.snapshots:
            try:
                checked.append(self.checker.check(snapshot, self.on_event))
            except (KeeperError, OSError) as error:
                checked.append(as_keeper_error(error))
        return checked

    def _encode(self, batch: Batch) -> Encodings:
        encoded: Encodings = {}
        for snapshot in batch.snapshots:
            try:
                encoded[snapshot.name] = self.encoder.encode(snapshot)
            except (KeeperError, OSError) as error:
                encoded[snapshot.name] = _trouble(error, self.checker.staging.folder.parent)
        return encoded

    def _upload(
        self,
        batch: Batch,
        uploader: Uploader,
        checks: Future[Checks],
        encodings: Future[Encodings],
    ) -> Uploaded:
        """Upload what a destination does not hold yet; all but the first wait for the check."""
        destination = uploader.destination
        if destination.error:
            # Why is told once, at the start of the run.
            text = f"{destination.to} could not be listed, so nothing was shipped there"
            return Uploaded([], {one.name: text for one in batch.snapshots}, 0.0)
        snapshots = batch.snapshots
        if uploader is not self.uploaders[0]:
            snapshots = [one.staged for one in _sound(result_of(checks))]
        encoded = {one.name: result_of(encodings)[one.name] for one in snapshots}
        failed = {
            name: one.full_text for name, one in encoded.items() if isinstance(one, KeeperError)
        }
        began = time.monotonic()
        sent = [
            one[destination.to]
            for one in encoded.values()
            if not isinstance(one, KeeperError) and destination.to in one
        ]
        total = sum(one.bytes for one in sent)
        about = sent[0].name if sent else ""
        if len(sent) > 1:
            about += f" and {len(sent) - 1} more"
        problems = failed | uploader.upload(
            sent, lambda done: self.on_event(Tick(about, "upload", done, total))
        )
        arrived = [one for one in sent if one.name not in problems]
        return Uploaded(arrived, problems, time.monotonic() - began)

    def _leave_staging(
        self,
        batch: Batch,
        checks: Future[Checks],
        encodings: Future[Encodings],
        uploads: Sequence[Future[Uploaded]],
    ) -> None:
        result_of(checks)
        for uploaded in uploads:
            result_of(uploaded)
        for snapshot in batch.snapshots:
            encoded = result_of(encodings)[snapshot.name]
            self.encoder.leave_staging(
                snapshot, {} if isinstance(encoded, KeeperError) else encoded
            )

    def _publish(
        self,
        uploader: Uploader,
        uploading: Future[Uploaded],
        checks: Future[Checks],
        encodings: Future[Encodings],
    ) -> AtDestination:
        """Read back what was uploaded, delete what is not sound, and publish the rest."""
        uploaded = result_of(uploading)
        began = time.monotonic()
        problems = uploaded.problems | uploader.read_back(uploaded.snapshots)
        seconds = uploaded.seconds + time.monotonic() - began
        sound = _sound(_described(result_of(checks), result_of(encodings)))
        began = time.monotonic()
        names = {one.staged.name for one in sound}
        self._withdraw(
            uploader, [one.object for one in uploaded.snapshots if one.name not in names]
        )
        arrived = [one for one in sound if one.staged.name not in problems]
        confirmed_at = self.clock()
        problems |= publish(
            uploader.rclone, uploader.folder, uploader.destination, arrived, confirmed_at
        )
        return AtDestination(problems, confirmed_at, seconds + time.monotonic() - began)

    def _withdraw(self, uploader: Uploader, unsound: Sequence[str]) -> None:
        """Delete snapshots that failed their checks, whatever has arrived of them."""
        if problem := uploader.withdraw(unsound):
            text = f"{', '.join(unsound)} failed its check and could not be deleted: {problem}"
            text += "; without a manifest it is not taken for a snapshot"
            text += f" at {uploader.destination.to}"
            self.on_event(Note("", text, Level.WARNING))

    def _record(
        self,
        batch: Batch,
        checks: Future[Checks],
        encodings: Future[Encodings],
        published: dict[str, Future[AtDestination]],
    ) -> None:
        try:
            checked = _described(result_of(checks), result_of(encodings))
            there = {to: result_of(future) for to, future in published.items()}
            self.record.add(batch.snapshots, checked, there)
            self.encoder.forget_bases([one.name for one in batch.snapshots])
        finally:
            for lock in batch.locks:
                lock.close()


def _described(checks: Checks, encodings: Encodings) -> Checks:
    """What was checked, with manifests that say how it is stored."""
    described: Checks = []
    for one in checks:
        encoded = None if isinstance(one, KeeperError) else encodings[one.staged.name]
        if isinstance(one, KeeperError) or encoded is None or isinstance(encoded, KeeperError):
            described.append(one)
        else:
            described.append(one.stored(encoded))
    return described


def _trouble(error: KeeperError | OSError, staging: Path) -> KeeperError:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoRoomError(
            f"{staging}: has no room for what is to be stored of the snapshot, beside it",
            hint="point backup.staging in keeper.toml at a larger file system",
        )
    return as_keeper_error(error)


def _sound(checked: Checks) -> list[CheckedSnapshot]:
    return [one for one in checked if isinstance(one, CheckedSnapshot)]


@contextmanager
def batch_queues(
    checker: Checker,
    encoder: Encoder,
    uploaders: Sequence[Uploader],
    record: RunRecord,
    clock: Callable[[], datetime],
    on_event: Listener,
) -> Iterator[Queues]:
    """The queues of a run, whose threads end with this block."""
    with ExitStack() as pools:
        publish = [pools.enter_context(worker_pool(1)) for _ in uploaders]
        check, encode, upload, leave, last = (pools.enter_context(worker_pool(1)) for _ in range(5))
        yield Queues(
            checker,
            encoder,
            uploaders,
            record,
            clock,
            on_event,
            check_queue=check,
            encode_queue=encode,
            upload_queue=upload,
            leave_queue=leave,
            publish_queues=publish,
            record_queue=last,
        )
