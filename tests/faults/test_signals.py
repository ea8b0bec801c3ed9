"""SIGTERM, SIGINT and SIGHUP in the middle of any command, and output that nobody reads.

Unlike after SIGKILL nothing is left to clear up. Each signal is sent once to
each command, and once more for every 20 of KEEPER_TEST_KILLS.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, StartKeeper, wait_until
from tests.faults.killing import kills_asked
from tests.faults.scene import Scene

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
COMMANDS = ["init", "convert", "vacuum", "backup", "prune", "restore", "undo"]


def mentioning(word: str) -> list[str]:
    """The command lines of the processes that mention a word."""
    found = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = one.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if word in text:
            found.append(text)
    return found


def hears_signals(pid: int) -> bool:
    """Whether a process has started so far that it handles SIGTERM itself, or has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True
    caught = re.search(r"SigCgt:\s*([0-9a-f]+)", text)
    return caught is None or bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("command", COMMANDS)
def test_signal_ends_a_command_and_leaves_nothing(
    scene: Scene, start_keeper: StartKeeper, command: str
) -> None:
    """No folder, no temporary file, no lock, no rclone; the next run succeeds."""
    chance = random.Random(command)
    first = start_keeper(*scene.prepare(command))
    wait_until(lambda: hears_signals(first.process.pid))
    began = time.monotonic()
    assert first.end().status == 0
    usual = time.monotonic() - began
    for number in SIGNALS * max(1, kills_asked() // 20):
        running = start_keeper(*scene.prepare(command))
        wait_until(lambda: hears_signals(running.process.pid))  # noqa: B023 (called at once)
        seconds = chance.uniform(0.0, 1.0) * usual
        print(f"{number.name} after {seconds:.3f} s")
        try:
            running.process.wait(seconds)
        except subprocess.TimeoutExpired:
            running.process.send_signal(number)
        run = running.end()

        # As Python ends, signals end it again.
        assert run.status in (0, 130, -number), run.err
        assert "defect" not in run.err
        # An rclone that was only just started ends as nobody reads its log.
        wait_until(lambda: mentioning(str(scene.folder)) == [])
        scene.assert_sound()
        scene.assert_tidy()
    assert start_keeper(*scene.prepare(command)).end().status == 0
    scene.assert_sound()


@pytest.mark.parametrize("command", COMMANDS)
def test_closed_output_does_not_undo_the_work(scene: Scene, command: str) -> None:
    """`keeper ... | head -c 0`, and the same with 2>&1."""
    for both in (False, True):
        run_with_closed_output(scene, command, both=both)
        scene.assert_done(command)
        scene.assert_sound()
        scene.assert_tidy()


def run_with_closed_output(scene: Scene, command: str, *, both: bool) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [sys.executable, "-m", "sqlitekeeper", *map(str, scene.prepare(command))],
        cwd=scene.folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=writing if both else subprocess.PIPE,
        text=True,
    )
    os.close(writing)

    _, said = process.communicate(timeout=60)

    assert process.returncode in (0, 1)
    assert "Traceback" not in (said or "")
    assert "defect" not in (said or "")
