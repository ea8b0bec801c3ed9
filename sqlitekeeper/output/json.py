"""Results as one JSON object on standard output."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# The list that holds a command's entries, where they are no databases.
_LISTS = {"files": "files"}


def results_object(
    command: str,
    results: Sequence[Any],
    code: int,
    message: str,
    more: dict[str, Any],
    hint: str | None = None,
) -> dict[str, Any]:
    """The object of a command that went through, whatever became of each database."""
    error = {"code": code, "message": message, "hint": hint} if code else None
    head = {"command": command, "ok": code == 0, "error": error, **more}
    return head | _listed(command, [entry(result) for result in results])


def failure_object(
    command: str | None, code: int, message: str, hint: str | None
) -> dict[str, Any]:
    """The object of a command that could not be carried out at all."""
    error = {"code": code, "message": message, "hint": hint}
    return {"command": command, "ok": False, "error": error} | _listed(command, [])


def _listed(command: str | None, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """The entries under their key; `databases` is always a key, for scripts that read no other."""
    return {"databases": []} | {_LISTS.get(command or "", "databases"): entries}


def entry(result: Any) -> dict[str, Any]:
    """One result as JSON's types; the exit status is the run's affair, not the entry's."""
    fields: dict[str, Any] = dataclasses.asdict(result)
    fields.pop("exit_code")
    return fields


def object_text(value: dict[str, Any]) -> str:
    """An object as it is printed, without the last line's end."""
    return json.dumps(value, indent=2, default=_plain)


def print_object(value: dict[str, Any]) -> None:
    """Print it on standard output."""
    print(object_text(value))


def _plain(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
