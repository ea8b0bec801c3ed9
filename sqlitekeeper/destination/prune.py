"""Snapshots that the retention rules no longer keep, deleted, and nothing else.

A plan is made from a listing alone. It is carried out in two rclone runs for
each destination, and what went is what rclone's log says. Manifests go first: a
run that ends in the middle leaves none without its snapshot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from sqlitekeeper.destination.catalog import DatabaseCatalog, Snapshot
from sqlitekeeper.destination.drill_records import DrillRecord
from sqlitekeeper.destination.hold import on_hold
from sqlitekeeper.destination.layout import base_of, is_ahead, parse_object, token_of
from sqlitekeeper.destination.manifest import Manifest, ManifestError
from sqlitekeeper.destination.metadata import newest_manifests
from sqlitekeeper.destination.retention import Policy, rules_that_keep
from sqlitekeeper.errors import KeeperError, as_keeper_error
from sqlitekeeper.events import Level, Listener, Note, ignore
from sqlitekeeper.rclone.client import Rclone, Report
from sqlitekeeper.rclone.errors import RcloneError
from sqlitekeeper.rclone.listing import RemoteObject
from sqlitekeeper.result import Result
from sqlitekeeper.wording import counted

LAST_PROVEN = "last proven"
BASE = "base"
ON_HOLD = "on hold"
NOT_READ = "manifest not readable"
REFUSED = "not deleted"
# A younger one may belong to a run that is about to bring its counterpart.
ORPHAN_AGE = timedelta(days=1)


def kept_by(
    catalog: DatabaseCatalog, policy: Policy, now: datetime, *, deltas: bool = False
) -> dict[Snapshot, tuple[str, ...]]:
    """For each snapshot, newest first, what keeps it; nothing does: it goes.

    A snapshot that failed its drill, or that a clock far ahead has dated in the
    future, takes no one's place: the rules apply as if it were not there, too.
    So does a delta whose base is gone. The last one that passed stays for as long as no
    newer one has, and a base for as long as a delta that stays needs it. `deltas` is whether
    runs may make deltas of what is there.
    """
    plain = rules_that_keep((s.taken_at for s in catalog.snapshots), policy)
    good = [
        s
        for s in catalog.snapshots
        if s.drill_outcome != "failed" and s.is_whole and not is_ahead(s.taken_at, now)
    ]
    sound = rules_that_keep((s.taken_at for s in good), policy)
    proven = next(
        (s for s in catalog.snapshots if s.drill_outcome == "proven" and s.is_whole), None
    )
    rules = {
        snapshot: tuple(
            dict.fromkeys(
                plain[snapshot.taken_at]
                + sound.get(snapshot.taken_at, ())
                + ((LAST_PROVEN,) if snapshot == proven else ())
            )
        )
        for snapshot in catalog.snapshots
    }
    bases = _bases(catalog, rules, now, deltas)
    return {
        snapshot: (*why, BASE) if snapshot.object in bases else why
        for snapshot, why in rules.items()
    }


def _bases(
    catalog: DatabaseCatalog,
    rules: Mapping[Snapshot, tuple[str, ...]],
    now: datetime,
    deltas: bool,
) -> set[str]:
    """The objects that deltas need, or may need soon.

    A run that listed the destination before there was a newer whole one may still bring a
    delta to the one before, so that one stays as long as what may belong to such a run.
    """
    tokens = {base_of(snapshot.object) for snapshot, why in rules.items() if why}
    tokens |= {base_of(orphan.path) for orphan in catalog.orphans if not _is_old(orphan.path, now)}
    needed = {item.path for token in tokens for item in catalog.bases.get(token, ())}
    if deltas or any(base_of(snapshot.object) for snapshot in catalog.snapshots):
        wholes = [s for s in catalog.snapshots if s.encoding == "zstd"]
        newer: Snapshot | None = None
        for whole in wholes:
            if newer is None or now - newer.taken_at <= ORPHAN_AGE:
                needed.add(whole.object)
            newer = whole if not is_ahead(whole.taken_at, now) else newer
    return needed


def _is_old(path: str, now: datetime) -> bool:
    """Whether no run can be about to bring an object's counterpart any more."""
    name = parse_object(path)
    return name is not None and now - name.taken_at > ORPHAN_AGE


@dataclass(frozen=True, slots=True)
class KeptSnapshot:
    """A snapshot that stays, and the rules that keep it."""

    to: str
    object: str
    kept_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PruneResult(Result):
    """What pruning did to one database, at all its destinations.

    Objects are paths below their destinations. `would_delete` is a dry run's.
    """

    outcome: Literal["done", "skipped", "failed"]
    deleted: tuple[str, ...] = ()
    would_delete: tuple[str, ...] = ()
    kept: tuple[KeptSnapshot, ...] = ()
    dry_run: bool = False


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
        """The objects to delete: snapshots, their manifests and drill records, and orphans."""
        metadata = [(s.object, *(entry.path for entry in s.metadata)) for s in self.gone]
        return (*(path for paths in metadata for path in paths), *(o.path for o in self.orphans))


def with_drills(catalog: DatabaseCatalog, remembered: Mapping[str, DrillRecord]) -> DatabaseCatalog:
    """A catalog that also knows of those drills that left no record at the destination."""
    snapshots = [
        replace(snapshot, drill_outcome=remembered[snapshot.object].outcome)
        if snapshot.drill_outcome is None and snapshot.object in remembered
        else snapshot
        for snapshot in catalog.snapshots
    ]
    broken = {
        token_of(one.object)
        for one in snapshots
        if one.encoding == "zstd" and one.drill_outcome == "failed"
    } - {""}
    return replace(
        catalog,
        snapshots=tuple(
            replace(one, is_whole=False) if base_of(one.object) in broken else one
            for one in snapshots
        ),
    )


