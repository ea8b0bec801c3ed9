"""The bases of deltas, kept as they were shipped, so that none has to be downloaded."""

import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from sqlitekeeper.filesystem.disks import require_room
from sqlitekeeper.filesystem.flush import sync
from sqlitekeeper.state.folder import PRIVATE_FOLDER

FOLDER = "bases"
SPARE_BYTES = 2**20


class Bases:
    """A folder for each database; in it what the newest deltas at the destinations need."""

    def __init__(self, state: Path) -> None:
        self.folder = state / FOLDER

    def path(self, base: str) -> Path:
        """Where a base lies, if it does; it is called as at the destination."""
        return self.folder / base

    def keep(self, file: Path, base: str) -> None:
        """Keep what was shipped, flushed to the disk.

        Raises:
            NoRoomError: there is no room for it.
            OSError: it cannot be written.
        """
        target = self.path(base)
        self.folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        target.parent.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        part = target.with_name(f"{target.name}.partial")
        part.unlink(missing_ok=True)
        try:
            try:
                part.hardlink_to(file)
            except OSError:
                # Of another file system.
                self._copy(file, part)
            sync(part)
            part.replace(target)
            for folder in (target.parent, self.folder):
                sync(folder)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise

    def _copy(self, file: Path, target: Path) -> None:
        size = file.stat().st_size
        require_room("the base of deltas", size + SPARE_BYTES, target.parent, shown=self.folder)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as out, file.open("rb") as source:  # noqa: PTH123
            shutil.copyfileobj(source, out, 2**20)

    def forget(self, database: str, needed: Collection[str]) -> None:
        """Remove what no destination needs any more, and what a killed run left.

        Raises:
            OSError: it cannot be removed.
        """
        folder = self.folder / database
        if not folder.is_dir():
            return
        for file in folder.iterdir():
            if f"{database}/{file.name}" not in needed:
                file.unlink(missing_ok=True)
