"""What `keeper --version` says."""

import apsw

from sqlitekeeper import __version__


def version_text() -> str:
    """The versions of keeper, SQLite and, where it is found, rclone."""
    from sqlitekeeper.backups.rclone import Rclone, find_rclone
    from sqlitekeeper.errors import KeeperError

    try:
        program = find_rclone(None)
        rclone = f"rclone {Rclone(program).version()} ({program})"
    except KeeperError:
        rclone = "rclone not found"
    return f"keeper {__version__}, SQLite {apsw.sqlite_lib_version()}, {rclone}"
