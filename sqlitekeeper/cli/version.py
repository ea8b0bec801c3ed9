"""The text of `keeper --version`; imports as little as it can."""

import apsw

from sqlitekeeper import __version__
from sqlitekeeper.errors import KeeperError
from sqlitekeeper.rclone.program import find_rclone, version_of


def version_text() -> str:
    """The versions of keeper, SQLite and, where it is found, rclone."""
    try:
        program = find_rclone(None)
        rclone = f"rclone {version_of(program, lambda: _ask(program))} ({program})"
    except KeeperError as error:
        rclone = error.message
    return f"keeper {__version__}, SQLite {apsw.sqlite_lib_version()}, {rclone}"


def _ask(program: str) -> str:
    from sqlitekeeper.rclone.client import Rclone

    return Rclone(program).version()
