"""Pointer maps that a check has found wrong, so that vacuum frees no page until one is right.

A note beside the lock of each; it belongs to one file, not to another of its name.
"""

import os
from contextlib import suppress
from pathlib import Path

from sqlitekeeper.filesystem.atomic import write_whole
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
    write_whole(note, f"{_identity(database)}\n{problem}", 0o600)


def _note(state: Path, database: Path) -> Path:
    return lock_path(state, database).with_suffix(".map")


def _identity(database: Path) -> str:
    facts = os.stat(database)  # noqa: PTH116
    return f"{facts.st_dev}:{facts.st_ino}"
