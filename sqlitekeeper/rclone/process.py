"""The one place that runs rclone: one that serves a run, and those that do one thing and end.

What is watched is progress, not time: an upload over a slow line may take days.
rclone counts a part of a file as done when it has read it into its memory
(measured: 1.60 and 1.75, S3), so that with large parts its own figures stand
still for long while bytes move. Hence the kernel's count of what the process
reads and writes is asked too, where there is one.

No rclone outlives keeper, be keeper killed. One that does one thing reports several times
a second, and the Go runtime ends a program whose standard error nobody reads any more.
"""

import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from sqlitekeeper.rclone.errors import RcloneError
from sqlitekeeper.rclone.log import Log
from sqlitekeeper.workers import started, stop_if_asked

# Private whatever the destination: snapshots in a local folder are files like any other.
UMASK = 0o077
STOP_SECONDS = 5.0
POLL_SECONDS = 0.5
# Of rclone's session, beside those of the applications, see _give_way.
NICE = 10
# A try to connect moves a few KB, also where nobody answers; so little is no progress.
NOISE_BYTES = 64 * 1024
# The listing of a million objects is about 150 MB.
LONGEST_OUTPUT = 2**30
READ_BYTES = 64 * 1024
# The shell becomes rclone, whose group the background one is of. No process id is waited for
# or told to end: another process may have it by then.
_WITH_KEEPER = (
    'exec 3<&0; (trap "" TERM; read -r end <&3; kill -TERM 0; sleep 3; kill -KILL 0)'
    ' >/dev/null 2>&1 & exec "$@" 3<&- </dev/null'
)


class StalledError(Exception):
    """Nothing has moved for as long as was to be waited."""


def run_process(
    command: Sequence[str],
    *,
    names: Iterable[str] | None,
    environment: Mapping[str, str],
    timeout_seconds: float,
    log: Log,
) -> tuple[int, str]:
    """Run rclone to its end; its status (negative: the signal) and its standard output.

    It gets `names` on its standard input, one on a line. What it says goes to
    `log`. It has no terminal, so that it cannot ask anyone anything, and may be
    run from several threads at once.

    Raises:
        RcloneError: it cannot be started, answers without end, or there is no room for `names`.
        StalledError: for `timeout_seconds` it got no further; it was ended.
    """
    # Files without a name: a run that is killed leaves nothing behind.
    with (
        tempfile.TemporaryFile(buffering=0) as output,
        tempfile.TemporaryFile(buffering=0) as listed,
    ):
        text = "".join(f"{name}\n" for name in sorted(names or ())).encode()
        try:
            while text:
                text = text[listed.write(text) :]
            listed.seek(0)
        except OSError as error:
            raise RcloneError(
                f"{tempfile.gettempdir()}: cannot be written to ({error.strerror})",
                hint="make room there, or set TMPDIR to another folder",
            ) from None
        start = partial(
            subprocess.Popen[bytes],
            command,
            stdin=listed,
            stdout=output,
            stderr=subprocess.PIPE,
            env=environment,
            umask=UMASK,
            start_new_session=True,
        )
        with ExitStack() as stack:
            try:
                process = stack.enter_context(started(start, _end))
            except OSError as error:
                raise RcloneError(f"{command[0]}: cannot be run ({error.strerror})") from None
            stall_watch = StallWatch(timeout_seconds, partial(_signs, process.pid, output, log))
            _listen(process, log, stall_watch)
            status = process.wait()
        output.seek(0)
        return status, output.read().decode(errors="replace")


def _listen(process: subprocess.Popen[bytes], log: Log, stall_watch: "StallWatch") -> None:
    """Read a process's log until it has ended, even if a child of it still has the log open."""
    stream = process.stderr
    assert stream is not None
    poll = select.poll()
    poll.register(stream, select.POLLIN)
    closed = gives_way = False
    while True:
        stop_if_asked()
        if process.returncode is None and not gives_way:
            gives_way = _give_way(process.pid)
        ended = process.poll() is not None
        if closed:
            if ended:
                break
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
        elif poll.poll(0 if ended else POLL_SECONDS * 1000):
            data = os.read(stream.fileno(), READ_BYTES)
            log.take(data)
            closed = not data
        elif ended:
            break
        stall_watch.check()
        if stall_watch.is_over:
            raise StalledError
    log.end()


