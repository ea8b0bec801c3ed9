"""Names under which a restore keeps the database that it replaced."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlitekeeper.database.files import SET_ASIDE, SIDECARS, sidecar, sidecars_of

SET_ASIDE_TIME = "%Y%m%dT%H%M%SZ"


def set_aside_path(target: Path, moment: datetime) -> Path:
    """The name that the old database gets: not taken yet, and later than all before.

    So the newest by name is the last one, even when the clock was set back.
    """
    while True:
        path = target.with_name(f"{target.name}.before-{moment.strftime(SET_ASIDE_TIME)}")
        taken = any(os.path.lexists(sidecar(path, suffix)) for suffix in ("", *SIDECARS))
        if not taken and all(path.name > earlier.name for earlier in set_asides(target)):
            return path
        newest = max([path, *set_asides(target)], key=lambda one: one.name)
        stamp = newest.name[-len("20261123T030000Z") :]
        moment = datetime.strptime(stamp, SET_ASIDE_TIME).replace(tzinfo=UTC) + timedelta(seconds=1)


def set_asides(target: Path) -> list[Path]:
    """The databases that were set aside at `target`, newest first."""
    found = []
    for path in target.parent.iterdir():
        match = SET_ASIDE.fullmatch(path.name)
        if match and match["file"] == target.name:
            found.append(path)
    return sorted(found, reverse=True)


def with_sidecars(path: Path) -> list[Path]:
    """A database file and those of its sidecars that exist."""
    return [path, *(sidecar(path, suffix) for suffix in sidecars_of(path))]


def remove_unfinished(target: Path) -> list[Path]:
    """Remove set-aside names that a killed restore gave to the file that is still in place."""
    removed = []
    for aside in set_asides(target):
        if target.exists() and aside.samefile(target):
            aside.unlink()
            removed.append(aside)
    return removed
