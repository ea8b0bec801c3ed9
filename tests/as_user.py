"""Run keeper as another user where that user may not read this Python.

Run by root as `python -m tests.as_user UID GID ARGUMENT...`: everything is
imported before the rights to do so are given up.
"""

import sys

from sqlitekeeper.cli.app import run_command_line
from tests.keeper_server import become, load_keeper


def main() -> int:
    """Become the other user, and carry out a keeper command."""
    uid, gid, *arguments = sys.argv[1:]
    load_keeper()
    become(int(uid), int(gid))
    return run_command_line(arguments)


if __name__ == "__main__":
    sys.exit(main())
