"""Findings about the age of the last backup, as this host remembers it."""

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from sqlitekeeper.database.files import last_written
from sqlitekeeper.destination.manifest import Manifest
from sqlitekeeper.doctor.finding import BackupPlan, Finding, on_host
from sqlitekeeper.errors import KeeperError, as_keeper_error
from sqlitekeeper.state.history import History, Shipment
from sqlitekeeper.wording import span


def diagnose_freshness(plan: BackupPlan, paths: Mapping[str, Path], now: datetime) -> list[Finding]:
    """How old the last backup of each database is, by what this host remembers.

    The destinations are not asked, so another host's backups do not count.
    """
    if not plan.to:
        return []
    try:
        shipments = History(plan.state).shipments()
    except (KeeperError, OSError, ValueError) as error:
        trouble = as_keeper_error(error) if isinstance(error, (KeeperError, OSError)) else None
        message = f"no history: {trouble.message if trouble else error}"
        return [on_host("warn", "last_backup", message, trouble.hint if trouble else None)]
    return [
        _freshness(plan, name, path, [shipments.get((to, name)) for to in plan.to], now)
        for name, path in paths.items()
    ]


def _freshness(
    plan: BackupPlan, name: str, path: Path, shipments: Sequence[Shipment | None], now: datetime
) -> Finding:
    fix = f"keeper backup {shlex.quote(name)}"
    lacking = [to for to, one in zip(plan.to, shipments, strict=True) if one is None]
    if lacking:
        message = f"this host remembers no backup at {', '.join(lacking)}"
        return Finding("warn", name, "last_backup", message, fix)
    oldest = min(_last_seen(one.manifest) for one in shipments if one)
    age = (now - oldest).total_seconds()
    if age <= plan.max_age_seconds:
        return Finding("ok", name, "last_backup", f"the last backup is {span(age)} old")
    if last_written(path) < oldest.timestamp():
        message = f"has not changed since the last backup, {span(age)} ago"
        return Finding("ok", name, "last_backup", message)
    message = (
        f"the last backup that this host remembers is {span(age)} old, max_age is"
        f" {span(plan.max_age_seconds)}; keeper status asks the destination"
    )
    return Finding("warn", name, "last_backup", message, fix)


def _last_seen(manifest: Manifest) -> datetime:
    """When a snapshot was last confirmed to be what the database holds, or else taken."""
    return manifest.confirmed_at or manifest.taken_at