def plan_prune(
    catalog: DatabaseCatalog, to: str, policy: Policy, now: datetime, *, deltas: bool = False
) -> Plan:
    """Which objects of a database go, and why the rest stays."""
    rules = kept_by(catalog, policy, now, deltas=deltas)
    needed = _bases(catalog, rules, now, deltas)
    return Plan(
        catalog.database,
        to,
        kept=tuple((snapshot, why) for snapshot, why in rules.items() if why),
        gone=tuple(snapshot for snapshot, why in rules.items() if not why),
        orphans=tuple(
            orphan
            for orphan in catalog.orphans
            if _is_old(orphan.path, now) and orphan.path not in needed
        ),
    )


@dataclass(frozen=True, slots=True)
class Pruned:
    """The objects that were deleted at a destination, and why others were not."""

    to: str
    deleted: tuple[str, ...] = ()
    error: RcloneError | None = None


def carry_out(
    rclone: Rclone, to: str, plans: Sequence[Plan], on_event: Listener = ignore
) -> Pruned:
    """Delete what the plans for a destination say; rclone is not run if nothing goes."""
    objects = [path for plan in plans for path in plan.objects]
    report = rclone.delete(to, [path for path in objects if path.endswith(".json")])
    described = {path for plan in plans for path in still_needed(plan, report.done)}
    rest = [path for path in objects if not path.endswith(".json") and path not in described]
    last = rclone.delete(to, rest)
    report = Report(report.done | last.done, {**report.errors, **last.errors})
    deleted = tuple(path for path in objects if path in report.done)
    for plan in plans:
        _report(plan, report.done, on_event)
    if report.error:
        left = f"{len(objects) - len(deleted)} of {counted(len(objects), 'object')}"
        text = f"{to}: {left} could not be deleted: {report.error.full_text}"
        on_event(Note("", text, Level.WARNING))
    return Pruned(to, deleted, report.error)


def still_needed(plan: Plan, done: frozenset[str]) -> set[str]:
    """The snapshots of a plan that have to stay since some of their metadata does; their bases."""
    stay = {
        snapshot.object
        for snapshot in plan.gone
        if not {entry.path for entry in snapshot.metadata} <= done
    }
    tokens = {(plan.database, base_of(path)) for path in stay} - {(plan.database, "")}
    going = [*(one.object for one in plan.gone), *(one.path for one in plan.orphans)]
    return stay | {path for path in going if (plan.database, token_of(path)) in tokens}


def _report(plan: Plan, done: frozenset[str], on_event: Listener) -> None:
    went = sum(snapshot.object in done for snapshot in plan.gone)
    if went:
        left = counted(len(plan.kept), "snapshot")
        on_event(Note(plan.database, f"pruned {went:,} at {plan.to}, {left} kept"))
    for orphan in plan.orphans:
        if orphan.path in done:
            cut_off = orphan.path.endswith(".partial")
            why = "its upload was cut off" if cut_off else "it had no counterpart"
            text = f"cleared {orphan.path} at {plan.to}: {why}"
            on_event(Note(plan.database, text))


@dataclass(frozen=True, slots=True)
class PruneBlock:
    """Why a database is not pruned: `keeps` in a word or two, `error` where something failed."""

    keeps: str
    reason: str
    error: KeeperError | None = None


def blocks(rclone: Rclone, to: str, catalogs: Sequence[DatabaseCatalog]) -> dict[str, PruneBlock]:
    """Which databases are on hold at a destination, or may be, as it says itself."""
    try:
        newest = newest_manifests(rclone, to, catalogs)
    except (RcloneError, OSError) as error:
        trouble = as_keeper_error(error)
        return {s.database: PruneBlock(NOT_READ, trouble.full_text, trouble) for s in catalogs}
    found = {name: _block(name, manifest) for name, manifest in newest.items()}
    return {name: block for name, block in found.items() if block}


def _block(name: str, manifest: Manifest | ManifestError) -> PruneBlock | None:
    if isinstance(manifest, ManifestError):
        return PruneBlock(NOT_READ, manifest.full_text, manifest)
    hold = manifest.hold
    return PruneBlock(ON_HOLD, on_hold(name, hold.tables)) if hold else None


@dataclass(frozen=True, slots=True)
class DatabasePruned:
    """What became of a plan: which of its objects went, and why others did not."""

    plan: Plan
    deleted: tuple[str, ...] = ()
    block: PruneBlock | None = None


def prune_destination(
    rclone: Rclone,
    to: str,
    catalogs: Sequence[DatabaseCatalog],
    policy: Policy,
    now: datetime,
    *,
    deltas: bool = False,
    dry_run: bool = False,
    on_event: Listener = ignore,
) -> list[DatabasePruned]:
    """Apply the rules to some databases of a destination, but not to those on hold there."""
    plans = {
        catalog.database: plan_prune(catalog, to, policy, now, deltas=deltas)
        for catalog in catalogs
    }
    blocked = blocks(rclone, to, [s for s in catalogs if plans[s.database].objects])
    free = [plan for plan in plans.values() if plan.database not in blocked]
    pruned = Pruned(to) if dry_run else carry_out(rclone, to, free, on_event)
    done = frozenset(pruned.deleted)
    results = []
    for name, plan in plans.items():
        deleted = tuple(path for path in plan.objects if path in done)
        block = blocked.get(name)
        if pruned.error and name not in blocked and len(deleted) < len(plan.objects):
            block = PruneBlock(REFUSED, pruned.error.full_text, pruned.error)
        results.append(DatabasePruned(plan, deleted, block))
    return results
