"""The private folder that snapshots are made in, and what killed runs left of theirs."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlitekeeper.database import private_folder
from sqlitekeeper.errors import KeeperError

PREFIX = private_folder.STAGING


@contextmanager
def staging_folder(parent: Path, setting: str | None = "backup.staging") -> Iterator[Path]:
    """A new private folder below `parent`, gone in the end.

    Raises:
        KeeperError: it cannot be made; the hint names the `setting` that says where.
    """
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(private_folder.private_folder(parent, PREFIX))
        except OSError as error:
            raise KeeperError(
                f"{parent}: staging folder: {error.strerror}",
                hint=f"make it, or point {setting} in keeper.toml at another folder"
                if setting
                else "keeper needs to write in the folder of the database",
            ) from None
        yield folder


def remove_litter(parent: Path) -> list[Path]:
    """Remove the staging folders that runs of this user left when they were killed."""
    return private_folder.remove_litter(parent, PREFIX)
