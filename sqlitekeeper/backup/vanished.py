"""Databases that were backed up until lately and are missing now.

A glob of the configuration matches what is there: a file that was moved away
or lost would otherwise be missing from the backups without a word.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

from sqlitekeeper.state.history import Shipment

# Whoever has taken a database away on purpose is not told for ever.
TOLD_FOR = timedelta(days=7)


def vanished(
    shipments: Mapping[tuple[str, str], Shipment],
    destinations: Iterable[str],
    names: Iterable[str],
    now: datetime,
) -> dict[str, str]:
    """What to say of each database that these destinations have and this run has not, by name.

    `names` are all that the configuration has now.
    """
    wanted, known = set(destinations), set(names)
    found = {}
    for (to, name), shipment in shipments.items():
        path, confirmed = shipment.manifest.path, shipment.manifest.confirmed_at
        if to not in wanted or name in known or not path or confirmed is None:
            continue
        if now - confirmed < TOLD_FOR and _is_gone(Path(path)):
            day = confirmed.isoformat(timespec="minutes")
            found[name] = f"was backed up until {day}, and {path} is gone"
    return found


def _is_gone(path: Path) -> bool:
    """Whether a file is not there; what may not be looked at is not said to be gone."""
    try:
        return not path.exists()
    except OSError:
        return False
