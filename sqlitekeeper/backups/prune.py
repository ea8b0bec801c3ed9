"""Deleting what the retention rules no longer keep, and nothing else.

A plan is made from a listing alone. It is carried out in two rclone runs for
each destination, and what went is what rclone's log says. Manifests go first: a
run that ends in the middle leaves none without its snapshot.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlitekeeper.backups.catalog import DatabaseShelf, Snapshot, read_shelves
from sqlitekeeper.backups.destination import Destination
from sqlitekeeper.backups.loss import hold_of, on_hold
from sqlitekeeper.backups.marks import is_ahead
from sqlitekeeper.backups.naming import manifest_object, parse_object
from sqlitekeeper.backups.previous import newest_manifests
from sqlitekeeper.backups.rclone import Rclone, RcloneError, RemoteObject, Report
from sqlitekeeper.backups.retention import Policy, rules_that_keep
from sqlitekeeper.backups.shipping import Parcel
from sqlitekeeper.backups.untrusted import Manifest, ManifestError
from sqlitekeeper.errors import KeeperError, as_keeper_error
from sqlitekeeper.events import Level, Listener, Note, ignore
from sqlitekeeper.state.history import DrillRecord
from sqlitekeeper.wording import counted

LAST_PROVEN = "last proven"
ON_HOLD = "on hold"
NOT_READ = "manifest not readable"
REFUSED = "not deleted"
# A younger one may belong to a run that is about to bring its counterpart.
ORPHAN_AGE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of one database at one destination; `kept` says which rules keep what."""

    database: str
    to: str
    kept: tuple[tuple[Snapshot, tuple[str, ...]], ...]
    gone: tuple[Snapshot, ...]
    orphans: tuple[RemoteObject, ...]

    @property
    def objects(self) -> tuple[str, ...]:
        """All that is to be deleted: snapshots with their manifests and marks, and orphans."""
        papers = [(s.object, *(paper.path for paper in s.papers)) for s in self.gone]
        return (*(path for paths in papers for path in paths), *(o.path for o in self.orphans))


def with_drills(shelf: DatabaseShelf, remembered: Mapping[str, DrillRecord]) -> DatabaseShelf:
    """A shelf that also knows of those drills that left no mark at the destination."""
    snapshots = tuple(
        replace(snapshot, mark=remembered[snapshot.object].outcome)
        if snapshot.mark is None and snapshot.object in remembered
        else snapshot
        for snapshot in shelf.snapshots
    )
    return replace(shelf, snapshots=snapshots)


def kept_by(shelf: DatabaseShelf, policy: Policy, now: datetime) -> dict[Snapshot, tuple[str, ...]]:
    """For each snapshot, newest first, what keeps it; nothing does: it goes.

    A snapshot that failed its drill, or that a clock far ahead has dated in the
    future, takes no one's place: the rules apply as if it were not there, too.
    The last one that passed stays for as long as no newer one has.
    """
    plain = rules_that_keep((s.taken_at for s in shelf.snapshots), policy)
    good = [s for s in shelf.snapshots if s.mark != "failed" and not is_ahead(s.taken_at, now)]
    sound = rules_that_keep((s.taken_at for s in good), policy)
    proven = next((s for s in shelf.snapshots if s.mark == "proven"), None)
    return {
        snapshot: tuple(
            dict.fromkeys(
                plain[snapshot.taken_at]
                + sound.get(snapshot.taken_at, ())
                + ((LAST_PROVEN,) if snapshot == proven else ())
            )
        )
        for snapshot in shelf.snapshots
    }


def plan_prune(shelf: DatabaseShelf, to: str, policy: Policy, now: datetime) -> Plan:
    """Which objects of a database go, and why the rest stays."""
    rules = kept_by(shelf, policy, now)
    return Plan(
        shelf.database,
        to,
        kept=tuple((snapshot, why) for snapshot, why in rules.items() if why),
        gone=tuple(snapshot for snapshot, why in rules.items() if not why),
        orphans=tuple(
            orphan
            for orphan in shelf.orphans
            if (name := parse_object(orphan.path)) and now - name.taken_at > ORPHAN_AGE
        ),
    )


@dataclass(frozen=True, slots=True)
class Pruned:
    """The objects that were deleted at a destination, and why others were not."""

    to: str
    deleted: tuple[str, ...] = ()
    error: RcloneError | None = None


