"""The choice of a snapshot: `latest`, a time or an object's name, or whose turn it is."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time

from sqlitekeeper.destination.catalog import DatabaseCatalog, Snapshot
from sqlitekeeper.destination.destination import Destination, combined_error
from sqlitekeeper.destination.layout import SUFFIXES, is_ahead, parse_object
from sqlitekeeper.errors import ConfigError, KeeperError
from sqlitekeeper.rclone.listing import RemoteObject

LATEST = "latest"


def choose(snapshots: Sequence[Snapshot], at: str, now: datetime) -> Snapshot:
    """The snapshot that `at` means; of one that is given several times the first.

    `at` is "latest", an object (its path below the destination, or its file
    name alone) or a time in ISO 8601, UTC unless it says otherwise, which means
    the newest snapshot not after it; of one second, the last by name. A bare date
    means the whole day, so the newest of that day or before. What a clock far ahead
    has dated in the future is the latest only where there is nothing else.

    Raises:
        KeeperError: there is none; the hint names the oldest and the newest.
        ConfigError: `at` is none of these.
    """
    wanted = at.strip()
    named = [s for s in snapshots if wanted in (s.object, s.object.rpartition("/")[2])]
    if named:
        return named[0]
    if wanted == LATEST:
        past = [s for s in snapshots if not is_ahead(s.taken_at, now)]
        candidates = past or list(snapshots)
    elif wanted.endswith(tuple(SUFFIXES.values())):
        raise KeeperError(f"there is no snapshot {wanted}", hint=_span(snapshots))
    else:
        until = _moment(wanted)
        candidates = [s for s in snapshots if s.taken_at <= until]
    if not candidates:
        when = "" if wanted == LATEST else f" of {wanted} or before"
        raise KeeperError(f"there is no snapshot{when}", hint=_span(snapshots))
    return max(candidates, key=_order)


def find_snapshots(
    listed: Sequence[Destination], database: str, bare: bool = False
) -> list[tuple[Destination, Snapshot]]:
    """All snapshots of a database, at each destination that has them.

    With `bare` also those without a manifest.

    Raises:
        KeeperError: no destination answers, or none has any.
    """
    errors = [destination.error for destination in listed if destination.error]
    found = [
        (destination, snapshot)
        for destination in listed
        for snapshot in _snapshots(destination, database, bare)
    ]
    if not found and errors:
        raise combined_error(errors)
    if not found:
        raise KeeperError(
            f"{database}: no snapshot at {', '.join(one.to for one in listed)}",
            hint="keeper snapshots --from REMOTE shows what is there",
        )
    return found


def _snapshots(destination: Destination, database: str, bare: bool) -> list[Snapshot]:
    catalog = destination.catalog.get(database)
    if catalog is None:
        return []
    lone = []
    for item in catalog.orphans if bare else ():
        name = parse_object(item.path)
        if name and name.is_snapshot and not name.base:
            lone.append(Snapshot(database, destination.to, item.path, name.taken_at, item.bytes))
    return [*catalog.snapshots, *lone]


def instead_of(damaged: Snapshot, snapshots: Sequence[Snapshot]) -> Snapshot | None:
    """What to restore where it is damaged: the newest before it, else the oldest after it.

    Those that a drill has found damaged or that lack their base are left out; None
    where there is no other.
    """
    others = [
        one
        for one in snapshots
        if one.object != damaged.object and one.drill_outcome != "failed" and one.is_whole
    ]
    older = [one for one in others if _order(one) < _order(damaged)]
    if older:
        return max(older, key=lambda one: (_order(one), one.drill_outcome == "proven"))
    return min(others, key=lambda one: (_order(one), one.drill_outcome != "proven"), default=None)


def promised_snapshots(to: str, catalog: DatabaseCatalog) -> list[Snapshot]:
    """Every snapshot that has a manifest, also where the snapshot itself is gone (0 bytes)."""
    beside: dict[tuple[datetime, str], dict[str, RemoteObject]] = {}
    for item in catalog.orphans:
        if name := parse_object(item.path):
            beside.setdefault((name.taken_at, name.snapshot), {})[name.kind] = item
    lost = []
    for (taken_at, path), kinds in beside.items():
        if "json" in kinds:
            metadata = tuple(sorted(kinds.values(), key=lambda entry: len(entry.path)))
            lost.append(Snapshot(catalog.database, to, path, taken_at, 0, metadata=metadata))
    return [*catalog.snapshots, *lost]


def longest_undrilled(snapshots: Sequence[Snapshot], last: Mapping[str, datetime]) -> Snapshot:
    """The snapshot whose last drill is the longest ago; `last` has them by object.

    Those never drilled come first, and of them the oldest: it is the one that
    retention keeps for long.
    """

    def turn(snapshot: Snapshot) -> tuple[bool, datetime, datetime]:
        at = last.get(snapshot.object)
        return at is not None, at or snapshot.taken_at, snapshot.taken_at

    return min(snapshots, key=turn)


def _order(snapshot: Snapshot) -> tuple[datetime, str]:
    """Snapshots sort by time, then by name."""
    return snapshot.taken_at, snapshot.object


def _moment(text: str) -> datetime:
    """The last moment that a time or a bare date includes."""
    try:
        try:
            return datetime.combine(date.fromisoformat(text), time.max, UTC)
        except ValueError:
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigError(
            f"{text!r} is neither latest, nor a time, nor a snapshot's name",
            hint="write a time as 2026-11-23T03:00, 2026-11-23T03:00+02:00 or 2026-11-23;"
            " `keeper snapshots` lists the names",
        ) from None


def _span(snapshots: Sequence[Snapshot]) -> str | None:
    """What there is to choose from."""
    if not snapshots:
        return None
    oldest, newest = min(snapshots, key=_order), max(snapshots, key=_order)
    if oldest == newest:
        return f"the only one is {oldest.object}"
    return f"the oldest is {oldest.object}, the newest {newest.object}"
