"""Files of a store, whose sizes and sums are taken while they are read and written."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Stored:
    """The sizes and sums of a plain snapshot and of the file that it is stored in."""

    bytes: int
    sha256: str
    stored_bytes: int
    stored_sha256: str


@dataclass(frozen=True, slots=True)
class Restored:
    """The plain snapshot that came out."""

    bytes: int
    sha256: str


class Reader:
    """Reads a file from the front, and tells its size and sha256 in the end."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self.bytes = 0

    def read(self, count: int) -> bytes:
        """The next `count` bytes; fewer at the end."""
        part = self._stream.read(count)
        self._digest.update(part)
        self.bytes += len(part)
        return part

    @property
    def sha256(self) -> str:
        """Of all that was read, in hex."""
        return self._digest.hexdigest()


class Writer:
    """Writes a file from the front, and tells its size and sha256."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self.bytes = 0

    def write(self, part: bytes) -> None:
        """Write the next bytes."""
        self._stream.write(part)
        self._digest.update(part)
        self.bytes += len(part)

    @property
    def sha256(self) -> str:
        """Of all that was written, in hex."""
        return self._digest.hexdigest()


@contextmanager
def new_file(target: Path) -> Iterator[Writer]:
    """A new file that only this user may read, gone again if this block ends by an exception.

    Raises:
        OSError: there is one, or it cannot be written.
    """
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as stream:  # noqa: PTH123
            yield Writer(stream)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
