"""Names that keeper runs of this host keep from one another, whatever their user and state folder.

Locks lie in the state folder, and runs with different ones do not see each
other's. A file that all users share would have to lie where anyone can put
something in its place. The names of abstract sockets belong to nobody, leave
nothing behind and end with the process (unix(7)). Only Linux has them, and a
container with a network of its own does not see those of its host.
"""

import errno
import hashlib
import os
import socket
import threading
from collections import deque
from pathlib import Path

# Each holds a file descriptor. As a name has the second of its snapshot in it, hardly
# anyone asks for it after so many others.
MOST_KEPT = 200


class Claims:
    """The last names that this run has claimed; several threads may use it."""

    def __init__(self) -> None:
        self._kept: deque[socket.socket] = deque()
        self._lock = threading.Lock()

    def claim(self, database: Path, name: str) -> bool:
        """Claim a name for something of a database; False where another run has it.

        Where it cannot be told, nothing is in the way: a claim is a courtesy.
        """
        real = os.fsencode(os.path.realpath(database))
        digest = hashlib.sha256(real + b"\0" + os.fsencode(name)).hexdigest()
        with self._lock:
            if len(self._kept) == MOST_KEPT:
                self._kept.popleft().close()
            try:
                claimed = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            except OSError:
                return True
            try:
                claimed.bind(f"\0sqlitekeeper-{digest}")
            except OSError as error:
                claimed.close()
                return error.errno != errno.EADDRINUSE
            self._kept.append(claimed)
            return True

    def close(self) -> None:
        """Give all of them up."""
        with self._lock:
            while self._kept:
                self._kept.pop().close()
