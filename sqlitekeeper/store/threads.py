"""Threads that compress and unpack, where cores are idle."""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

from sqlitekeeper.workers import result_of, stop_if_asked, worker_pool

Item = TypeVar("Item")
Result = TypeVar("Result")

NICE = 5


def in_threads(
    threads: int, work: Callable[[Item], Result], items: Iterable[Item]
) -> Generator[Result, None, None]:
    """Work on items in threads; results come in order, and few items are held at once.

    The threads give way to the application. The caller closes the iterator.
    """

    def nicely(item: Item) -> Result:
        # Of a thread alone, as Linux has it; elsewhere it would be the whole process.
        if sys.platform == "linux":
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        return work(item)

    with worker_pool(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            stop_if_asked()
            if len(waiting) == threads:
                yield result_of(waiting.popleft())
            waiting.append(pool.submit(nicely, item))
            # Not held while the next one is made.
            del item
        while waiting:
            yield result_of(waiting.popleft())
