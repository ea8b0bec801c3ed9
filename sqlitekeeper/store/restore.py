"""Plain snapshots out of what is stored. All of it is untrusted input."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from sqlitekeeper.store.base import BaseFile
from sqlitekeeper.store.files import Reader, Restored, new_file
from sqlitekeeper.store.frames import THREADS, unpacked
from sqlitekeeper.store.library import StoreError
from sqlitekeeper.store.pieces import Piece
from sqlitekeeper.store.threads import in_threads


def restore_whole(stored: BaseFile, target: Path, size: int) -> Restored:
    """Write the plain snapshot of `size` bytes that a whole one holds to a new file.

    The caller compares its sha256 with the manifest's.

    Raises:
        ConfigError: this Python has no zstd library.
        StoreError: it is damaged, or holds another number of bytes; there is no target then.
        OSError: a file cannot be read or written.
    """
    if stored.bytes != size:
        raise StoreError(f"{stored.path}: holds {stored.bytes:,} bytes, not {size:,}")
    with (
        new_file(target) as out,
        closing(in_threads(THREADS, lambda task: unpacked(*task), stored.frames())) as parts,
    ):
        for part in parts:
            out.write(part)
    return Restored(out.bytes, out.sha256)


def restore_delta(delta: Path, base: BaseFile, pieces: Sequence[Piece], target: Path) -> Restored:
    """Write the plain snapshot that a delta and its base make to a new file.

    The caller compares its sha256 with the manifest's.

    Raises:
        ConfigError: this Python has no zstd library.
        StoreError: one of them is damaged, or not what the pieces say; there is no target then.
        OSError: a file cannot be read or written.
    """

    def tasks(stream: Reader) -> Iterator[tuple[bytes, int, bytes]]:
        for piece in pieces:
            frame = stream.read(piece.stored_bytes)
            prefix = b"".join(base.read(one.offset, one.length) for one in piece.stretches)
            yield frame, piece.bytes, prefix
            del frame, prefix

    try:
        with delta.open("rb") as stream, new_file(target) as out:
            with closing(
                in_threads(1, lambda task: unpacked(*task), tasks(Reader(stream)))
            ) as parts:
                for part in parts:
                    out.write(part)
            if stream.read(1):
                raise StoreError("goes on behind its last piece")
    except StoreError as error:
        raise StoreError(f"{delta}: {error.message}") from None
    return Restored(out.bytes, out.sha256)