def carry_out(rclone: Rclone, to: str, plans: Sequence[Plan], listen: Listener = ignore) -> Pruned:
    """Delete what the plans for a destination say; rclone is not run if nothing goes."""
    objects = [path for plan in plans for path in plan.objects]
    report = _delete(rclone, to, [path for path in objects if path.endswith(".json")])
    described = {
        snapshot.object
        for plan in plans
        for snapshot in plan.gone
        if not {paper.path for paper in snapshot.papers} <= report.done
    }
    rest = [path for path in objects if not path.endswith(".json") and path not in described]
    last = _delete(rclone, to, rest)
    report = Report(report.done | last.done, report.error or last.error)
    deleted = tuple(path for path in objects if path in report.done)
    for plan in plans:
        _tell(plan, report.done, listen)
    if report.error:
        left = f"{len(objects) - len(deleted)} of {counted(len(objects), 'object')}"
        text = f"{to}: {left} could not be deleted: {report.error.full_text}"
        listen(Note("", text, Level.WARNING))
    return Pruned(to, deleted, report.error)


def _delete(rclone: Rclone, to: str, objects: Sequence[str]) -> Report:
    if not objects:
        return Report(frozenset(), None)
    try:
        return rclone.delete(to, objects)
    except OSError as error:  # no room for the list of them
        return Report(frozenset(), RcloneError(as_keeper_error(error).full_text))


def _tell(plan: Plan, done: frozenset[str], listen: Listener) -> None:
    went = sum(snapshot.object in done for snapshot in plan.gone)
    if went:
        left = counted(len(plan.kept), "snapshot")
        listen(Note(plan.database, f"pruned {went:,} at {plan.to}, {left} kept"))
    for orphan in plan.orphans:
        if orphan.path in done:
            cut_off = orphan.path.endswith(".partial")
            why = "its upload was cut off" if cut_off else "it had no counterpart"
            text = f"cleared {orphan.path} at {plan.to}: {why}"
            listen(Note(plan.database, text))


def prune_after_backup(
    rclone: Rclone,
    destination: Destination,
    confirmed: Iterable[Parcel],
    policy: Policy,
    remembered: Mapping[str, DrillRecord],
    now: datetime,
    listen: Listener = ignore,
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
    shelves = read_shelves(destination.to, objects.values())
    plans = []
    for name, parcel in parcels.items():
        shelf = with_drills(shelves[name], remembered)
        newest = shelf.newest
        if newest and newest.object == parcel.object:
            plans.append(plan_prune(shelf, destination.to, policy, now))
        elif newest:
            text = f"not pruned at {destination.to}: {newest.object} there is newer than this run's"
            if is_ahead(newest.taken_at, now):
                text += "; if a wrong clock dated it in the future, keeper prune goes by the others"
            listen(Note(name, text, Level.WARNING))
    return carry_out(rclone, destination.to, plans, listen)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a database is not pruned: `keeps` in a word or two, `error` where something failed."""

    keeps: str
    reason: str
    error: KeeperError | None = None


def obstacles(rclone: Rclone, to: str, shelves: Sequence[DatabaseShelf]) -> dict[str, Obstacle]:
    """Which databases are on hold at a destination, or may be, as it says itself."""
    try:
        newest = newest_manifests(rclone, to, shelves)
    except (RcloneError, OSError) as error:
        trouble = as_keeper_error(error)
        return {s.database: Obstacle(NOT_READ, trouble.full_text, trouble) for s in shelves}
    found = {name: _obstacle(name, manifest) for name, manifest in newest.items()}
    return {name: obstacle for name, obstacle in found.items() if obstacle}


def _obstacle(name: str, manifest: Manifest | ManifestError) -> Obstacle | None:
    if isinstance(manifest, ManifestError):
        return Obstacle(NOT_READ, manifest.full_text, manifest)
    hold = hold_of(manifest.raw)
    return Obstacle(ON_HOLD, on_hold(name, hold.tables)) if hold else None


@dataclass(frozen=True, slots=True)
class DatabasePruned:
    """What became of a plan: which of its objects went, and why others did not."""

    plan: Plan
    deleted: tuple[str, ...] = ()
    obstacle: Obstacle | None = None


def prune_destination(
    rclone: Rclone,
    to: str,
    shelves: Sequence[DatabaseShelf],
    policy: Policy,
    now: datetime,
    *,
    dry_run: bool = False,
    listen: Listener = ignore,
) -> list[DatabasePruned]:
    """Apply the rules to some databases of a destination, but not to those on hold there."""
    plans = {shelf.database: plan_prune(shelf, to, policy, now) for shelf in shelves}
    barred = obstacles(rclone, to, [s for s in shelves if plans[s.database].objects])
    free = [plan for plan in plans.values() if plan.database not in barred]
    pruned = Pruned(to) if dry_run else carry_out(rclone, to, free, listen)
    done = frozenset(pruned.deleted)
    results = []
    for name, plan in plans.items():
        deleted = tuple(path for path in plan.objects if path in done)
        obstacle = barred.get(name)
        if pruned.error and name not in barred and len(deleted) < len(plan.objects):
            obstacle = Obstacle(REFUSED, pruned.error.full_text, pruned.error)
        results.append(DatabasePruned(plan, deleted, obstacle))
    return results
