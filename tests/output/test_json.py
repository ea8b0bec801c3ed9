"""Results as one JSON object."""

import json
from pathlib import Path
from typing import Any

from sqlitekeeper.database.maintain.checkpoint import Checkpoint
from sqlitekeeper.database.maintain.create import InitResult
from sqlitekeeper.database.maintain.vacuum import VacuumResult
from sqlitekeeper.output.json import entry, failure_object, object_text, results_object


def printed(value: dict[str, Any]) -> Any:
    """An object as a script reads it."""
    return json.loads(object_text(value))


def test_entry_has_plain_values() -> None:
    """Nested values become objects; the exit status is the run's affair."""
    result = VacuumResult("a", Path("/a"), "done", checkpoint=Checkpoint(False, 3, 3))

    fields = entry(result)

    assert fields["checkpoint"] == {"busy": False, "log_frames": 3, "checkpointed_frames": 3}
    assert "exit_code" not in fields


def test_success_has_no_error() -> None:
    """`ok` and a null `error`, and what a command adds at the top."""
    result = InitResult("a", Path("/a"), "created")
    said = printed(results_object("init", [result], 0, "", {"seconds": 1.5}))

    assert (said["command"], said["ok"], said["error"], said["seconds"]) == (
        "init",
        True,
        None,
        1.5,
    )
    assert said["databases"][0]["path"] == "/a"


def test_failure_has_code_and_message() -> None:
    """The exit status is in the object."""
    failed = InitResult("a", Path("/a"), "failed", "no")
    said = printed(results_object("init", [failed], 3, "1 of 2", {}))

    assert (said["ok"], said["error"]) == (False, {"code": 3, "message": "1 of 2", "hint": None})


def test_failure_before_any_work_is_an_object_too() -> None:
    """With the keys that a script looks at first."""
    assert printed(failure_object(None, 2, "no", "try this")) == {
        "command": None,
        "ok": False,
        "error": {"code": 2, "message": "no", "hint": "try this"},
        "databases": [],
    }


def test_unprintable_names_are_ascii() -> None:
    """Control characters and names that are no UTF-8 are escaped."""
    odd = InitResult("\x1b\udcff", Path("/a"), "created")
    out = object_text(results_object("init", [odd], 0, "", {}))

    assert out.isascii()
    assert "\x1b" not in out
