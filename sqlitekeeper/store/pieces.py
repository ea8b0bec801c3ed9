"""Pieces of a delta: what each restores, and from which stretches of the base."""

from dataclasses import dataclass
from typing import Any

from sqlitekeeper.store.library import StoreError

# Chosen by `python -m tests.benchmarks codec`; see delta.py for the figures.
PIECE_BYTES = 4 * 2**20
PREFIX_BYTES = 2 * PIECE_BYTES
# What is read may come from a keeper that chose otherwise, within what memory allows.
MOST_PIECE_BYTES = 2 * PIECE_BYTES
MOST_STRETCHES = 8
# What zstd adds at the most to bytes that do not compress: far less than this.
MOST_ADDED_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some bytes of the plain base."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Piece:
    """One zstd frame of a delta: `bytes` of the snapshot, `stored_bytes` at the destination.

    Its prefix are the stretches, one after the other. The frame has a checksum of its own.
    """

    bytes: int
    stored_bytes: int
    stretches: tuple[Stretch, ...]

    def to_json(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {
            "bytes": self.bytes,
            "stored_bytes": self.stored_bytes,
            "stretches": [[one.offset, one.length] for one in self.stretches],
        }


def parse_pieces(value: object, size: int, stored_size: int) -> tuple[Piece, ...]:
    """The pieces of a manifest, which anyone may have written.

    Together they make up a snapshot of `size` bytes and a delta of `stored_size`, and
    none needs more memory than a piece of keeper's own may take.

    Raises:
        StoreError: they are not pieces, or do not add up.
    """
    if not isinstance(value, list):
        raise StoreError("pieces: is not a list")
    pieces = tuple(_piece(one, f"pieces[{index}]") for index, one in enumerate(value))
    for what, total, expected in (
        ("bytes", sum(piece.bytes for piece in pieces), size),
        ("stored_bytes", sum(piece.stored_bytes for piece in pieces), stored_size),
    ):
        if total != expected:
            raise StoreError(f"pieces: their {what} are {total:,}, not {expected:,}")
    return pieces


def _piece(value: object, where: str) -> Piece:
    if not isinstance(value, dict):
        raise StoreError(f"{where}: is not an object")
    stretches = value.get("stretches")
    if not isinstance(stretches, list) or len(stretches) > MOST_STRETCHES:
        raise StoreError(f"{where}.stretches: is not a list of at most {MOST_STRETCHES}")
    size = _count(value.get("bytes"), f"{where}.bytes", MOST_PIECE_BYTES, 1)
    most = size + MOST_ADDED_BYTES
    piece = Piece(
        bytes=size,
        stored_bytes=_count(value.get("stored_bytes"), f"{where}.stored_bytes", most, 1),
        stretches=tuple(_stretch(one, f"{where}.stretches") for one in stretches),
    )
    if sum(one.length for one in piece.stretches) > 2 * PREFIX_BYTES:
        raise StoreError(f"{where}.stretches: are longer than {2 * PREFIX_BYTES:,} bytes")
    return piece


def _stretch(value: object, where: str) -> Stretch:
    if not isinstance(value, list) or len(value) != 2:
        raise StoreError(f"{where}: is not offset and length")
    return Stretch(_count(value[0], where, 2**63 - 1), _count(value[1], where, 2 * PREFIX_BYTES))


def _count(value: object, where: str, most: int, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise StoreError(f"{where}: {value!r:.40} is not a number from {least} to {most}")
    return value
