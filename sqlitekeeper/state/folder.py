"""The state folder: private to the user who runs keeper."""

import stat
from pathlib import Path

from sqlitekeeper.errors import KeeperError

PRIVATE_FOLDER = 0o700
OWN_NAMES = ("history.sqlite3", "locks", "bases")


def prepare_state_folder(folder: Path) -> Path:
    """Make sure that the state folder exists and is closed to others.

    A folder that holds other things too is not keeper's to close: it is left as
    it is, and what keeper puts there is private by itself.

    Raises:
        KeeperError: it cannot be made, or everyone may write to it.
    """
    hint = "set `state` in keeper.toml or $KEEPER_STATE to a folder that this user may write"
    try:
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        mode = folder.stat().st_mode
        if mode & 0o077 and _only_ours(folder):
            folder.chmod(PRIVATE_FOLDER)
        elif mode & stat.S_IWOTH:
            raise KeeperError(f"{folder}: state folder: everyone may write to it", hint=hint)
    except OSError as error:
        raise KeeperError(f"{folder}: state folder: {error.strerror}", hint=hint) from None
    return folder


def _only_ours(folder: Path) -> bool:
    return all(entry.name.startswith(OWN_NAMES) for entry in folder.iterdir())
