"""Results as one JSON object."""

import json
from pathlib import Path

import pytest

from sqlitekeeper.database.checkpoint import Checkpoint
from sqlitekeeper.database.create import InitResult
from sqlitekeeper.database.vacuum import VacuumResult
from sqlitekeeper.output.json_text import entry, print_failure, print_results


def test_entry_has_plain_values() -> None:
    """Nested values become objects; the exit status is the run's affair."""
    result = VacuumResult("a", Path("/a"), "done", checkpoint=Checkpoint(False, 3, 3))

    fields = entry(result)

    assert fields["checkpoint"] == {"busy": False, "log_frames": 3, "checkpointed_frames": 3}
    assert "exit_code" not in fields


def test_success_has_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    """`ok` and a null `error`, and what a command adds at the top."""
    result = InitResult("a", Path("/a"), "created")
    print_results("init", [result], 0, "", {"seconds": 1.5})

    said = json.loads(capsys.readouterr().out)
    assert (said["command"], said["ok"], said["error"], said["seconds"]) == (
        "init",
        True,
        None,
        1.5,
    )
    assert said["databases"][0]["path"] == "/a"


def test_failure_has_code_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    """The exit status is in the object."""
    print_results("init", [InitResult("a", Path("/a"), "failed", "no")], 3, "1 of 2", {})

    said = json.loads(capsys.readouterr().out)
    assert (said["ok"], said["error"]) == (False, {"code": 3, "message": "1 of 2", "hint": None})


def test_failure_before_any_work_is_an_object_too(capsys: pytest.CaptureFixture[str]) -> None:
    """With the keys that a script looks at first."""
    print_failure(None, 2, "no", "try this")

    assert json.loads(capsys.readouterr().out) == {
        "command": None,
        "ok": False,
        "error": {"code": 2, "message": "no", "hint": "try this"},
        "databases": [],
    }


def test_unprintable_names_are_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters and names that are no UTF-8 are escaped."""
    print_results("init", [InitResult("\x1b\udcff", Path("/a"), "created")], 0, "", {})

    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out
