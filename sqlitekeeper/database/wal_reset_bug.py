"""Versions of SQLite that can lose transactions when another process checkpoints.

https://sqlite.org/wal.html#walresetbug: 3.7.0 to 3.51.2, mended in 3.51.3, 3.50.7 and 3.44.6.
"""

import apsw

# https://sqlite.org/fileformat.html, section 1.3: the change counter; the counter for which the
# version number is valid, and that number.
CHANGE_COUNTER_OFFSET = 24
LAST_WRITER_OFFSET = 92
BUG_VERSIONS = range(3_007_000, 3_051_003)
MENDED_BRANCHES = (range(3_050_007, 3_051_000), range(3_044_006, 3_045_000))


def last_writer(connection: apsw.Connection) -> int:
    """The SQLITE_VERSION_NUMBER that the header has; keeper's own writes leave keeper's there.

    0 where it is not valid for the last change: Turso (0.8.3) writes 3047000 there, which it
    is not, and does not count its changes.
    """
    counter = connection.read("main", 0, CHANGE_COUNTER_OFFSET, 4)[1]
    found = connection.read("main", 0, LAST_WRITER_OFFSET, 8)[1]
    return int.from_bytes(found[4:], "big") if found[:4] == counter else 0


def is_affected(number: int) -> bool:
    """Whether that version has the bug."""
    return number in BUG_VERSIONS and not any(number in branch for branch in MENDED_BRANCHES)


def version_text(number: int) -> str:
    """A SQLITE_VERSION_NUMBER as people write it: 3.40.1."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def checkpoint_remark(connection: apsw.Connection) -> str | None:
    """What to say to somebody who has a database checkpointed from outside, if anything."""
    number = last_writer(connection)
    if not is_affected(number):
        return None
    return (
        f"last written by SQLite {version_text(number)}, which can lose transactions when"
        " another process checkpoints: upgrade it, or set vacuum.checkpoint = false"
    )
