"""Manifest, then latest.json: what makes an uploaded object a snapshot.

In that order, each confirmed by what the destination then holds.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from sqlitekeeper.backup.model import CheckedSnapshot, Key
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.layout import RESTORE_TEXT, latest_object, manifest_object
from sqlitekeeper.destination.manifest import Manifest
from sqlitekeeper.destination.metadata import store_metadata
from sqlitekeeper.errors import KeeperError, as_keeper_error
from sqlitekeeper.events import Level, Listener, Note
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.store.without_keeper import restore_text


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
    described = [one.manifests[to] for one in new]
    manifests = {manifest_object(one.object): one.to_json() for one in described}
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


def leave_restore_text(
    rclone: Rclone,
    destination: Destination,
    confirmed: Mapping[Key, Manifest],
    on_event: Listener,
) -> None:
    """Say at a destination how to restore without keeper, where what lies there is not plain."""
    manifests = [manifest for (to, _), manifest in confirmed.items() if to == destination.to]
    if not any(one.stored for one in manifests) or destination.has(RESTORE_TEXT):
        return
    text = {RESTORE_TEXT: restore_text().encode()}
    try:
        problem = store_metadata(rclone, destination, text).get(RESTORE_TEXT)
    except (KeeperError, OSError) as error:
        problem = as_keeper_error(error).full_text
    if problem:
        on_event(Note("", f"{destination.to}: takes no {RESTORE_TEXT}: {problem}", Level.WARNING))


def _database(path: str) -> str:
    """Whose a file is: each database has a folder of its own at a destination."""
    return path.partition("/")[0]
