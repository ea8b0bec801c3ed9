"""The refusal to replace a database that somebody may have open unseen.

In WAL mode each connection holds a lock for as long as it is open, and so does Turso. In
rollback-journal mode an idle one holds none: there only /proc tells, and not everything.
"""

import os
from pathlib import Path

from sqlitekeeper.database.blind_spot import blind_spot
from sqlitekeeper.database.files import IN_MVCC_MODE, MAGIC
from sqlitekeeper.database.replace.exclusive import exclusive_file
from sqlitekeeper.errors import BusyError

# Bytes 18 and 19 of the header (https://sqlite.org/fileformat.html): WAL; Turso's MVCC.
_WITH_LOCKS = (b"\x02\x02", IN_MVCC_MODE)


def refuse_unseen(path: Path) -> None:
    """Refuse to replace a database that somebody may have open whom keeper does not see.

    Raises:
        BusyError: says who that may be. Or somebody holds a lock on it.
        KeeperError: it cannot be opened for writing.
    """
    blind = blind_spot(path)
    if blind is None or _each_connection_holds_a_lock(path):
        return
    raise BusyError(
        f"{path}: may be open: outside WAL mode no lock tells of idle connections, and {blind}",
        hint="stop the application, then add --assume-stopped",
    )


def _each_connection_holds_a_lock(path: Path) -> bool:
    with exclusive_file(path) as descriptor:
        header = os.pread(descriptor, 20, 0)
    return header.startswith(MAGIC) and header[18:] in _WITH_LOCKS
