"""The command that is told how a run went, for a minute at most."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import IO

from sqlitekeeper.redaction import secrets_in
from sqlitekeeper.workers import started

SECONDS = 60.0
GRACE_SECONDS = 5.0
LAST_WORDS_BYTES = 500
MEMORY = "/dev/shm"  # noqa: S108 - a private folder below it


def run_command(
    command: Sequence[str],
    summary: bytes,
    result: str,
    *,
    seconds: float = SECONDS,
    grace_seconds: float = GRACE_SECONDS,
) -> str | None:
    """Run it with the summary on standard input and $KEEPER_RESULT naming the JSON.

    Returns None when it ended with 0, else what went wrong, in words that hold
    none of its arguments: an address with a password in it is a usual one.
    """
    with ExitStack() as stack:
        file = _result_file(result, stack)
        trouble = _run(command, summary, file, seconds, grace_seconds)
    if file is None and not trouble:
        return "was run without $KEEPER_RESULT, for which there is no room"
    return trouble


def _result_file(result: str, stack: ExitStack) -> Path | None:
    """A private file with the result, gone with the stack; a full disk is a usual reason to call.

    Hence the folder in memory, where there is one, and in the end none at all.
    """
    for place in (None, MEMORY):
        with suppress(OSError), ExitStack() as attempt:
            folder = attempt.enter_context(tempfile.TemporaryDirectory(prefix="keeper-", dir=place))
            file = Path(folder) / "result.json"
            descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(result)
            stack.enter_context(attempt.pop_all())
            return file
    return None


def _input(summary: bytes) -> IO[bytes]:
    """What the command reads: in memory, where the system has such files."""
    if hasattr(os, "memfd_create"):
        stream = os.fdopen(os.memfd_create("summary"), "w+b")
    else:
        stream = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    stream.write(summary)
    stream.seek(0)
    return stream


def _output() -> IO[bytes]:
    """Where the command writes; without a disk, nowhere."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return open(os.devnull, "w+b")  # noqa: PTH123


def _run(
    command: Sequence[str],
    summary: bytes,
    result: Path | None,
    seconds: float,
    grace_seconds: float,
) -> str | None:
    # Files, not pipes: a child that it leaves in the background may keep them open for ever.
    with _output() as said, _input(summary) as told:
        start = partial(
            subprocess.Popen[bytes],
            command,
            stdin=told,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=os.environ | ({"KEEPER_RESULT": str(result)} if result else {}),
            start_new_session=True,
        )
        try:
            with started(start, partial(_end_group, grace_seconds=grace_seconds)) as process:
                status = process.wait(seconds)
        except (OSError, ValueError) as error:
            return f"cannot be run ({getattr(error, 'strerror', None) or type(error).__name__})"
        except subprocess.TimeoutExpired:
            return f"did not end within {seconds:g} seconds and was stopped"
        if status == 0:
            return None
        how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        size = said.seek(0, os.SEEK_END)
        said.seek(max(0, size - LAST_WORDS_BYTES))
        words = said.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(words) if line.strip()), "it said nothing")
        return f"failed ({how}): {_without_arguments(last, command)}"


def _end_group(process: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """End a process that has not ended, and all that it started.

    SIGTERM first, then SIGKILL for what is left of its session.
    """
    if process.returncode is not None:
        return
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    # Not reaped yet, its number cannot become another group's before the second signal.
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while os.waitid(os.P_PID, process.pid, options) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _without_arguments(text: str, command: Sequence[str]) -> str:
    """A command's last words, unless they repeat an argument that may be a secret."""
    secrets = {word for word in command[1:] if "://" in word} | secrets_in(command)
    return "(its last words name an argument)" if any(one in text for one in secrets) else text
