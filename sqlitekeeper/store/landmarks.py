"""Landmarks of a snapshot: where the content of its pages lies, to find it in another one.

VACUUM INTO writes the same rows in the same order, but not at the same place: what
was inserted or deleted before moves them, by whole tables or by a cell within their
page. A landmark is therefore something of the first cell of a page, wherever it lies in
its page, or of other pages the end. One that a snapshot has twice is none.
"""

import struct
import zlib
from dataclasses import dataclass

from sqlitekeeper.store.library import StoreError

# At 8 bytes each in a base, and some 140 in memory.
MOST_LANDMARKS = 2**16
# Of the bytes that make one; fewer are too often the same by chance.
LEAST_BYTES, MOST_BYTES, END_BYTES = 8, 64, 48
# A letter that texts have many of, behind what tells the row's columns.
BEGIN, SKIPPED_BYTES = b"e", 32
INDEX_LEAF, TABLE_LEAF = 0x0A, 0x0D
LEAVES = (INDEX_LEAF, TABLE_LEAF)
# Pages of which all cells are looked at where few landmarks are found: index entries of
# one length never come to lie at the beginning of a page again after one was inserted.
SEARCHED_PAGES = 64
FEW_HITS = 8
_HEAD = struct.Struct("<4sIII")
_ENTRY = struct.Struct("<II")
_NAME = b"KLM1"


@dataclass(frozen=True, slots=True)
class Hit:
    """A landmark of the base that a piece has too: its offset in either."""

    offset: int
    base_offset: int


@dataclass(frozen=True, slots=True)
class Landmarks:
    """The landmarks of a base: the CRC of each -> the number of its page, from 0.

    `mask` is what a CRC must not have a bit of, so that large files have few.
    """

    page_size: int
    mask: int
    pages: dict[int, int]

    @property
    def spacing(self) -> int:
        """How many bytes there are from one to the next, about."""
        return self.page_size * (self.mask + 1)

    def find(self, piece: bytes, page_size: int) -> list[Hit]:
        """The landmarks that a piece has, in its order."""
        found = []
        crc, pages, base_page_size = zlib.crc32, self.pages, self.page_size
        for start in range(0, len(piece), page_size):
            page = pages.get(crc(landmark(piece, start, page_size)))
            if page is not None:
                found.append(Hit(start, page * base_page_size))
        if len(found) >= FEW_HITS and len(found) * 16 * self.spacing >= len(piece):
            return found
        return sorted({*found, *self._search(piece, page_size)}, key=lambda hit: hit.offset)

    def _search(self, piece: bytes, page_size: int) -> list[Hit]:
        """The first landmark among all cells of some pages."""
        found = []
        pages, wanted = len(piece) // page_size, SEARCHED_PAGES * self.page_size // page_size
        for number in range(0, pages, max(1, pages // max(1, wanted))):
            start = number * page_size
            for cell in cells(piece[start : start + page_size]):
                page = self.pages.get(zlib.crc32(cell))
                if page is not None:
                    found.append(Hit(start, page * self.page_size))
                    break
        return found

    def encode(self) -> bytes:
        """As a base keeps them."""
        head = _HEAD.pack(_NAME, self.page_size, self.mask, len(self.pages))
        return head + b"".join(_ENTRY.pack(*entry) for entry in self.pages.items())

    @classmethod
    def decode(cls, data: bytes) -> "Landmarks":
        """Read them again; what they say is a help, never relied upon.

        Raises:
            StoreError: these are none.
        """
        if len(data) < _HEAD.size:
            raise StoreError("landmarks: are cut off")
        name, page_size, mask, count = _HEAD.unpack_from(data)
        whole = _HEAD.size + count * _ENTRY.size == len(data) and count <= 2 * MOST_LANDMARKS
        if name != _NAME or not whole or not 512 <= page_size <= 65536:
            raise StoreError("landmarks: are of another format")
        return cls(page_size, mask, dict(_ENTRY.iter_unpack(data[_HEAD.size :])))


class Collector:
    """Collects the landmarks of a snapshot that is read from the front, in parts of whole pages."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._page_size, self._mask, self._page = 4096, 0, 0
        self._found: dict[int, int | None] = {}

    def add(self, part: bytes) -> None:
        """Take in the next part."""
        if self._page == 0:
            self._page_size = page_size_of(part)
            pages = self._size // self._page_size
            self._mask = (1 << (pages // MOST_LANDMARKS).bit_length()) - 1
        crc, found, mask, page_size = zlib.crc32, self._found, self._mask, self._page_size
        page = self._page
        for start in range(0, len(part), page_size):
            one = landmark(part, start, page_size)
            if one and not (key := crc(one)) & mask:
                found[key] = None if key in found else page
            page += 1
        self._page = page

    def landmarks(self) -> Landmarks:
        """All that occur once."""
        pages = {key: page for key, page in self._found.items() if page is not None}
        return Landmarks(self._page_size, self._mask, pages)


def page_size_of(beginning: bytes) -> int:
    """The page size of a database by its first bytes; 4096 for anything else."""
    if beginning[:16] != b"SQLite format 3\0" or len(beginning) < 100:
        return 4096
    size = int.from_bytes(beginning[16:18], "big")
    size = 65536 if size == 1 else size
    return size if 512 <= size <= 65536 and size & (size - 1) == 0 else 4096


def landmark(data: bytes, start: int, page_size: int) -> bytes:
    """What marks the page at `start`: its first cell, or its end; empty where that is too short.

    https://sqlite.org/fileformat2.html#b_tree_pages
    """
    try:
        if data[start] in LEAVES and (data[start + 3] or data[start + 4]):
            cell = start + (data[start + 8] << 8 | data[start + 9])
            return _cell(data, cell, start + page_size, data[start])
    except IndexError:
        return b""
    end = start + page_size
    return data[end - END_BYTES : end]


def cells(page: bytes) -> list[bytes]:
    """What may mark a page of the same rows that begins elsewhere."""
    count = int.from_bytes(page[3:5], "big")
    if page[0] not in LEAVES or 8 + 2 * count > len(page):
        return []
    try:
        places = struct.unpack_from(f">{count}H", page, 8)
        found = [_cell(page, at, len(page), page[0]) for at in places]
    except IndexError:
        return []
    return [cell for cell in found if cell]


def _cell(data: bytes, cell: int, end: int, kind: int) -> bytes:
    """Some bytes of the cell at an offset of a page that ends at `end`.

    Of a short one its beginning: its length, the row's number in a table, the row. Of a long
    one what stays the same when a column is added: it begins at a byte of some value.
    """
    length = data[cell]
    if length > 127:
        start = data.find(BEGIN, cell + SKIPPED_BYTES, end - END_BYTES)
        return data[start : start + END_BYTES] if start >= 0 else b""
    head = 1
    if kind == TABLE_LEAF:
        while data[cell + head] > 127:
            head += 1
        head += 1
    length = min(head + length, MOST_BYTES)
    return data[cell : cell + length] if length >= LEAST_BYTES else b""
