"""What each destination had of a database before this run: its newest manifest.

keeper's own record tells, at no cost. Where it cannot know, the destination is
asked: without a record, when someone else has shipped since, and while the
database is on hold, which may have been lifted there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlitekeeper.backups.catalog import DatabaseShelf, read_shelves
from sqlitekeeper.backups.destination import Destination
from sqlitekeeper.backups.loss import hold_of
from sqlitekeeper.backups.papers import fetch_manifests
from sqlitekeeper.backups.rclone import Rclone, RcloneError
from sqlitekeeper.backups.untrusted import Manifest, ManifestError
from sqlitekeeper.errors import KeeperError, as_keeper_error
from sqlitekeeper.events import Level, Listener, Note
from sqlitekeeper.state.history import Shipment

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Previous:
    """Newest manifests by destination and database; `unread` are those that could not be read.

    `others` are the hosts that have shipped there since this one did, where it did.
    """

    manifests: Mapping[Key, Mapping[str, Any]]
    unread: frozenset[Key]
    others: Mapping[Key, str]


def newest_manifests(
    rclone: Rclone, to: str, shelves: Iterable[DatabaseShelf]
) -> dict[str, Manifest | ManifestError]:
    """The newest manifest of each database that has one, all in one rclone run.

    Raises:
        RcloneError: some could not be downloaded.
    """
    papers = {shelf.database: shelf.newest_papers for shelf in shelves if shelf.newest_papers}
    if not papers:
        return {}
    fetched = fetch_manifests(rclone, to, (paper for each in papers.values() for paper in each))
    found = {}
    for database, each in papers.items():
        manifest = _last_word([fetched[paper.path] for paper in each])
        if isinstance(manifest, Manifest) and manifest.database != database:
            other = f"{to}/{each[-1].path}: is the manifest of {manifest.database!r}"
            manifest = ManifestError(other)
        found[database] = manifest
    return found


def _last_word(papers: list[Manifest | ManifestError]) -> Manifest | ManifestError:
    """Which of a snapshot's own manifest and latest.json tells what is true now.

    latest.json, unless it is older: it did not arrive with the newest snapshot.
    One that cannot be read leaves both in doubt.
    """
    last = papers[-1]
    for paper in papers:
        if isinstance(paper, ManifestError):
            return paper
        if isinstance(last, Manifest) and _order(paper) > _order(last):
            last = paper
    return last


def _order(manifest: Manifest) -> tuple[datetime, str]:
    return manifest.taken_at, manifest.object


def previous_manifests(
    rclone: Rclone,
    destinations: Iterable[Destination],
    shipments: Mapping[Key, Shipment],
    databases: Iterable[str],
    listen: Listener,
) -> Previous:
    """What each destination had before; what cannot be read is told, and stays as recorded."""
    wanted = set(databases)
    manifests: dict[Key, Mapping[str, Any]] = {
        key: shipment.manifest for key, shipment in shipments.items() if key[1] in wanted
    }
    unread: set[Key] = set()
    others: dict[Key, str] = {}
    for destination in destinations:
        to = destination.to
        shelves = [
            shelf
            for shelf in read_shelves(to, (destination.listing or {}).values()).values()
            if shelf.database in wanted and not _known(shipments.get((to, shelf.database)), shelf)
        ]
        try:
            found: Mapping[str, Manifest | KeeperError] = newest_manifests(rclone, to, shelves)
        except (RcloneError, OSError) as error:
            found = dict.fromkeys((s.database for s in shelves), as_keeper_error(error))
        for database, manifest in found.items():
            if isinstance(manifest, Manifest):
                own = manifests.get((to, database))
                if own and manifest.raw.get("host") != own.get("host"):
                    others[to, database] = str(manifest.raw.get("host"))
                manifests[to, database] = manifest.raw
            else:
                unread.add((to, database))
                text = f"what was shipped before cannot be read: {manifest.full_text}"
                listen(Note(database, text, Level.WARNING))
    return Previous(manifests, frozenset(unread), others)


def _known(shipment: Shipment | None, shelf: DatabaseShelf) -> bool:
    """Whether keeper's own record is all that there is to know of a database."""
    if shipment is None or hold_of(shipment.manifest):
        return False
    return shelf.newest is None or shelf.newest.object == shipment.object
