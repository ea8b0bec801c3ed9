"""A fingerprint of a database's files: equal as long as nobody has written to it.

As git does with its index: what stat() says of the database file and its WAL,
and no trust in files that were written so recently that a later write could
look the same ("racily clean"). Every doubt means: it may have changed.
"""

import os
import stat
from pathlib import Path

import apsw

from sqlitekeeper.database.files import sidecar, size_of
from sqlitekeeper.filesystem.disks import NETWORK_FILESYSTEMS, filesystem

# The coarsest time stamps of a local file system are FAT's, two seconds apart.
RACY_NS = 2 * 10**9
WAL_HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24


def fingerprint(path: Path, now_ns: int) -> str | None:
    """A string that changes with every write; None if a write could go unnoticed.

    Device, inode, size, modification and change time of the file and of its
    WAL, to be taken before the content is read; `now_ns` is the time of the
    host's clock. The change time is what no program can set back.
    """
    real = Path(os.path.realpath(path))
    try:
        facts = [real.stat()]
        if not stat.S_ISREG(facts[0].st_mode) or not _has_reliable_times(filesystem(real)):
            return None
        for suffix in ("-wal", "-journal"):
            beside = sidecar(real, suffix)
            if beside.exists() and (found := beside.stat()).st_size:
                if suffix == "-journal":
                    # Its deletion would commit, without a write to the file.
                    return None
                facts.append(found)
    except OSError:
        return None
    newest_ns = max(max(one.st_mtime_ns, one.st_ctime_ns) for one in facts)
    if newest_ns + RACY_NS > now_ns:
        return None
    return " ".join(
        f"{one.st_dev}:{one.st_ino}:{one.st_size}:{one.st_mtime_ns}:{one.st_ctime_ns}"
        for one in facts
    )


def is_settled(connection: apsw.Connection, path: Path) -> bool:
    """Whether all that is written in a database's WAL is committed, as a reader sees it now.

    A commit writes to the WAL, waits for the disk, and only then tells readers,
    through memory: while it waits, which takes seconds on a busy disk, stat()
    has its last word already. To be asked after the fingerprint was taken, and
    before the content is read.
    """
    if not size_of(sidecar(path, "-wal")):
        return True
    try:
        frames, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
        # https://sqlite.org/fileformat.html#the_wal_file_format: each frame of the
        # transactions that count has the salts of the header.
        _, header = connection.read("main", 1, 0, WAL_HEADER_BYTES)
        frame_bytes = FRAME_HEADER_BYTES + int.from_bytes(header[8:12], "big")
        after = WAL_HEADER_BYTES + frames * frame_bytes
        is_whole, frame = connection.read("main", 1, after, FRAME_HEADER_BYTES)
    except apsw.Error:
        return False
    return frames >= 0 and not (is_whole and frame[8:16] == header[16:24])


def times_are_true(path: Path) -> bool:
    """Whether each write to a file shows at once in the time that stat() gives."""
    return _has_reliable_times(filesystem(path))


def _has_reliable_times(name: str | None) -> bool:
    """Whether stat() is always up to date: what another host or a program serves may lag behind."""
    return name is not None and name not in NETWORK_FILESYSTEMS and not name.startswith("fuse.")
