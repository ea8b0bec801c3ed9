"""A whole snapshot as it is stored, read from anywhere without unpacking it all."""

import hashlib
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from types import TracebackType

from sqlitekeeper.store.frames import ENTRY, FOOTER, MOST_FRAME_BYTES, SEEKABLE, SKIPPABLE, unpacked
from sqlitekeeper.store.landmarks import Landmarks
from sqlitekeeper.store.library import StoreError
from sqlitekeeper.store.pieces import MOST_ADDED_BYTES

MOST_FRAMES = 2**22
# Stretches overlap: the next one begins in the last frames of this one.
CACHED_FRAMES = 2
READ_BYTES = 2**20
_NOT_OURS = "is not a whole snapshot as keeper stores it"


class BaseFile:
    """A whole snapshot as `compress` stored it, read from anywhere without unpacking it all.

    What it says of itself is not trusted: no frame takes more than 8 MiB.
    """

    def __init__(self, path: Path) -> None:
        """Open it and read the sizes of its frames.

        Raises:
            OSError: it cannot be read.
            StoreError: it is none.
        """
        self.path = path
        self._stream = path.open("rb", buffering=0)
        try:
            self.stored_bytes = os.fstat(self._stream.fileno()).st_size
            self._sizes = self._read_table()
        except BaseException:
            self._stream.close()
            raise
        self._starts = [0, *accumulate(size for _, size in self._sizes)]
        self._places = [0, *accumulate(stored for stored, _ in self._sizes)]
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self.bytes = self._starts[-1]

    def __enter__(self) -> "BaseFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stream.close()

    def _read_table(self) -> list[tuple[int, int]]:
        """The stored and the plain size of each frame."""
        end = self.stored_bytes - FOOTER.size
        count, flags, magic = FOOTER.unpack(self._at(end, FOOTER.size))
        start = end - count * ENTRY.size
        if magic != SEEKABLE or flags or not 0 < count <= MOST_FRAMES or start < 0:
            raise StoreError(f"{self.path}: {_NOT_OURS}")
        sizes = list(ENTRY.iter_unpack(self._at(start, count * ENTRY.size)))
        if sum(stored for stored, _ in sizes) + SKIPPABLE.size != start or any(
            size > MOST_FRAME_BYTES or stored > size + MOST_ADDED_BYTES
            for stored, size in sizes
            if size
        ):
            raise StoreError(f"{self.path}: {_NOT_OURS}")
        return sizes

    def _at(self, offset: int, count: int) -> bytes:
        if offset < 0:
            raise StoreError(f"{self.path}: {_NOT_OURS}")
        data = os.pread(self._stream.fileno(), count, offset)
        if len(data) != count:
            raise StoreError(f"{self.path}: is cut off")
        return data

    def sha256(self) -> str:
        """Of the file as it is stored, in hex; it is read through the same descriptor."""
        digest = hashlib.sha256()
        for start in range(0, self.stored_bytes, READ_BYTES):
            digest.update(self._at(start, min(READ_BYTES, self.stored_bytes - start)))
        return digest.hexdigest()

    def landmarks(self) -> Landmarks | None:
        """What was kept to find content in it; None where there is nothing of the kind."""
        stored, size = self._sizes[-1]
        if size or not SKIPPABLE.size < stored <= 2**21:
            return None
        data = self._at(self._places[-2], stored)
        try:
            return Landmarks.decode(data[SKIPPABLE.size :])
        except StoreError:
            return None

    def frames(self) -> Iterator[tuple[bytes, int]]:
        """Each frame as it is stored, and how many bytes it holds."""
        for place, (stored, size) in zip(self._places, self._sizes, strict=False):
            if size:
                yield self._at(place, stored), size

    def read(self, offset: int, length: int) -> bytes:
        """Some bytes of the plain snapshot. One thread at a time.

        Raises:
            StoreError: it has no such bytes, or is damaged.
        """
        if offset < 0 or length < 0 or offset + length > self.bytes:
            raise StoreError(
                f"{self.path}: has {self.bytes:,} bytes, none at {offset:,} to {offset + length:,}"
            )
        parts = []
        index = bisect_right(self._starts, offset) - 1
        while length > 0:
            frame, start = self._frame(index), self._starts[index]
            part = memoryview(frame)[offset - start : offset - start + length]
            parts.append(part)
            offset, length, index = offset + len(part), length - len(part), index + 1
        return b"".join(parts)

    def _frame(self, index: int) -> bytes:
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        stored, size = self._sizes[index]
        if not size:
            return b""
        while len(self._cache) >= CACHED_FRAMES:
            self._cache.popitem(last=False)
        try:
            self._cache[index] = unpacked(self._at(self._places[index], stored), size)
        except StoreError as error:
            raise StoreError(f"{self.path}: {error.message}") from None
        return self._cache[index]
