"""Run keeper as another user where that user may not read this Python.

Run by root as `python -m tests.as_user UID GID ARGUMENT...`: everything is
imported before the rights to do so are given up.
"""

import codecs
import os
import pkgutil
import sys
from datetime import UTC, datetime
from importlib import import_module

import humanize

import sqlitekeeper
from sqlitekeeper.cli.app import run_command_line


def main() -> int:
    """Become the other user, and carry out a keeper command."""
    uid, gid, *arguments = sys.argv[1:]
    for module in pkgutil.walk_packages(sqlitekeeper.__path__, "sqlitekeeper."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    # These import on first use, and so does what a configuration needs to be read.
    import_module("difflib")
    import_module("socket")
    import_module("tomllib")
    codecs.lookup("utf-8-sig")
    humanize.naturalsize(1)
    datetime.strptime("2026", "%Y").replace(tzinfo=UTC)
    os.setgroups([])
    os.setgid(int(gid))
    os.setuid(int(uid))
    return run_command_line(arguments)


if __name__ == "__main__":
    sys.exit(main())
