"""Telling from outside that nobody has written to a database, without reading it.

As git does with its index: what stat() says of the database file and its WAL,
and no trust in files that were written so recently that a later write could
look the same ("racily clean"). Every doubt means: it may have changed.
"""

import os
import stat
from pathlib import Path

from sqlitekeeper.database.files import NETWORK_FILESYSTEMS, filesystem, sidecar

# The coarsest time stamps of a local file system are FAT's, two seconds apart.
RACY_NS = 2 * 10**9


def fingerprint(path: Path, now_ns: int) -> str | None:
    """A text that is another one after any write to the database; None where that cannot be said.

    Device, inode, size, modification and change time of the file and of its
    WAL, to be taken before the content is read; `now_ns` is the time of the
    host's clock. The change time is what no program can set back.
    """
    real = Path(os.path.realpath(path))
    try:
        facts = [real.stat()]
        if not stat.S_ISREG(facts[0].st_mode) or not _tells_the_truth(filesystem(real)):
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


def _tells_the_truth(name: str | None) -> bool:
    """Whether stat() is always up to date: what another host or a program serves may lag behind."""
    return name is not None and name not in NETWORK_FILESYSTEMS and not name.startswith("fuse.")
