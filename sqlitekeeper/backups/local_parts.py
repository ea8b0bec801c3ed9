"""What a failed copy leaves in a local folder, and what it has not touched there."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def looks(to: Path, paths: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """What files of a local destination look like from outside; those that are there."""
    found: dict[str, tuple[int, ...]] = {}
    for path in paths:
        with suppress(OSError):
            facts = (to / path).stat()
            found[path] = (facts.st_ino, facts.st_size, facts.st_mtime_ns)
    return found


def remove_parts(
    folder: Path, to: Path, before: dict[str, tuple[int, ...]], paths: Iterable[str]
) -> None:
    """Remove what rclone has left of files that did not fit on the disk of a local destination.

    Before 1.63 it wrote them under their own names, and left an empty one
    where the disk was full (measured: 1.60). What it has not touched stays.
    """
    for path, now in looks(to, paths).items():
        with suppress(OSError):
            if now != before.get(path) and now[1] != (folder / path).stat().st_size:
                (to / path).unlink()
