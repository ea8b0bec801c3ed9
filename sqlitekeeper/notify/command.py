"""Running a command that tells somebody how a run went, for a minute at most."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from sqlitekeeper.redaction import secrets_in

SECONDS = 60.0
GRACE_SECONDS = 5.0
LAST_WORDS_BYTES = 500


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
    try:
        with tempfile.TemporaryDirectory(prefix="keeper-") as folder:
            file = Path(folder) / "result.json"
            descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(result)
            return _run(command, summary, file, seconds, grace_seconds)
    except OSError as error:
        return f"its files cannot be written ({error.strerror})"


def _run(
    command: Sequence[str], summary: bytes, result: Path, seconds: float, grace_seconds: float
) -> str | None:
    # Files, not pipes: a child that it leaves in the background may keep them open for ever.
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as told:
        told.write(summary)
        told.seek(0)
        try:
            process = subprocess.Popen(
                command,
                stdin=told,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=os.environ | {"KEEPER_RESULT": str(result)},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return f"cannot be run ({getattr(error, 'strerror', None) or type(error).__name__})"
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            return f"did not end within {seconds:g} seconds and was stopped"
        finally:
            if process.returncode is None:
                _end_group(process, grace_seconds)
        if status == 0:
            return None
        how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        size = said.seek(0, os.SEEK_END)
        said.seek(max(0, size - LAST_WORDS_BYTES))
        words = said.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(words) if line.strip()), "it said nothing")
        return f"failed ({how}): {_without_arguments(last, command)}"


def _end_group(process: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """End a process and all that it started: politely first, then whoever is left."""
    os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    # Not reaped yet, its number cannot become another group's before the second signal.
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while os.waitid(os.P_PID, process.pid, options) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _without_arguments(text: str, command: Sequence[str]) -> str:
    """A command's last words, unless they repeat an argument that may be a secret."""
    secrets = {word for word in command[1:] if "://" in word} | secrets_in(command)
    return "(its last words name an argument)" if any(one in text for one in secrets) else text
