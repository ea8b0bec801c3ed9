"""The list of snapshots that can be restored, with the rules that keep each and its proof."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlitekeeper.destination.catalog import DatabaseCatalog, DrillOutcome, Snapshot
from sqlitekeeper.destination.drill_records import DrillRecord, drill_records_of, last_drills
from sqlitekeeper.destination.manifest import Manifest, timestamp
from sqlitekeeper.destination.metadata import read_manifest, try_metadata
from sqlitekeeper.destination.prune import kept_by, with_drills
from sqlitekeeper.destination.retention import Policy
from sqlitekeeper.events import Level, Listener, Note, ignore
from sqlitekeeper.rclone.client import Rclone


@dataclass(frozen=True, slots=True)
class ListedSnapshot:
    """One snapshot at one destination: what keeps it, and how its last drill went, and when.

    `bytes` are those of the plain file, where its manifest could be read; `stored_bytes` those
    at the destination. `is_whole` is not so of a delta without its base.

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
    stored_bytes: int = 0
    encoding: str = "plain"
    is_whole: bool = True


def list_snapshots(
    rclone: Rclone,
    to: str,
    catalogs: Iterable[DatabaseCatalog],
    policy: Policy,
    remembered: Mapping[str, DrillRecord],
    now: datetime,
    on_event: Listener = ignore,
    *,
    deltas: bool = False,
) -> list[ListedSnapshot]:
    """The snapshots of some databases at one destination.

    The times of drills are in their drill records, the sizes of what is not stored plain in
    manifests: one rclone run more, if there are any. `remembered` has those that left none there.
    """
    rules: dict[Snapshot, tuple[str, ...]] = {}
    for catalog in catalogs:
        rules |= kept_by(with_drills(catalog, remembered), policy, now, deltas=deltas)
    packed = [one for one in rules if one.encoding != "plain"]
    manifests = {one: one.metadata[0] for one in packed}
    wanted = [*drill_records_of(rules), *manifests.values()]
    contents, error = try_metadata(rclone, to, wanted)
    if error:
        text = f"{to}: when drills were, and how large, cannot be read: {error.full_text}"
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
                _plain_bytes(snapshot, contents, to),
                why,
                drill.outcome if drill else None,
                timestamp(drill.at) if drill and drill.at else None,
                snapshot.bytes,
                snapshot.encoding,
                snapshot.is_whole,
            )
        )
    return listed


def _plain_bytes(snapshot: Snapshot, contents: Mapping[str, bytes], to: str) -> int:
    if snapshot.encoding != "plain":
        manifest = read_manifest(snapshot.metadata[0], contents, to)
        if isinstance(manifest, Manifest) and manifest.object == snapshot.object:
            return manifest.bytes
    return snapshot.bytes


def newest_first(listed: Iterable[ListedSnapshot]) -> list[ListedSnapshot]:
    """The lists of several destinations as one."""
    by_name = sorted(listed, key=lambda one: (one.database, one.to))
    return sorted(by_name, key=lambda one: one.taken_at, reverse=True)
