"""The list of snapshots that can be restored, with the rules that keep each and its proof."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlitekeeper.destination.catalog import DatabaseCatalog, DrillOutcome, Snapshot
from sqlitekeeper.destination.drill_records import DrillRecord, drill_records_of, last_drills
from sqlitekeeper.destination.manifest import timestamp
from sqlitekeeper.destination.metadata import try_metadata
from sqlitekeeper.destination.prune import kept_by, with_drills
from sqlitekeeper.destination.retention import Policy
from sqlitekeeper.events import Level, Listener, Note, ignore
from sqlitekeeper.rclone.client import Rclone


@dataclass(frozen=True, slots=True)
class ListedSnapshot:
    """One snapshot at one destination: what keeps it, and how its last drill went, and when.

    Times are ISO 8601 in UTC; `proof_at` is None where the record of a drill cannot be read.
    """

    database: str
    to: str
    object: str
    taken_at: str
    bytes: int
    kept_by: tuple[str, ...]
    proof: DrillOutcome | None = None
    proof_at: str | None = None


def list_snapshots(
    rclone: Rclone,
    to: str,
    catalogs: Iterable[DatabaseCatalog],
    policy: Policy,
    remembered: Mapping[str, DrillRecord],
    now: datetime,
    on_event: Listener = ignore,
) -> list[ListedSnapshot]:
    """The snapshots of some databases at one destination.

    The times of drills are in their drill records: one rclone run more, if there are
    any. `remembered` has those that left none there.
    """
    rules: dict[Snapshot, tuple[str, ...]] = {}
    for catalog in catalogs:
        rules |= kept_by(with_drills(catalog, remembered), policy, now)
    contents, error = try_metadata(rclone, to, drill_records_of(rules))
    if error:
        text = f"{to}: when drills were cannot be read: {error.full_text}"
        on_event(Note("", text, Level.WARNING))
    drills = last_drills(rules, contents, remembered, now)
    listed = []
    for snapshot, why in rules.items():
        drill = drills.get(snapshot.object)
        listed.append(
            ListedSnapshot(
                snapshot.database,
                to,
                snapshot.object,
                timestamp(snapshot.taken_at),
                snapshot.bytes,
                why,
                drill.outcome if drill else None,
                timestamp(drill.at) if drill and drill.at else None,
            )
        )
    return listed


def newest_first(listed: Iterable[ListedSnapshot]) -> list[ListedSnapshot]:
    """The lists of several destinations as one."""
    by_name = sorted(listed, key=lambda one: (one.database, one.to))
    return sorted(by_name, key=lambda one: one.taken_at, reverse=True)
