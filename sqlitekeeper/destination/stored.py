"""The part of a manifest that says how its snapshot is stored: plain, compressed, as a delta."""

from dataclasses import dataclass, replace
from typing import Any

from sqlitekeeper.destination.layout import ObjectName, encoding_of, parse_object
from sqlitekeeper.store.pieces import Piece, parse_pieces


@dataclass(frozen=True, slots=True)
class Base:
    """The whole snapshot that deltas are made of, as it is stored."""

    object: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class StoredAs:
    """What lies at the destination: a whole snapshot, or a delta, which has a base.

    `delta_bytes` are those of all deltas since the base, this one included.
    """

    bytes: int
    sha256: str
    base: Base | None = None
    pieces: tuple[Piece, ...] = ()
    delta_bytes: int = 0


def parse_stored(name: ObjectName, snapshot: dict[str, Any], *, plain: bool) -> StoredAs | None:
    """How a snapshot is stored, as its manifest says; the name of its object says the same.

    `plain` says that the manifest is of the format of plain ones.

    Raises:
        TypeError, KeyError, ValueError: a value is missing, or not what it has to be.
        StoreError: the pieces of a delta do not fit together.
    """
    encoding = encoding_of(name.snapshot)
    if plain != (encoding == "plain"):
        raise ValueError(f"{name.snapshot!r} is not stored as the manifest's format says")
    if encoding == "plain":
        return None
    if snapshot["encoding"] != encoding:
        raise ValueError(f"encoding is {snapshot['encoding']!r:.60}, not {encoding}")
    stored = StoredAs(count(snapshot["stored_bytes"]), sha256_text(snapshot["stored_sha256"]))
    if encoding == "zstd":
        return stored
    pieces = parse_pieces(snapshot["pieces"], count(snapshot["bytes"]), stored.bytes)
    return replace(
        stored,
        base=_base(name, snapshot),
        pieces=pieces,
        delta_bytes=count(snapshot["delta_bytes"]),
    )


def _base(name: ObjectName, snapshot: dict[str, Any]) -> Base:
    key = text(snapshot["base"])
    base = parse_object(key)
    if base is None or base.database != name.database or base.kind != "sqlite3.zst":
        raise ValueError(f"{key!r} is no base of {name.snapshot!r}")
    if base.token != name.base:
        raise ValueError(f"{key!r} is not the base that the name of {name.snapshot!r} tells of")
    return Base(key, count(snapshot["base_bytes"]), sha256_text(snapshot["base_sha256"]))


def text(value: object) -> str:
    """A text out of a manifest, which anyone may have written."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.60} is not a text")
    return value


def sha256_text(value: object) -> str:
    """A sha256 out of a manifest."""
    digits = text(value)
    if len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
        raise ValueError("sha256 is not 64 hexadecimal digits")
    return digits


def count(value: object) -> int:
    """A number, not below 0, out of a manifest."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{value!r:.60} is not a count")
    return value
