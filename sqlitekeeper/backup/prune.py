"""Retention rules, applied to what a backup has just confirmed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlitekeeper.backup.model import Key
from sqlitekeeper.backup.previous_manifests import Previous
from sqlitekeeper.destination.catalog import read_catalog
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.layout import is_ahead, manifest_object
from sqlitekeeper.destination.manifest import Manifest
from sqlitekeeper.destination.prune import carry_out, plan_prune, with_drills
from sqlitekeeper.destination.retention import Policy
from sqlitekeeper.events import Level, Listener, Note
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.listing import RemoteObject
from sqlitekeeper.state.history import remembered_drills


@dataclass(frozen=True, slots=True)
class Pruner:
    """Applies the rules to those databases whose newest snapshot a run has just confirmed.

    From the listing that the run began with and what it has shipped since, `confirmed`.
    Databases on hold are left alone, and those that somebody else ships there too.
    `paths` are where databases lie, by name, `deltas` is whether runs make any.
    """

    rclone: Rclone
    policy: Policy
    state: Path
    previous: Previous
    confirmed: Mapping[Key, Manifest]
    paths: Mapping[str, Path]
    now: datetime
    on_event: Listener
    deltas: bool = False

    def prune(self, destinations: Iterable[Destination]) -> tuple[str, ...]:
        """The objects that were deleted."""
        return tuple(path for destination in destinations for path in self._prune(destination))

    def _prune(self, destination: Destination) -> tuple[str, ...]:
        manifests = {
            name: manifest
            for (to, name), manifest in self.confirmed.items()
            if to == destination.to
            and (to, name) not in self.previous.unread
            and not self._is_shared((to, name))
            and not manifest.hold
        }
        objects = dict(destination.listing or {})
        for manifest in manifests.values():
            for path in (manifest.object, manifest_object(manifest.object)):
                objects.setdefault(path, RemoteObject(path, manifest.stored_bytes))
        catalogs = read_catalog(destination.to, objects.values())
        drills = remembered_drills(self.state, destination.to, self.on_event)
        plans = []
        for name, manifest in manifests.items():
            catalog = with_drills(catalogs[name], drills)
            newest = catalog.newest
            if newest and newest.object == manifest.object:
                plans.append(
                    plan_prune(catalog, destination.to, self.policy, self.now, deltas=self.deltas)
                )
            elif newest:
                text = f"not pruned at {destination.to}: {newest.object} there is newer"
                text += " than this run's"
                if is_ahead(newest.taken_at, self.now):
                    text += "; if a wrong clock dated it in the future,"
                    text += " keeper prune goes by the others"
                self.on_event(Note(name, text, Level.WARNING))
        return carry_out(self.rclone, destination.to, plans, self.on_event).deleted

    def _is_shared(self, key: Key) -> bool:
        """Whether another database was shipped there under this name, which is told."""
        to, name = key
        before = self.previous.manifests.get(key)
        path = before.path if before else None
        if path is not None and path != str(self.paths[name]):
            others = f"of {path}"
            way_out = "unless it was moved, give one of the two another name in keeper.toml"
        elif host := self.previous.others.get(key):
            others = f"from {host}"
            way_out = "have each host ship to a place of its own, such as one with {hostname} in it"
        else:
            return False
        text = f"{to} has snapshots {others} under this name too, so nothing is pruned there"
        self.on_event(Note(name, f"{text}; {way_out}", Level.WARNING))
        return True
