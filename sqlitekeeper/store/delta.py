"""A snapshot as what changed since a whole one that lies at the destination, its base.

The snapshot is cut into pieces, and each is compressed with those stretches of the base
as its prefix in which the piece's content lies, as `zstd --patch-from` does. Where it
lies, landmarks tell; rows that were inserted or deleted before it have moved it.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlitekeeper.store.base import BaseFile
from sqlitekeeper.store.files import Reader, Stored, new_file
from sqlitekeeper.store.frames import as_prefix
from sqlitekeeper.store.landmarks import Hit, page_size_of
from sqlitekeeper.store.library import zstd_library
from sqlitekeeper.store.pieces import MOST_STRETCHES, PIECE_BYTES, PREFIX_BYTES, Piece, Stretch
from sqlitekeeper.store.threads import in_threads

# Chosen by `python -m tests.benchmarks codec --size 120`: a day with 1 % of the rows touched,
# kB of the delta. "strings" looked in the base, near where a piece should be, for strings of it
# that occur once, and took 3.0 s of CPU, 1.7 of them for that; landmarks take 1.0 to 1.4, 0.1.
#
#                zstd -3   strings   chosen   other settings
#   appends       43,774     1,153      976   hash_log 17: 1,162; level 3: 1,102; level 5: 1,016
#   updates       26,703       497      489
#   random keys   67,071     3,259    2,081   hash_log 17: 2,996; level 3: 3,082; level 5: 2,981
#   deletes       43,310     1,583    1,229   hash_log 17: 1,461; 2 MiB: 1,160; 8 MiB: 1,358
#   full text     34,693       640      645   margin 256 KiB: 645; 1 MiB: 647
#   blobs        124,122     1,467    1,299
#   application   73,488       958      781   hash_log 17: 937; level 3: 941; level 5: 814
#   migration     18,577     4,044      830   hash_log 17: 834
#
# hash_log 17 saves 0.3 s of CPU, level 5 costs 0.9 more. Pieces of 8 MiB take 29 MiB more of
# memory; 2 MiB take 13 less, but make the manifest twice as long, and RESTORE.txt's loop.
LEVEL = 1
LDM_LEAST_BYTES = 32
HASH_LOG = 19
MARGIN_BYTES = 2**19
# Content that lies further from where what stands before it lies was moved by more than rows.
JUMP_BYTES = 2**19
# After this part of the snapshot, a delta that is no smaller than so much of a whole one is
# given up: the base tells how well such content compresses.
TRIED_SHARE = 0.25
WORTH_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Delta(Stored):
    """What was stored, and what the manifest has to say about it."""

    pieces: tuple[Piece, ...]


@dataclass(slots=True)
class _Run:
    """Hits one after the other that the same rows moved: where they begin and end in either."""

    first: Hit
    last: Hit
    hits: int = 1


class _NotWorthItError(Exception):
    pass


def make_delta(source: Path, base: BaseFile, target: Path) -> Delta | None:
    """Write what makes a snapshot out of its base to a new file; the caller flushes it.

    None, and no target, where a whole one would be hardly larger.

    Raises:
        ConfigError: this Python has no zstd library.
        StoreError: the base is damaged.
        OSError: a file cannot be read or written.
    """
    try:
        with source.open("rb") as stream, new_file(target) as out:
            size = os.fstat(stream.fileno()).st_size
            whole = size * base.stored_bytes / max(base.bytes, 1) * WORTH_SHARE
            plain, pieces = Reader(stream), []
            with closing(in_threads(1, _packed, _tasks(plain, base))) as frames:
                done = 0
                for frame, length, stretches in frames:
                    out.write(frame)
                    pieces.append(Piece(length, len(frame), stretches))
                    done += length
                    share = done / size
                    if out.bytes > whole * (share if share > TRIED_SHARE else 1):
                        raise _NotWorthItError
    except _NotWorthItError:
        return None
    return Delta(plain.bytes, plain.sha256, out.bytes, out.sha256, tuple(pieces))


_Task = tuple[bytes, bytes, tuple[Stretch, ...]]


def _tasks(plain: Reader, base: BaseFile) -> Iterator[_Task]:
    """Each piece with its prefix, and where in the base that is."""
    landmarks = base.landmarks()
    page_size, expected = 0, 0
    while piece := plain.read(PIECE_BYTES):
        page_size = page_size or page_size_of(piece)
        hits = landmarks.find(piece, page_size) if landmarks else []
        # Nothing of it was found: it lies behind what was found last, if anywhere.
        stretches = stretches_of(hits or [Hit(0, expected)], len(piece), base.bytes)
        if stretches:
            last = hits[-1] if hits else Hit(0, expected)
            expected = last.base_offset + len(piece) - last.offset
        prefix = b"".join(base.read(one.offset, one.length) for one in stretches)
        yield piece, prefix, stretches
        del piece, prefix


def _packed(task: _Task) -> tuple[bytes, int, tuple[Stretch, ...]]:
    piece, prefix, stretches = task
    library = zstd_library()
    parameter = library.CompressionParameter
    options: dict[Any, int] = {
        parameter.compression_level: LEVEL,
        parameter.enable_long_distance_matching: 1,
        parameter.ldm_min_match: LDM_LEAST_BYTES,
        parameter.hash_log: HASH_LOG,
        # It has to reach from the end of the piece to the beginning of its prefix.
        parameter.window_log: max(10, (len(prefix) + len(piece)).bit_length()),
        parameter.checksum_flag: 1,
    }
    frame = library.compress(piece, options=options, zstd_dict=as_prefix(prefix))
    return frame, len(piece), stretches


def stretches_of(hits: Sequence[Hit], size: int, base_size: int) -> tuple[Stretch, ...]:
    """The stretches of a base of `base_size` bytes in which a piece of `size` bytes lies.

    They do not overlap; the ones with the most hits come first into what a prefix may have.
    """
    runs: list[_Run] = []
    for hit in hits:
        run = runs[-1] if runs else None
        if run and abs(_drift(hit) - _drift(run.last)) <= JUMP_BYTES:
            run.last = hit
            run.hits += 1
        else:
            runs.append(_Run(hit, hit))
    # A single one among others is a coincidence, or not worth its margins.
    if any(run.hits > 1 for run in runs):
        runs = [run for run in runs if run.hits > 1]
    places = []
    for index, run in enumerate(runs):
        before = runs[index - 1].last.offset if index else 0
        after = runs[index + 1].first.offset if index + 1 < len(runs) else size
        low = run.first.base_offset - (run.first.offset - before) - MARGIN_BYTES
        high = run.last.base_offset + (after - run.last.offset) + MARGIN_BYTES
        places.append((max(0, low), min(base_size, high), run.hits))
    return _within(_merged(sorted(places)))


def _drift(hit: Hit) -> int:
    return hit.base_offset - hit.offset


def _merged(places: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Places (begin, end, hits) in order, those that touch made one."""
    merged: list[tuple[int, int, int]] = []
    for low, high, hits in places:
        if high <= low:
            continue
        if merged and low <= merged[-1][1]:
            begin, end, others = merged[-1]
            merged[-1] = (begin, max(end, high), others + hits)
        else:
            merged.append((low, high, hits))
    return merged


def _within(places: list[tuple[int, int, int]]) -> tuple[Stretch, ...]:
    """Those with the most hits for their length, as many as a prefix may have."""
    chosen, room = [], PREFIX_BYTES
    for low, high, _ in sorted(places, key=lambda place: -place[2])[:MOST_STRETCHES]:
        length = min(high - low, room)
        if length:
            chosen.append(Stretch(low, length))
        room -= length
    return tuple(sorted(chosen, key=lambda one: one.offset))
