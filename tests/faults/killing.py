"""Killing a keeper run at a chosen moment: after so long, or as it is about to change a file.

    measure    one undisturbed run:   how long it takes
               one more, by strace:   which system calls it makes that change files
    moments    half of the kills spread over that time, half over those calls
    kill       SIGKILL, to keeper alone (its rclone is orphaned) or to rclone too

A system call that a run is killed at is not carried out, so that killing at each
in turn leaves every state on disk that a run can leave. Where strace is missing,
or may not trace, all kills are at moments in time.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from tests.conftest import REPOSITORY, WAIT_SECONDS

# Those of Python and SQLite; rclone makes other ones (renameat, unlinkat), and is not counted.
CALLS = (
    *("mkdir", "rmdir", "rename", "link", "unlink", "flock"),
    *("fsync", "fdatasync", "pwrite64", "ftruncate", "sendfile", "chmod", "fchmod", "fchown"),
)
TRACE = "trace=" + ",".join(f"?{name}" for name in CALLS)
_CALL = re.compile(r"^(\d+) +([a-z0-9_]+)\(", re.MULTILINE)
# What a page of a database costs; of a hundred in a row, some are enough.
_PAGES = "pwrite64"


def kills_asked() -> int:
    """How often each command is killed: 20 times unless KEEPER_TEST_KILLS says otherwise."""
    return int(os.environ.get("KEEPER_TEST_KILLS", "20"))


@dataclass(frozen=True)
class Moment:
    """When to kill: after so many seconds, or instead of a system call's nth time in a thread.

    With `everyone`, the rclone that keeper runs dies in the same moment.
    """

    seconds: float | None = None
    call: str = ""
    nth: int = 0
    everyone: bool = False

    def __str__(self) -> str:
        when = f"after {self.seconds:.3f} s" if self.seconds is not None else ""
        return f"{when or f'at {self.call} {self.nth}'}{', with rclone' * self.everyone}"


class Killing:
    """Runs keeper in a folder, and kills it at one moment after the other."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.said = folder / "killed.err"

    def moments(
        self, command: Callable[[], list[object]], kills: int | None = None
    ) -> Iterator[Moment]:
        """When to kill a command; `command` makes its arguments for each of two runs.

        The moments cover the whole of a run however few there are.
        """
        kills = kills or kills_asked()
        calls = self._calls(command())
        began = time.monotonic()
        self._start(command()).wait(WAIT_SECONDS)
        usual = time.monotonic() - began
        at_calls = [self.chance.choice(part) for part in _parts(calls, kills // 2) if part]
        at_times = kills - len(at_calls)
        moments = [Moment(call=name, nth=nth) for name, nth in at_calls] + [
            Moment((number + self.chance.random()) / at_times * usual, everyone=number % 2 == 1)
            for number in range(at_times)
        ]
        self.chance.shuffle(moments)
        print(f"{len(calls)} system calls in {usual:.2f} s; {len(at_calls)} kills at calls,")
        print(f"{at_times} at times")
        yield from moments

    def kill(self, moment: Moment, arguments: list[object]) -> bool:
        """Run keeper and kill it; whether it was still alive then."""
        print(f"killed {moment}: keeper", *arguments)
        tracing: list[str] = []
        if moment.call:
            inject = f"inject={moment.call}:signal=KILL:when={moment.nth}"
            tracing = _strace("-e", f"trace={moment.call}", "-e", inject, "-o", os.devnull)
        process = self._start(arguments, tracing)
        try:
            process.wait(WAIT_SECONDS if moment.seconds is None else moment.seconds)
        except subprocess.TimeoutExpired:
            if moment.everyone:
                # Stopped, it can neither react nor start another one.
                process.send_signal(signal.SIGSTOP)
                for child in children(process.pid):
                    os.kill(child, signal.SIGKILL)
            process.kill()
            process.wait()
        said = self.said.read_text()
        assert "Traceback" not in said, said
        assert process.returncode in (0, -signal.SIGKILL), said
        return process.returncode != 0

    def _start(
        self, arguments: list[object], tracing: list[str] | None = None
    ) -> subprocess.Popen[bytes]:
        with self.said.open("wb") as said:
            return subprocess.Popen(
                [*(tracing or []), sys.executable, "-m", "sqlitekeeper", *map(str, arguments)],
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
            )

    def _calls(self, arguments: list[object]) -> list[tuple[str, int]]:
        """The system calls of an undisturbed run that change files, in their order."""
        if not can_trace():
            self._start(arguments).wait(WAIT_SECONDS)
            return []
        log = self.folder / "strace.log"
        self._start(arguments, _strace("-e", TRACE, "-o", str(log))).wait(WAIT_SECONDS)
        count: Counter[tuple[str, str]] = Counter()
        calls: dict[tuple[str, int], None] = {}
        for thread, name in _CALL.findall(log.read_text(errors="replace")):
            count[thread, name] += 1
            nth = count[thread, name]
            if name != _PAGES or nth % 25 == 1:
                calls[name, nth] = None
        return list(calls)


def children(pid: int) -> list[int]:
    """The processes that a process runs."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for one in lists for child in one.read_text().split()]


def _strace(*options: str) -> list[str]:
    """strace as a grandchild: keeper stays the process that is waited for."""
    return ["strace", "-D", "-f", "-qq", "-e", "signal=none", *options]


@cache
def can_trace() -> bool:
    """Whether strace is here and may trace."""
    if shutil.which("strace") is None:
        return False
    probe = subprocess.run(
        [*_strace("-e", TRACE, "-o", os.devnull), "true"], capture_output=True, check=False
    )
    return probe.returncode == 0 and not probe.stderr


def _parts(items: list[tuple[str, int]], number: int) -> list[list[tuple[str, int]]]:
    """Divide a list into at most `number` parts of about the same length, in order."""
    edges = [round(len(items) * part / number) for part in range(number + 1)] if number else []
    return [items[begin:end] for begin, end in pairwise(edges)]
