"""Running a command, and what it cost: time, processors, memory, files, processes."""

import dataclasses
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import click

SAMPLE_SECONDS = 0.01
STAGING_PAUSES = 50
TOLD_LINES = 15


@dataclass(frozen=True)
class Cost:
    """What one run of a command and all the processes below it cost.

    `cpu_seconds` are user and system time of all of them. Memory is that of the command
    itself with everything below it but rclone, whose own is told apart: `peak_resident_bytes`
    is what getrusage calls ru_maxrss, pages of mapped files included, and
    `peak_anonymous_bytes` what the kernel could not take back. All that is sampled
    (everything but the times) is the most that was seen every SAMPLE_SECONDS, of many
    staged files more seldom.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_resident_bytes: int
    peak_anonymous_bytes: int
    rclone_resident_bytes: int
    rclone_processes: int
    most_descriptors: int
    most_staged_bytes: int
    status: int
    output: str

    def figures(self) -> dict[str, float]:
        """All but what it said, as JSON has it."""
        values = dataclasses.asdict(self)
        del values["output"]
        return values


@dataclass
class _Watch:
    """The most that was seen of a tree of processes, looked at again and again by a thread."""

    root: int
    staging: Path | None
    enough: Callable[[], bool] | None = None
    resident: int = 0
    anonymous: int = 0
    rclone_resident: int = 0
    descriptors: int = 0
    staged: int = 0
    rclones: set[int] = field(default_factory=set)
    _staging_due: float = 0.0
    _ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "_Watch":
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _go(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self._look()
            if self.enough and self.enough():
                os.kill(self.root, signal.SIGINT)
                self.enough = None

    def _look(self) -> None:
        anonymous = resident = rclone = 0
        for pid, status in _tree(self.root):
            if status.get("Name") == "rclone":
                self.rclones.add(pid)
                rclone += _bytes(status, "VmRSS")
            else:
                # Of the largest, not of all: for its first moment a new process
                # shows the memory of the one that started it once more.
                anonymous = max(anonymous, _bytes(status, "RssAnon"))
                # The kernel keeps this peak itself, so nothing is missed between two looks.
                resident = max(resident, _bytes(status, "VmHWM"))
        self.anonymous = max(self.anonymous, anonymous)
        self.resident = max(self.resident, resident)
        self.rclone_resident = max(self.rclone_resident, rclone)
        self.descriptors = max(self.descriptors, _descriptors(self.root))
        began = time.monotonic()
        if self.staging and began >= self._staging_due:
            self.staged = max(self.staged, folder_bytes(self.staging))
            # With hundreds of files in it this would take half of a processor from who is measured.
            ended = time.monotonic()
            self._staging_due = ended + STAGING_PAUSES * (ended - began)


def _tree(root: int) -> Iterator[tuple[int, dict[str, str]]]:
    """A process and all below it with their status, but nothing below rclone: it starts none."""
    queue = [root]
    while queue:
        pid = queue.pop()
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
            yield pid, status
            if status["Name"] != "rclone":
                for task in Path(f"/proc/{pid}/task").iterdir():
                    text = (task / "children").read_text()
                    queue += map(int, text.split())
        except OSError:  # it has just ended
            continue


def _bytes(status: Mapping[str, str], key: str) -> int:
    return int(status.get(key, "0 kB").split()[0]) * 1024


def _descriptors(pid: int) -> int:
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            return sum(1 for _ in entries)
    except OSError:
        return 0


def folder_bytes(folder: Path) -> int:
    """The sizes of all files below a folder, whatever comes and goes meanwhile."""
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    total += folder_bytes(Path(entry.path))
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return total
    return total


def run(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    folder: Path,
    *,
    staging: Path | None = None,
    watch: bool = True,
    enough: Callable[[str], bool] | None = None,
    allowed: Sequence[int] = (0,),
) -> Cost:
    """Run a command in a folder to its end, and measure it.

    Without `watch` only the times are measured. A command that never ends by
    itself is interrupted when it has said `enough`.

    Raises:
        click.ClickException: it ended with a status that is not `allowed`; its last lines.
    """
    log = folder / "output.log"
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # So that all that it has started can be ended with it.
            process_group=0,
        )
        seen = _Watch(process.pid, staging)
        if enough:
            seen.enough = lambda: enough(log.read_text(errors="replace"))
        try:
            with seen if watch else nullcontext():
                _, status, usage = os.wait4(process.pid, 0)
                ended = time.perf_counter()
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            raise
    process.returncode = os.waitstatus_to_exitcode(status)
    said = log.read_text(errors="replace")
    if process.returncode not in allowed:
        told = "\n".join(said.splitlines()[-TOLD_LINES:])
        words = " ".join(map(str, command))
        raise click.ClickException(f"exit status {process.returncode} of {words}\n{told}")
    return Cost(
        wall_seconds=ended - began,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_resident_bytes=seen.resident,
        peak_anonymous_bytes=seen.anonymous,
        rclone_resident_bytes=seen.rclone_resident,
        rclone_processes=len(seen.rclones),
        most_descriptors=seen.descriptors,
        most_staged_bytes=seen.staged,
        status=process.returncode,
        output=said,
    )