def _signs(pid: int, output: IO[bytes], log: Log) -> "Signs":
    """Signs of a process's progress.

    Raises:
        RcloneError: there is no end to its answer.
    """
    output_bytes = os.fstat(output.fileno()).st_size
    if output_bytes > LONGEST_OUTPUT:
        raise RcloneError(
            "rclone's answer is longer than 1 GiB, so it was ended",
            hint="is it really rclone? `rclone version` should say so",
        )
    return Signs(log.progress, moved_bytes(pid) - log.bytes, output_bytes)


def _give_way(pid: int) -> bool:
    """Have applications go first where rclone wants the same processor; False: ask again.

    Linux shares processors between sessions (sched(7), "autogroup"), and rclone's is one of its
    own: it would get as much as all of an application, whose commits then wait for up to 150 ms
    (measured beside a writer without pause, on 2 cores; 12 to 28 ms with this). Where cgroups
    share them out, as between systemd's services with weights, this changes nothing.
    """
    try:
        Path(f"/proc/{pid}/autogroup").write_text(str(NICE))
    except BlockingIOError:
        # The kernel lets ordinary users do so every 100 ms.
        return False
    except OSError:
        return True  # there is no such thing here
    return True


@dataclass(frozen=True, slots=True)
class Signs:
    """How far a process has come: rclone's own figures, bytes moved, bytes answered."""

    figures: int
    moved_bytes: int
    answer_bytes: int


class StallWatch:
    """How long something has not got any further; `is_over` once that was too long."""

    def __init__(self, seconds: float, signs: Callable[[], Signs]) -> None:
        self.is_over = False
        self._seconds = seconds
        self._signs = signs
        self._last = Signs(0, 0, 0)
        self._since = self._looked = time.monotonic()

    def check(self) -> None:
        """Look for signs of progress, a few times a second at the most."""
        now = time.monotonic()
        if now - self._looked < POLL_SECONDS / 2:
            return
        self._looked = now
        signs, last = self._signs(), self._last
        if (
            signs.figures != last.figures
            or signs.moved_bytes >= last.moved_bytes + NOISE_BYTES
            or signs.answer_bytes > last.answer_bytes
        ):
            self._last, self._since = signs, now
        elif now - self._since >= self._seconds:
            self.is_over = True


def moved_bytes(pid: int) -> int:
    """What a process has read and written: proc(5), /proc/pid/io."""
    try:
        text = Path(f"/proc/{pid}/io").read_bytes()
        facts = dict(line.split(b": ") for line in text.splitlines())
        return int(facts[b"rchar"]) + int(facts[b"wchar"])
    except (OSError, ValueError, KeyError):
        return 0


class Process:
    """An rclone that serves until it is ended, or keeper has ended, however that did.

    A shell in its process group waits for the end of a pipe that keeper has open, and ends
    the group then: rclone itself has nothing to say to anyone that it could notice it by.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Log) -> None:
        self._log = log
        self._stack = ExitStack()
        start = partial(
            subprocess.Popen[bytes],
            ["/bin/sh", "-c", _WITH_KEEPER, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            umask=UMASK,
            start_new_session=True,
        )
        try:
            self._process = self._stack.enter_context(started(start, _end))
        except OSError as error:
            raise RcloneError(f"{command[0]}: cannot be run ({error.strerror})") from None
        self.pid = self._process.pid
        self._reader = threading.Thread(target=_take_log, args=(self._process, log), daemon=True)
        self._reader.start()

    def status(self, wait_seconds: float = 0) -> int | None:
        """Its exit status, or that which it has in a moment; None while it runs."""
        try:
            status: int = self._process.wait(wait_seconds)
        except subprocess.TimeoutExpired:
            return None
        self._reader.join(POLL_SECONDS)
        return status

    def end(self) -> None:
        """End it, and what it has started."""
        self._stack.close()


def _take_log(process: subprocess.Popen[bytes], log: Log) -> None:
    """Take what a process says until nobody can say anything any more."""
    stream = process.stderr
    assert stream is not None
    poll = select.poll()
    poll.register(stream, select.POLLIN)
    gives_way = False
    with stream:
        while True:
            gives_way = gives_way or _give_way(process.pid)
            if poll.poll(None if gives_way else POLL_SECONDS * 1000):
                data = os.read(stream.fileno(), READ_BYTES)
                if not data:
                    break
                log.take(data)
    log.end()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process if it has not ended, with what it started, and hear it no longer."""
    stdin = process.stdin
    if stdin or process.poll() is None:
        _signal_group(process, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        # Also what a script around rclone has left behind.
        _signal_group(process, signal.SIGKILL)
        # In the kernel's hands, on a network file system that hangs, it dies later.
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    if stdin:
        stdin.close()
    elif process.stderr:
        process.stderr.close()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(OSError):
        os.killpg(process.pid, number)
