"""The command line within this process: quick enough for many runs, and the same code."""

import contextlib
import io
import json
import signal
from typing import Any

from sqlitekeeper.cli.app import run_command_line


def command_line(*arguments: object) -> tuple[int, dict[str, Any], str]:
    """Run a command with --json: its status, its one object, its log."""
    out, err = io.StringIO(), io.StringIO()
    numbers = (signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = run_command_line([str(argument) for argument in arguments] + ["--json"])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    said: dict[str, Any] = json.loads(out.getvalue())
    assert "a defect in keeper" not in err.getvalue(), err.getvalue()
    assert (said["ok"], said["error"] is None) == (status == 0, status == 0)
    return status, said, err.getvalue()
