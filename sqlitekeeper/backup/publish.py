"""Finishing batches, several in one go where the next is about to come.

To announce and record a batch takes some runs of rclone, as many for one large database
as for a hundred small ones.
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from sqlitekeeper.backup.model import Delivered
from sqlitekeeper.backup.result import BackupResult
from sqlitekeeper.errors import CheckError, KeeperError
from sqlitekeeper.workers import POLL_SECONDS, WorkerPool, stop_if_asked

GATHERED_DATABASES = 4
GATHER_SECONDS = 5.0


def failed(name: str, path: Path, error: KeeperError) -> BackupResult:
    """The result of a database that could not be backed up."""
    return BackupResult(
        name,
        path,
        "failed",
        error.full_text,
        check="failed" if isinstance(error, CheckError) else None,
        exit_code=error.exit_code,
    )


class Finishing(Protocol):
    """What can finish batches."""

    def finish(self, batches: Sequence[Delivered]) -> None:
        """Announce and record batches."""


class Finisher:
    """Has batches finished by one thread, and their locks given up.

    What is delivered waits for what is under way, for a few seconds at the most.
    """

    def __init__(self, work: Finishing, thread: WorkerPool) -> None:
        self._work = work
        self._thread = thread
        self._changed = threading.Condition()
        self._under_way = 0
        self._waiting: list[tuple[Delivered, Sequence[ExitStack]]] = []

    def expect(self) -> None:
        """Take note that a batch is under way, of which `finish` or `give_up` will tell."""
        with self._changed:
            self._under_way += 1

    def give_up(self) -> None:
        """A batch will not be delivered."""
        with self._changed:
            self._under_way -= 1
            self._changed.notify()

    def finish(self, delivered: Delivered, locks: Sequence[ExitStack]) -> Future[None]:
        """Have a batch finished; the future ends when it is, and its locks are given up."""
        with self._changed:
            self._under_way -= 1
            self._waiting.append((delivered, locks))
            self._changed.notify()
        return self._thread.submit(self._finish)

    def _finish(self) -> None:
        gathered = self._gather()
        try:
            # A batch may have been finished with the one before.
            if gathered:
                self._work.finish([delivered for delivered, _ in gathered])
        finally:
            for _, locks in gathered:
                for lock in locks:
                    lock.close()

    def _gather(self) -> list[tuple[Delivered, Sequence[ExitStack]]]:
        deadline = time.monotonic() + GATHER_SECONDS
        with self._changed:
            while self._is_worth_waiting() and (left := deadline - time.monotonic()) > 0:
                stop_if_asked()
                self._changed.wait(min(left, POLL_SECONDS))
            gathered, self._waiting = self._waiting, []
        return gathered

    def _is_worth_waiting(self) -> bool:
        """Whether more may come soon, and what is here would not be lost at much cost.

        An interrupted run has to upload unpublished batches again.
        """
        databases = sum(len(locks) for _, locks in self._waiting)
        is_cheap = all(delivered.seconds < GATHER_SECONDS for delivered, _ in self._waiting)
        return 0 < databases < GATHERED_DATABASES and self._under_way > 0 and is_cheap
