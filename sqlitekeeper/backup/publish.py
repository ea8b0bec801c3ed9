"""Manifest, then latest.json: what makes an uploaded object a snapshot.

In that order, each confirmed by what the destination then holds.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from sqlitekeeper.backup.model import CheckedSnapshot
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.layout import latest_object, manifest_object
from sqlitekeeper.destination.metadata import store_metadata
from sqlitekeeper.errors import KeeperError, as_keeper_error
from sqlitekeeper.rclone.client import Rclone


def publish(
    rclone: Rclone,
    folder: Path,
    destination: Destination,
    snapshots: Sequence[CheckedSnapshot],
    confirmed_at: datetime,
) -> dict[str, str]:
    """Write the manifests of what has arrived, and latest.json of those that are whole.

    What a destination holds already only has its latest.json refreshed. Small files are
    made in `folder`. Returned is what went wrong, by database.
    """
    to = destination.to
    new = [one for one in snapshots if not one.staged.held[to]]
    manifests = {manifest_object(one.staged.object): one.manifests[to].to_json() for one in new}
    try:
        failed = store_metadata(rclone, destination, manifests, folder)
        problems = {_database(path): text for path, text in failed.items()}
        latest = {
            latest_object(one.staged.name): one.manifests[to].confirmed(confirmed_at).to_json()
            for one in snapshots
            if one.staged.name not in problems
        }
        failed = store_metadata(rclone, destination, latest, folder, newer_will_do=True)
        return problems | {_database(path): text for path, text in failed.items()}
    except (KeeperError, OSError) as error:
        return dict.fromkeys(
            (one.staged.name for one in snapshots), as_keeper_error(error).full_text
        )


def _database(path: str) -> str:
    """Whose a file is: each database has a folder of its own at a destination."""
    return path.partition("/")[0]
