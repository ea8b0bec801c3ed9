"""Whole snapshots as zstd frames that can be read each by itself.

    frame ... frame   the snapshot, 4 MiB in each, with its size and checksum
    skippable frame   landmarks, for making deltas against it
    skippable frame   sizes of the frames, in the format of zstd's own seekable_format

Whatever reads zstd reads this; it passes over skippable frames.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlitekeeper.store.files import Reader, Stored, new_file
from sqlitekeeper.store.landmarks import Collector
from sqlitekeeper.store.library import StoreError, zstd_library
from sqlitekeeper.store.threads import in_threads

# Frames of 8 MiB are hardly smaller, since level 3 looks back 2 MiB, and take twice the memory
# of whoever reads a stretch of a base.
FRAME_BYTES = 4 * 2**20
MOST_FRAME_BYTES = 2 * FRAME_BYTES
LEVEL = 3
# Beside the one that reads. More would cost memory that a small host has not to spare.
THREADS = 2
# https://github.com/facebook/zstd/blob/dev/contrib/seekable_format/zstd_seekable_compression_format.md
SEEK_TABLE, LANDMARKS = 0x184D2A5E, 0x184D2A5D
SKIPPABLE = struct.Struct("<II")
ENTRY = struct.Struct("<II")
FOOTER = struct.Struct("<IBI")
SEEKABLE = 0x8F92EAB1


def compress(source: Path, target: Path) -> Stored:
    """Compress a snapshot, which nobody else writes to, into a new file; the caller flushes it.

    Raises:
        ConfigError: this Python has no zstd library.
        OSError: one of them cannot be read or written; there is no target then.
    """
    library = zstd_library()
    options = {
        library.CompressionParameter.compression_level: LEVEL,
        library.CompressionParameter.checksum_flag: 1,
    }
    sizes = []
    with source.open("rb") as stream, new_file(target) as out:
        collector = Collector(os.fstat(stream.fileno()).st_size)
        plain = Reader(stream)

        def parts() -> Iterator[bytes]:
            # One at least: a file without a frame is none that zstd takes.
            part = plain.read(FRAME_BYTES)
            while part or not plain.bytes:
                collector.add(part)
                yield part
                if not (part := plain.read(FRAME_BYTES)):
                    return

        def packed(part: bytes) -> tuple[bytes, int]:
            return library.compress(part, options=options), len(part)

        with closing(in_threads(THREADS, packed, parts())) as frames:
            for frame, size in frames:
                out.write(frame)
                sizes.append((len(frame), size))
        marks = _skippable(LANDMARKS, collector.landmarks().encode())
        out.write(marks)
        sizes.append((len(marks), 0))
        table = b"".join(ENTRY.pack(*one) for one in sizes)
        out.write(_skippable(SEEK_TABLE, table + FOOTER.pack(len(sizes), 0, SEEKABLE)))
    return Stored(plain.bytes, plain.sha256, out.bytes, out.sha256)


def _skippable(magic: int, content: bytes) -> bytes:
    return SKIPPABLE.pack(magic, len(content)) + content


def unpacked(frame: bytes, size: int, prefix: bytes = b"") -> bytes:
    """The `size` bytes that a frame holds, and that it says it holds, before memory is taken.

    Raises:
        StoreError: it holds something else, is damaged, or was made with another prefix.
    """
    library = zstd_library()
    try:
        if library.get_frame_info(frame).decompressed_size != size or size > MOST_FRAME_BYTES:
            raise StoreError("a zstd frame holds another number of bytes than it should")
        window = {library.DecompressionParameter.window_log_max: MOST_FRAME_BYTES.bit_length()}
        decompressor = library.ZstdDecompressor(as_prefix(prefix), window)
        # One more than there should be: a frame that holds it has not come to its end.
        data: bytes = decompressor.decompress(frame, max_length=size + 1)
    except library.ZstdError as error:
        raise StoreError(f"a zstd frame is damaged: {error}") from None
    if len(data) != size or not decompressor.eof or decompressor.unused_data:
        raise StoreError("a zstd frame holds another number of bytes than it should")
    return data


def as_prefix(prefix: bytes) -> Any:
    """A prefix as the library takes it; None where there is none worth it."""
    return zstd_library().ZstdDict(prefix, is_raw=True).as_prefix if len(prefix) >= 8 else None
