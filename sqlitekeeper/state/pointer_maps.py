"""Pointer maps that a check has found wrong, so that vacuum frees no page until one is right.

A note beside the lock of each; it belongs to one file, not to another of its name.
"""

import os
from contextlib import suppress
from pathlib import Path

from sqlitekeeper.state.folder import PRIVATE_FOLDER, prepare_state_folder
from sqlitekeeper.state.locks import lock_path


def wrong_map(state: Path, database: Path) -> str | None:
    """What was found wrong with the pointer map of a file, if anything."""
    try:
        file, _, problem = _note(state, database).read_text().partition("\n")
        return problem if file == _identity(database) else None
    except (OSError, UnicodeError):
        return None


def remember_map(state: Path, database: Path, problem: str | None) -> None:
    """Note what a check has found of a pointer map; None: it is right.

    Raises:
        KeeperError: the state folder cannot be written.
        OSError: nor can the note.
    """
    note = _note(state, database)
    if problem is None:
        with suppress(FileNotFoundError, NotADirectoryError):
            note.unlink()
        return
    prepare_state_folder(state)
    note.parent.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with open(os.open(note, flags, 0o600), "w") as stream:  # noqa: PTH123
        # One that is cut short has no line, and says nothing.
        stream.write(f"{_identity(database)}\n{problem}")


def _note(state: Path, database: Path) -> Path:
    return lock_path(state, database).with_suffix(".map")


def _identity(database: Path) -> str:
    facts = os.stat(database)  # noqa: PTH116
    return f"{facts.st_dev}:{facts.st_ino}"
