"""Worker pools: results in order, ended by a signal all the same.

Python hands signals to the main thread alone. A worker that may take long asks
with `stop_if_asked` whether its pool was told to end.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

from sqlitekeeper.errors import RunInterruptedError
from sqlitekeeper.events import Event, Listener, Note

Item = TypeVar("Item")
Result = TypeVar("Result")

POLL_SECONDS = 0.2

# Of the pool that the current thread works in, and of all that wait for what it does.
_endings: ContextVar[tuple[threading.Event, ...]] = ContextVar("_endings", default=())


def stop_if_asked() -> None:
    """End this worker when its pool was told to.

    Raises:
        RunInterruptedError: it was.
    """
    if any(ending.is_set() for ending in _endings.get()):
        raise RunInterruptedError("interrupted")


def result_of(future: Future[Result]) -> Result:
    """What a future gives, when it is there; a signal is heard meanwhile.

    Python hears a signal when its main thread next runs code of its own. One that
    came just before the thread began to wait for a lock does not wake it, so it
    wakes by itself, time and again. So does a worker, whose pool may be told to end.

    Raises:
        RunInterruptedError: it was.
    """
    while not future.done():
        stop_if_asked()
        wait([future], POLL_SECONDS)
    return future.result()


class WorkerPool:
    """Threads that end together."""

    def __init__(self, pool: ThreadPoolExecutor, endings: tuple[threading.Event, ...]) -> None:
        self._pool = pool
        self._endings = endings

    def submit(self, work: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Have a thread do some work; its result, or what it raised, is the future's.

        It ends with this pool, and with the pool of the thread that asks for it.
        """
        context = copy_context()
        context.run(_endings.set, (*_endings.get(), *self._endings))
        return self._pool.submit(context.run, work, *arguments)


@contextmanager
def worker_pool(size: int) -> Iterator[WorkerPool]:
    """Some threads, told to end when this block ends by an exception; none outlives it."""
    ending = threading.Event()
    outer = _endings.get()
    with ThreadPoolExecutor(size, thread_name_prefix="keeper") as pool:
        try:
            yield WorkerPool(pool, (*outer, ending))
        except BaseException:
            ending.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def started(start: Callable[[], Result], end: Callable[[Result], object]) -> Iterator[Result]:
    """What `start` gives, such as a process, and `end` takes when this block ends.

    Another thread starts it: a signal that came in the middle would otherwise leave
    nobody who knows of it. The main thread alone hears signals.

    Raises:
        Exception: whatever `start` raises.
    """
    results: list[Result] = []
    try:
        with worker_pool(1) as starter:
            # A thread whose own start is interrupted is not waited for, so it has nothing to do.
            result_of(starter.submit(int))
            result_of(starter.submit(lambda: results.append(start())))
        yield results[0]
    finally:
        for result in results:
            end(result)


class _OrderedNotes:
    """Keeps the notes of one item until its turn has come; ticks go through."""

    def __init__(self, on_event: Listener) -> None:
        self._listen = on_event
        self._kept: list[Note] = []
        self._is_open = False
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, Note) and not self._is_open:
                self._kept.append(event)
            else:
                self._listen(event)

    def come(self) -> None:
        with self._lock:
            for note in self._kept:
                self._listen(note)
            self._kept.clear()
            self._is_open = True


def in_order(
    items: Sequence[Item],
    work: Callable[[Item, Listener], Result],
    jobs: int,
    on_event: Listener,
) -> list[Result]:
    """Work on `jobs` items at once; results and notes come in the order of the items.

    The first exception ends it all, and is raised.
    """
    report = one_at_a_time(on_event)
    results = []
    with worker_pool(max(1, min(jobs, len(items)))) as workers:
        turns = [_OrderedNotes(report) for _ in items]
        futures = [
            workers.submit(work, item, turn) for item, turn in zip(items, turns, strict=True)
        ]
        for future, turn in zip(futures, turns, strict=True):
            turn.come()
            results.append(result_of(future))
    return results


def one_at_a_time(on_event: Listener) -> Listener:
    """A listener that several threads may call: what they say does not get mixed."""
    lock = threading.Lock()

    def report(event: Event) -> None:
        with lock:
            on_event(event)

    return report
