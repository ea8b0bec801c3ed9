"""The names of objects at a destination: `<name>/<name>-20261123T030000Z-k3f9q.sqlite3`.

The last five characters before the suffix are a random token: two that ship to one place in
one second know nothing of each other, and each has a name of its own. Snapshots of before
there were tokens have none.

A compressed snapshot ends with `.sqlite3.zst`, a delta with `-<token of its base>.delta.zst`:
the listing alone tells which base it needs.

Names that come from a listing are somebody else's input: what does not follow
the pattern exactly is not keeper's and is left alone.
"""

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

# Clocks of hosts differ; what claims to be from further ahead is not believed.
CLOCK_SKEW = timedelta(hours=1)
TIME_FORMAT = "%Y%m%dT%H%M%SZ"
LATEST = "latest.json"
RESTORE_TEXT = "RESTORE.txt"
# Letters and digits in turn, without vowels: no word that somebody puts behind a copy's name
# is a token. And without those that are taken for one another.
_LETTERS, _DIGITS = "bcdfghjkmnpqrstvwxyz", "23456789"
_PLACES = (_LETTERS, _DIGITS, _LETTERS, _DIGITS, _LETTERS)
TOKEN_LENGTH = len(_PLACES)
_NAME = re.compile(r"[^/.\-\x00-\x1f\x7f][^/\x00-\x1f\x7f]*")
_TOKEN = "".join(f"[{place}]" for place in _PLACES)
# How a snapshot is stored, and how its object's name ends.
SUFFIXES = {"plain": ".sqlite3", "zstd": ".sqlite3.zst", "delta": ".delta.zst"}
_METADATA = r"json|proven\.json|failed\.json"
_OBJECT = re.compile(
    # No 24 o'clock: Python 3.14 reads it as the next day's midnight.
    r"(?P<name>[^/\x00-\x1f\x7f]+)/(?P=name)-(?P<stamp>\d{8}T(?!24)\d{6}Z)"
    rf"(-(?P<token>{_TOKEN})(-(?P<base>{_TOKEN}))?)?"
    rf"\.(?P<kind>((?(base)delta\.zst|sqlite3(\.zst)?)|{_METADATA})"
    # The name under which rclone uploads to a folder, until all of it is there.
    r"(\.[0-9a-f]{8}\.partial)?)",
    re.ASCII,
)


def is_ahead(moment: datetime, now: datetime) -> bool:
    """Whether a time is further in the future than clocks differ."""
    return moment > now + CLOCK_SKEW


@dataclass(frozen=True, slots=True, order=True)
class ObjectName:
    """What the path of an object says: a snapshot, its manifest, or a drill record.

    `stem` is what a snapshot's path has in common with those of its metadata, with the last
    dot; the names of one database sort by time, then by that. The kind of one that rclone was
    still uploading ends with ".partial". `token` is the snapshot's own, `base` that of the one
    that a delta needs.
    """

    database: str
    taken_at: datetime
    stem: str
    kind: str
    token: str = ""
    base: str = ""

    @property
    def is_snapshot(self) -> bool:
        """Whether it is a snapshot itself, all of it."""
        return f".{self.kind}" in SUFFIXES.values()

    @property
    def snapshot(self) -> str:
        """The path of the snapshot; a manifest alone does not tell whether it is compressed."""
        if self.is_snapshot:
            return self.stem + self.kind
        return self.stem.removesuffix(".") + SUFFIXES["delta" if self.base else "plain"]


def random_token() -> str:
    """What tells a snapshot from all others of its second."""
    return "".join(map(secrets.choice, _PLACES))


def snapshot_object(database: str, taken_at: datetime, token: str = "") -> str:
    """The path of a snapshot below its destination; old ones have no token."""
    stamp = taken_at.astimezone(UTC).strftime(TIME_FORMAT)
    return f"{database}/{database}-{stamp}{token and f'-{token}'}.sqlite3"


def manifest_object(snapshot: str) -> str:
    """The path of the manifest that belongs to a snapshot."""
    return f"{stem_of(snapshot)}.json"


def stored_object(snapshot: str, encoding: str, base: str = "") -> str:
    """The path of a snapshot that is stored otherwise; a delta has the token of its `base`."""
    return stem_of(snapshot) + (base and f"-{base}") + SUFFIXES[encoding]


def base_of(path: str) -> str:
    """The token of the base that an object needs, itself or by what it belongs to; "" for none."""
    name = parse_object(path)
    return name.base if name else ""


def token_of(path: str) -> str:
    """The token of a snapshot, or of the one that an object belongs to; "" for none."""
    name = parse_object(path)
    return name.token if name else ""


def encoding_of(snapshot: str) -> str:
    """How a snapshot is stored, by its path: "plain", "zstd" or "delta"."""
    return next((name for name, end in SUFFIXES.items() if snapshot.endswith(end)), "plain")


def stem_of(snapshot: str) -> str:
    """The path of a snapshot without its suffix."""
    return snapshot.removesuffix(SUFFIXES[encoding_of(snapshot)])


def drill_record_object(snapshot: str, drill_outcome: Literal["proven", "failed"]) -> str:
    """The path of the record that a drill leaves beside a snapshot."""
    return f"{stem_of(snapshot)}.{drill_outcome}.json"


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
    stem, token, base = path[: match.start("kind")], match["token"], match["base"]
    return ObjectName(match["name"], taken_at, stem, match["kind"], token or "", base or "")
