"""The sha256 of a file."""

import hashlib
from pathlib import Path

from sqlitekeeper.workers import stop_if_asked

READ_BYTES = 2**20


def sha256_of(file: Path) -> str:
    """The sha256 of a file of keeper's own (never of a live database), in hex."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(READ_BYTES))
    with file.open("rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            stop_if_asked()
            digest.update(buffer[:count])
    return digest.hexdigest()
