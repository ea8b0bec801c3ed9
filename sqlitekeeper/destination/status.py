"""The age of every newest snapshot, as the destination tells it.

Of latest.json only that counts which the listing bears out; where there is no
telling, the outcome is a failure, never "fresh".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from sqlitekeeper.destination.catalog import BASE_LACKS, DatabaseCatalog, Snapshot, Subject
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.drill_records import DrillRecord, drill_records_of, last_drills
from sqlitekeeper.destination.hold import on_hold
from sqlitekeeper.destination.layout import is_ahead
from sqlitekeeper.destination.manifest import Manifest, ManifestError, timestamp
from sqlitekeeper.destination.metadata import read_manifest, try_metadata
from sqlitekeeper.errors import CheckError, KeeperError
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.errors import RcloneError
from sqlitekeeper.rclone.listing import RemoteObject
from sqlitekeeper.result import Result
from sqlitekeeper.wording import counted, span

Outcome = Literal["fresh", "stale", "missing", "failed", "skipped"]
_SEVERITY: tuple[Outcome, ...] = ("skipped", "fresh", "stale", "missing", "failed")


@dataclass(frozen=True, slots=True)
class StatusEntry(Result):
    """One database's freshness: at one destination, or at the worst of several, which `to` names.

    Times are ISO 8601 UTC. `host` is set in a fleet only. `on_hold` is a loss of rows that
    nobody has accepted yet: a fresh database fails its check then, too.
    """

    outcome: Outcome
    to: str | None = None
    host: str | None = None
    last_snapshot_at: str | None = None
    last_confirmed_at: str | None = None
    last_proven_at: str | None = None
    age_seconds: float | None = None
    bytes: int = 0
    on_hold: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What is young enough, and what time it is."""

    now: datetime
    max_age_seconds: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was read of one database at one destination beside the listing.

    `latest` is an error where latest.json cannot be used, None where there is
    none; `drills` are the last ones of its snapshots, by object.
    """

    latest: Manifest | ManifestError | None
    drills: Mapping[str, DrillRecord]


def database_status(
    subjects: Sequence[Subject],
    destinations: Sequence[Destination],
    rclone: Rclone,
    limits: Limits,
    remembered: Mapping[str, Mapping[str, DrillRecord]],
) -> list[StatusEntry]:
    """The freshness of each database, the worst of all destinations.

    `remembered` has, by destination, the drills that only this host knows.
    """
    found: dict[str, list[StatusEntry]] = {subject.name: [] for subject in subjects}
    for destination in destinations:
        for entry in _at(destination, subjects, rclone, limits, remembered):
            found[entry.name].append(entry)
    return [_worst(found[subject.name]) for subject in subjects]


def _at(
    destination: Destination,
    subjects: Sequence[Subject],
    rclone: Rclone,
    limits: Limits,
    remembered: Mapping[str, Mapping[str, DrillRecord]],
) -> Iterable[StatusEntry]:
    to = destination.to
    if destination.error:
        return [failed(one, to, destination.error) for one in subjects]
    catalogs = destination.catalog
    wanted = destination.catalogs_of(one.name for one in subjects)
    contents, error = try_metadata(rclone, to, metadata_of(wanted))
    known = remembered.get(to, {})
    entries = []
    for subject in subjects:
        catalog = catalogs.get(subject.name) or DatabaseCatalog(subject.name, (), (), None)
        drills = last_drills(catalog.snapshots, contents, known, limits.now)
        evidence = Evidence(read_latest(catalog, catalog.latest, contents, to, error), drills)
        entries.append(judge(subject, to, catalog, evidence, limits))
    return entries


def metadata_of(catalogs: Iterable[DatabaseCatalog]) -> list[RemoteObject]:
    """The objects to read for a status: each latest.json, and the drill records."""
    metadata = []
    for catalog in catalogs:
        metadata += [catalog.latest] if catalog.latest else []
        metadata += drill_records_of(catalog.snapshots)
    return metadata


def read_latest(
    catalog: DatabaseCatalog,
    entry: RemoteObject | None,
    contents: Mapping[str, bytes],
    to: str,
    error: RcloneError | None,
) -> Manifest | ManifestError | None:
    """A database's latest.json, out of what was fetched; `error` is rclone's if some is missing."""
    if entry is None:
        return None
    latest = read_manifest(entry, contents, to)
    if isinstance(latest, ManifestError) and entry.path not in contents and error:
        return ManifestError(f"{latest.message}: {error.message}", hint=latest.hint or error.hint)
    if isinstance(latest, Manifest) and latest.database != catalog.database:
        return ManifestError(f"{to}/{entry.path}: is the manifest of {latest.database!r}")
    return latest


def judge(
    subject: Subject, to: str, catalog: DatabaseCatalog, evidence: Evidence, limits: Limits
) -> StatusEntry:
    """What the evidence amounts to.

    Snapshots that failed their last drill, or are not as large as latest.json says, count as none.
    """
    notes: list[str] = []
    sound = list(_sound(catalog, evidence, limits.now, notes))
    latest, confirmed_at = evidence.latest, None
    times = [sound[0].taken_at] if sound else []
    if isinstance(latest, Manifest):
        confirmed_at = _confirmed_at(latest, catalog, limits.now, notes)
        if confirmed_at and any(one.object == latest.object for one in sound):
            times.append(confirmed_at)
    elif latest is None and sound:
        notes.append("there is no latest.json")
    age = max(0.0, (limits.now - max(times)).total_seconds()) if times else None
    outcome: Outcome = "fresh"
    if isinstance(latest, ManifestError):
        outcome = "failed"
        notes.insert(0, latest.full_text)
    elif age is None:
        outcome = "missing"
        if not catalog.snapshots:
            notes.insert(0, f"no snapshot at {to}")
    elif age > limits.max_age_seconds:
        outcome = "stale"
        notes.insert(0, f"{span(age)} old at {to}, the limit is {span(limits.max_age_seconds)}")
    proven = [d.at for d in evidence.drills.values() if d.outcome == "proven" and d.at]
    on_hold = isinstance(latest, Manifest) and latest.hold is not None
    codes = {"fresh": CheckError.exit_code if on_hold else 0, "failed": KeeperError.exit_code}
    return StatusEntry(
        subject.name,
        subject.path,
        outcome,
        "; ".join(notes) or None,
        to=to,
        last_snapshot_at=timestamp(sound[0].taken_at) if sound else None,
        last_confirmed_at=timestamp(confirmed_at) if confirmed_at else None,
        last_proven_at=timestamp(max(proven)) if proven else None,
        age_seconds=None if age is None else round(age, 3),
        bytes=_plain_bytes(sound[0], latest) if sound else 0,
        on_hold=on_hold,
        exit_code=codes.get(outcome, CheckError.exit_code),
    )


def _sound(
    catalog: DatabaseCatalog, evidence: Evidence, now: datetime, notes: list[str]
) -> Iterable[Snapshot]:
    """The snapshots that count, newest first; why others do not is noted."""
    ahead = [one for one in catalog.snapshots if is_ahead(one.taken_at, now)]
    if ahead:
        notes.append(f"{ahead[0].object} is dated in the future, so it does not count")
    broken = 0
    for snapshot in catalog.snapshots:
        last = evidence.drills.get(snapshot.object)
        if last and last.outcome == "failed":
            broken += 1
            if broken == 1:
                notes.append(f"{snapshot.object} failed its last drill, so it does not count")
        elif not snapshot.is_whole:
            notes.append(f"{snapshot.object} is not whole: {BASE_LACKS}; it does not count")
        elif _is_cut(snapshot, evidence.latest):
            size = f"{snapshot.bytes} bytes, unlike what latest.json says"
            notes.append(f"{snapshot.object} has {size}, so it does not count")
        elif snapshot not in ahead:
            yield snapshot
    if broken > 1:
        notes.append(f"{counted(broken - 1, 'older snapshot')} failed too")


def _plain_bytes(snapshot: Snapshot, latest: Manifest | ManifestError | None) -> int:
    """The size of a snapshot's plain file where it is known, else of what is stored."""
    if isinstance(latest, Manifest) and latest.object == snapshot.object:
        return latest.bytes
    return snapshot.bytes


