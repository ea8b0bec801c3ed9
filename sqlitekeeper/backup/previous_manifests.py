"""The newest manifest of each database at each destination before this run.

keeper's own record tells, at no cost. Where it cannot know, the destination is
asked: without a record, when someone else has shipped since, and while the
database is on hold, which may have been lifted there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlitekeeper.destination.catalog import DatabaseCatalog, read_catalog
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.manifest import Manifest
from sqlitekeeper.destination.metadata import newest_manifests
from sqlitekeeper.errors import KeeperError, as_keeper_error
from sqlitekeeper.events import Level, Listener, Note
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.errors import RcloneError
from sqlitekeeper.state.history import Shipment

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Previous:
    """Newest manifests by destination and database; `unread` are those that could not be read.

    `others` are the hosts that have shipped there since this one did, where it did.
    """

    manifests: Mapping[Key, Manifest]
    unread: frozenset[Key]
    others: Mapping[Key, str]


def previous_manifests(
    rclone: Rclone,
    destinations: Iterable[Destination],
    shipments: Mapping[Key, Shipment],
    databases: Iterable[str],
    on_event: Listener,
) -> Previous:
    """What each destination had before; what cannot be read is told, and stays as recorded."""
    wanted = set(databases)
    manifests = {key: shipment.manifest for key, shipment in shipments.items() if key[1] in wanted}
    unread: set[Key] = set()
    others: dict[Key, str] = {}
    for destination in destinations:
        to = destination.to
        catalogs = [
            catalog
            for catalog in read_catalog(to, (destination.listing or {}).values()).values()
            if catalog.database in wanted
            and not _known(shipments.get((to, catalog.database)), catalog)
        ]
        try:
            found: Mapping[str, Manifest | KeeperError] = newest_manifests(rclone, to, catalogs)
        except (RcloneError, OSError) as error:
            found = dict.fromkeys((s.database for s in catalogs), as_keeper_error(error))
        for database, manifest in found.items():
            if isinstance(manifest, Manifest):
                own = manifests.get((to, database))
                if own and manifest.host != own.host:
                    others[to, database] = manifest.host
                manifests[to, database] = manifest
            else:
                unread.add((to, database))
                text = f"what was shipped before cannot be read: {manifest.full_text}"
                on_event(Note(database, text, Level.WARNING))
    return Previous(manifests, frozenset(unread), others)


def _known(shipment: Shipment | None, catalog: DatabaseCatalog) -> bool:
    """Whether keeper's own record is all that there is to know of a database."""
    if shipment is None or shipment.manifest.hold:
        return False
    return catalog.newest is None or catalog.newest.object == shipment.object
