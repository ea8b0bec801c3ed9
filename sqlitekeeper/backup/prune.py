"""Retention rules, applied to what a backup has just confirmed."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlitekeeper.backup.model import Parcel
from sqlitekeeper.destination.catalog import read_catalog
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.drill_records import DrillRecord
from sqlitekeeper.destination.hold import hold_of
from sqlitekeeper.destination.layout import is_ahead, manifest_object
from sqlitekeeper.destination.prune import Pruned, carry_out, plan_prune, with_drills
from sqlitekeeper.destination.retention import Policy
from sqlitekeeper.events import Level, Listener, Note, ignore
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.listing import RemoteObject


def prune_after_backup(
    rclone: Rclone,
    destination: Destination,
    confirmed: Iterable[Parcel],
    policy: Policy,
    remembered: Mapping[str, DrillRecord],
    now: datetime,
    on_event: Listener = ignore,
) -> Pruned:
    """Apply the rules to those databases whose newest snapshot a run has just confirmed.

    From the listing that the run began with and what it has shipped since.
    Databases on hold are left alone.
    """
    parcels = {parcel.database: parcel for parcel in confirmed if not hold_of(parcel.manifest)}
    objects = dict(destination.listing or {})
    for parcel in parcels.values():
        if parcel.upload:
            for path in (parcel.object, manifest_object(parcel.object)):
                objects[path] = RemoteObject(path, parcel.bytes)
    catalogs = read_catalog(destination.to, objects.values())
    plans = []
    for name, parcel in parcels.items():
        catalog = with_drills(catalogs[name], remembered)
        newest = catalog.newest
        if newest and newest.object == parcel.object:
            plans.append(plan_prune(catalog, destination.to, policy, now))
        elif newest:
            text = f"not pruned at {destination.to}: {newest.object} there is newer than this run's"
            if is_ahead(newest.taken_at, now):
                text += "; if a wrong clock dated it in the future, keeper prune goes by the others"
            on_event(Note(name, text, Level.WARNING))
    return carry_out(rclone, destination.to, plans, on_event)
