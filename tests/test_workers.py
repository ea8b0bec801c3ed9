"""Several things at once, told in order and ended by a signal."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from types import FrameType

import pytest

from sqlitekeeper.errors import RunInterruptedError
from sqlitekeeper.events import Event, Listener, Note, Tick
from sqlitekeeper.workers import in_order, started, stop_if_asked, worker_pool
from tests.conftest import REPOSITORY, WAIT_SECONDS, wait_until


def test_results_and_notes_come_in_the_order_of_the_items() -> None:
    """Also when the first item is done last."""
    second_done = threading.Event()
    heard: list[Event] = []

    def work(item: int, on_event: Listener) -> int:
        if item == 1:
            assert second_done.wait(30)
        on_event(Note(str(item), "done"))
        if item == 2:
            second_done.set()
        return item * 10

    assert in_order([1, 2], work, 2, heard.append) == [10, 20]
    assert [one.subject for one in heard] == ["1", "2"]


def test_the_item_whose_turn_it_is_is_heard_at_once() -> None:
    """A log that only came in the end would be no help."""
    heard = threading.Event()

    def work(item: int, on_event: Listener) -> None:
        on_event(Note("", "begun"))
        assert heard.wait(30)

    in_order([1], work, 1, lambda event: heard.set())


def test_ticks_do_not_wait() -> None:
    """Progress is about now."""
    ticked = threading.Event()

    def work(item: int, on_event: Listener) -> None:
        if item == 1:
            assert ticked.wait(30)
        else:
            on_event(Tick("", "check", 1, 2))

    in_order([1, 2], work, 2, lambda event: ticked.set())


def test_no_more_than_the_given_number_work_at_once() -> None:
    """--jobs is a promise."""
    working, most, lock = 0, 0, threading.Lock()

    def work(item: int, on_event: Listener) -> None:
        nonlocal working, most
        with lock:
            working += 1
            most = max(most, working)
        time.sleep(0.001)
        with lock:
            working -= 1

    in_order(range(20), work, 3, lambda event: None)

    assert most <= 3


def test_exception_ends_the_others() -> None:
    """Nobody goes on after an interruption."""
    begun, ended = threading.Event(), threading.Event()

    def work(item: int, on_event: Listener) -> None:
        if item == 1:
            assert begun.wait(30)
            raise RunInterruptedError("ended by SIGTERM")
        begun.set()
        try:
            while True:
                stop_if_asked()
                time.sleep(0.001)
        except RunInterruptedError:
            ended.set()
            raise

    with pytest.raises(RunInterruptedError, match="SIGTERM"):
        in_order([1, 2], work, 2, lambda event: None)

    assert ended.is_set()


def test_crew_within_a_crew_hears_the_outer_ending() -> None:
    """The check of a snapshot belongs to the run."""
    inside = threading.Event()

    def inner() -> None:
        inside.set()
        while True:
            stop_if_asked()
            time.sleep(0.001)

    def outer() -> None:
        with worker_pool(1) as workers:
            workers.submit(inner).result()

    def interrupted() -> None:
        with worker_pool(1) as workers:
            futures.append(workers.submit(outer))
            assert inside.wait(30)
            raise KeyboardInterrupt

    futures: list[Future[None]] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert isinstance(futures[0].exception(), RunInterruptedError)


def test_work_for_another_crew_ends_with_that_crew() -> None:
    """One prover checks for the whole run: what nobody waits for any more is not worth a minute."""
    inside, give_up = threading.Event(), threading.Event()

    def check() -> None:
        inside.set()
        while not give_up.is_set():
            stop_if_asked()
            time.sleep(0.001)

    def interrupted() -> None:
        with worker_pool(1) as workers:
            futures.append(workers.submit(lambda: prover.submit(check).result()))
            assert inside.wait(30)
            raise KeyboardInterrupt

    futures: list[Future[None]] = []
    stall_watch = threading.Timer(5, give_up.set)
    stall_watch.start()
    with worker_pool(1) as prover, pytest.raises(KeyboardInterrupt):
        interrupted()
    stall_watch.cancel()

    assert isinstance(futures[0].exception(), RunInterruptedError)


def test_outside_of_a_crew_nobody_asks() -> None:
    """The main thread hears signals itself."""
    stop_if_asked()


UNHEARD = """
import signal, sys, threading, time
from sqlitekeeper.errors import RunInterruptedError
from sqlitekeeper.workers import worker_pool, in_order, result_of, stop_if_asked

def interrupt(*arguments):
    raise RunInterruptedError("interrupted")

def work(*arguments):
    # Its main thread is not woken: as if the signal had come just before that began to wait.
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    while True:
        stop_if_asked()
        time.sleep(0.001)

signal.signal(signal.SIGTERM, interrupt)
try:
    if sys.argv[1] == "in order":
        in_order([1, 2], work, 2, print)
    else:
        with worker_pool(1) as workers:
            result_of(workers.submit(work))
except RunInterruptedError:
    print("interrupted")
"""


@pytest.mark.parametrize("way", ["in order", "result"])
def test_signal_that_does_not_wake_the_main_thread_is_heard_all_the_same(way: str) -> None:
    """Ctrl-C in the wrong microsecond, and nobody would hear it before the work is done."""
    run = subprocess.run(
        [sys.executable, "-c", UNHEARD, way],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
    )

    assert (run.stdout, run.stderr) == ("interrupted\n", "")


@pytest.mark.parametrize("attempt", range(5))
def test_what_is_started_is_ended_though_a_signal_comes_in_the_middle(attempt: int) -> None:
    """Of a process whose start is interrupted nobody would have the number."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        heard.set()
        raise RunInterruptedError("interrupted")

    def start() -> str:
        os.kill(os.getpid(), signal.SIGUSR1)
        wait_until(heard.is_set)
        return f"process {attempt}"

    def use() -> None:
        with started(start, ended.append):
            pytest.fail("it is not used any more")

    ended: list[str] = []
    heard = threading.Event()
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(RunInterruptedError):
            use()
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert ended == [f"process {attempt}"]


def test_what_cannot_be_started_is_not_ended() -> None:
    """The error is that of the start."""
    ended: list[object] = []

    def start() -> None:
        raise FileNotFoundError("no such program")

    def use() -> None:
        with started(start, ended.append):
            pytest.fail("there is nothing")

    with pytest.raises(FileNotFoundError):
        use()

    assert ended == []
