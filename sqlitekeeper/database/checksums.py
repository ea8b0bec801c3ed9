"""Databases of the checksum VFS, whose pages end with a checksum (https://sqlite.org/cksumvfs.html).

A page that is written without that VFS has a wrong checksum at its end, and the
application then gets an I/O error from it. keeper has no such VFS.
It writes to none of these databases, and copies their pages as they are.
"""

import os
import struct
from pathlib import Path

import apsw

CHECKSUM_BYTES = 8
RESERVED_OFFSET = 20  # https://sqlite.org/fileformat.html, section 1.3
WRITES_NONE = "its pages carry checksums (checksum VFS), which keeper could not keep right"


def has_checksums(connection: apsw.Connection) -> bool:
    """Whether the checksum VFS would look for checksums: by the bytes that each page reserves."""
    return connection.read("main", 0, RESERVED_OFFSET, 1)[1] == bytes([CHECKSUM_BYTES])


def page_checksum(content: bytes) -> bytes:
    """The checksum of a page's content, which is the page without its last 8 bytes."""
    one = other = 0
    for first, second in struct.iter_unpack("<II", content):
        one = (one + first + other) & 0xFFFFFFFF
        other = (other + second + one) & 0xFFFFFFFF
    return struct.pack("<II", one, other)


def renew_first_checksum(file: Path, page_size: int) -> None:
    """Make the first page's checksum right again, in a file that only keeper knows of.

    SQLite changes its header when it changes the journal mode; no other page.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        content = os.pread(descriptor, page_size - CHECKSUM_BYTES, 0)
        os.pwrite(descriptor, page_checksum(content), len(content))
    finally:
        os.close(descriptor)
