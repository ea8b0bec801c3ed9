"""The names of things at a destination: `<name>/<name>-20261123T030000Z.sqlite3`."""

from datetime import UTC, datetime

TIME_FORMAT = "%Y%m%dT%H%M%SZ"
LATEST = "latest.json"


def snapshot_object(database: str, taken_at: datetime) -> str:
    """The path of a snapshot below its destination."""
    stamp = taken_at.astimezone(UTC).strftime(TIME_FORMAT)
    return f"{database}/{database}-{stamp}.sqlite3"


def manifest_object(snapshot: str) -> str:
    """The path of the manifest that belongs to a snapshot."""
    return snapshot.removesuffix(".sqlite3") + ".json"


def latest_object(database: str) -> str:
    """The path of the copy of a database's newest manifest."""
    return f"{database}/{LATEST}"
