"""The names of things at a destination: `<name>/<name>-20261123T030000Z.sqlite3`.

Names that come from a listing are somebody else's input: what does not follow
the pattern exactly is not keeper's and is left alone.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

TIME_FORMAT = "%Y%m%dT%H%M%SZ"
LATEST = "latest.json"

_NAME = re.compile(r"[^/.\-\x00-\x1f\x7f][^/\x00-\x1f\x7f]*")
_OBJECT = re.compile(
    # No 24 o'clock: Python 3.14 reads it as the next day's midnight.
    r"(?P<name>[^/\x00-\x1f\x7f]+)/(?P=name)-(?P<stamp>\d{8}T(?!24)\d{6}Z)"
    r"\.(?P<kind>(sqlite3|json|proven\.json|failed\.json)"
    # The name under which rclone uploads to a folder, until all of it is there.
    r"(\.[0-9a-f]{8}\.partial)?)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class ObjectName:
    """What the path of an object says: a snapshot, its manifest, or a mark that a drill left.

    The kind of one that rclone was still uploading ends with ".partial".
    """

    database: str
    taken_at: datetime
    kind: str


def snapshot_object(database: str, taken_at: datetime) -> str:
    """The path of a snapshot below its destination."""
    stamp = taken_at.astimezone(UTC).strftime(TIME_FORMAT)
    return f"{database}/{database}-{stamp}.sqlite3"


def manifest_object(snapshot: str) -> str:
    """The path of the manifest that belongs to a snapshot."""
    return snapshot.removesuffix(".sqlite3") + ".json"


def mark_object(snapshot: str, mark: Literal["proven", "failed"]) -> str:
    """The path of the mark that a drill leaves beside a snapshot."""
    return f"{snapshot.removesuffix('.sqlite3')}.{mark}.json"


def latest_object(database: str) -> str:
    """The path of the copy of a database's newest manifest."""
    return f"{database}/{LATEST}"


def is_database_name(folder: str) -> bool:
    """Whether a folder that a listing names can be a database's; ".." leads elsewhere."""
    return _NAME.fullmatch(folder) is not None


def parse_object(path: str) -> ObjectName | None:
    """Read the path of an object below a destination; None where it is not keeper's."""
    match = _OBJECT.fullmatch(path)
    if match is None or match["name"][0] in ".-":
        return None
    try:
        taken_at = datetime.fromisoformat(match["stamp"])
    except ValueError:
        return None
    return ObjectName(match["name"], taken_at, match["kind"])
