"""Results as one JSON object on standard output."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# The list that holds a command's entries, where they are no databases.
_LISTS = {"files": "files"}


def print_results(
    command: str, results: Sequence[Any], code: int, message: str, more: dict[str, Any]
) -> None:
    """Print the object of a command that went through, whatever became of each database."""
    error = {"code": code, "message": message, "hint": None} if code else None
    _print(
        {"command": command, "ok": code == 0, "error": error, **more}
        | _listed(command, [entry(result) for result in results])
    )


def print_failure(command: str | None, code: int, message: str, hint: str | None) -> None:
    """Print the object of a command that could not be carried out at all."""
    error = {"code": code, "message": message, "hint": hint}
    _print({"command": command, "ok": False, "error": error} | _listed(command, []))


def _listed(command: str | None, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """The entries under their key; `databases` is there always, for those who look at no other."""
    return {"databases": []} | {_LISTS.get(command or "", "databases"): entries}


def entry(result: Any) -> dict[str, Any]:
    """One result as JSON's types; the exit status is the run's affair, not the entry's."""
    fields: dict[str, Any] = dataclasses.asdict(result)
    fields.pop("exit_code")
    return fields


def _print(value: dict[str, Any]) -> None:
    print(json.dumps(value, indent=2, default=_plain))


def _plain(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
