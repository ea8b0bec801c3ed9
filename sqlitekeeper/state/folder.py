"""The state folder: private to the user who runs keeper."""

from pathlib import Path

from sqlitekeeper.errors import KeeperError

PRIVATE_FOLDER = 0o700


def prepare_state_folder(folder: Path) -> Path:
    """Make sure that the state folder exists, belongs to us and is closed to others.

    Raises:
        KeeperError: it cannot be made or written.
    """
    hint = "set `state` in keeper.toml or $KEEPER_STATE to a folder that this user may write"
    try:
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o077:
            folder.chmod(PRIVATE_FOLDER)
    except OSError as error:
        raise KeeperError(f"{folder}: state folder: {error.strerror}", hint=hint) from None
    return folder
