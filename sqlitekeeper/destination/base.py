"""The base that the next delta may be made of, by what a destination says of itself."""

from dataclasses import dataclass
from datetime import datetime

from sqlitekeeper.destination.catalog import Snapshot
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.layout import base_of, is_ahead, token_of
from sqlitekeeper.destination.manifest import Manifest
from sqlitekeeper.destination.stored import Base


@dataclass(frozen=True, slots=True)
class UsableBase:
    """A base, and how many bytes of deltas were shipped since."""

    base: Base
    delta_bytes: int


def usable_base(destination: Destination, newest: Manifest, now: datetime) -> UsableBase | None:
    """The base of the next delta, by the newest manifest there; None: it is time for a whole one.

    It is the newest whole snapshot there, or pruning might not expect a delta of it. Nothing of
    it has failed a drill, and what was shipped since is less than it is itself.
    """
    if newest.stored is None:
        return None
    base = newest.stored.base or Base(newest.object, newest.stored.bytes, newest.stored.sha256)
    catalog = destination.catalog.get(newest.database)
    wholes = [
        one
        for one in (catalog.snapshots if catalog else ())
        if one.encoding == "zstd" and not is_ahead(one.taken_at, now)
    ]
    token = token_of(base.object)
    if not (catalog and token and wholes) or not _is(wholes[0], base):
        return None
    if len(catalog.bases.get(token, ())) > 1:
        return None
    deltas = [one for one in catalog.snapshots if base_of(one.object) == token]
    if any(one.drill_outcome == "failed" for one in (wholes[0], *deltas)):
        return None
    # Some of the deltas may have been pruned, others shipped by somebody else.
    shipped = max(newest.stored.delta_bytes, sum(one.bytes for one in deltas))
    return UsableBase(base, shipped) if shipped < base.bytes else None


def _is(snapshot: Snapshot, base: Base) -> bool:
    return snapshot.object == base.object and snapshot.bytes == base.bytes