def _is_cut(snapshot: Snapshot, latest: Manifest | ManifestError | None) -> bool:
    """Whether a snapshot has another size than when it was confirmed."""
    if not isinstance(latest, Manifest) or latest.object != snapshot.object:
        return False
    return latest.stored_bytes != snapshot.bytes


def _confirmed_at(
    latest: Manifest, catalog: DatabaseCatalog, now: datetime, notes: list[str]
) -> datetime | None:
    """When a snapshot of the listing was last confirmed; a time not believed is noted."""
    held = next((one for one in catalog.snapshots if one.object == latest.object), None)
    if held is None:
        lack = f"latest.json names {latest.object}, which is not there"
        notes.append(f"{lack}: only the listing counts")
        return None
    if _is_cut(held, latest):
        return None
    if hold := latest.hold:
        notes.append(on_hold(catalog.database, hold.tables))
    if latest.confirmed_at and is_ahead(latest.confirmed_at, now):
        said = timestamp(latest.confirmed_at)
        notes.append(f"latest.json was confirmed in the future ({said}), which is not believed")
        return None
    return latest.confirmed_at


def failed(subject: Subject, to: str, error: KeeperError) -> StatusEntry:
    """The entry of a database of which nothing can be told."""
    return StatusEntry(
        subject.name, subject.path, "failed", error.full_text, to=to, exit_code=error.exit_code
    )


def excused(entry: StatusEntry) -> StatusEntry:
    """The entry of an optional database that is not on this host: nothing new can be expected."""
    if entry.outcome not in ("stale", "missing"):
        return entry
    reason = f"not on this host, and it is optional: {entry.reason}"
    return replace(entry, outcome="skipped", reason=reason, exit_code=0)


def _worst(entries: Sequence[StatusEntry]) -> StatusEntry:
    """The entry of the destination that is worst off; it names itself where there are several."""
    worst = max(entries, key=lambda e: (_SEVERITY.index(e.outcome), e.age_seconds or 0.0))
    reason = worst.reason
    if len(entries) > 1 and reason and str(worst.to) not in reason:
        reason = f"{worst.to}: {reason}"
    return replace(worst, reason=reason, exit_code=max(entry.exit_code for entry in entries))
