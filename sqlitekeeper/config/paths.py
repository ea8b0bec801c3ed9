"""Paths as the user wrote them, made absolute; and those that are rclone's."""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from sqlitekeeper.config.credentials import refuse_credential_in_remote
from sqlitekeeper.config.quoting import readable
from sqlitekeeper.errors import ConfigError
from sqlitekeeper.rclone.remote_name import is_local

# Its name; its options, of which a value is quoted or has neither comma nor colon; its path.
_PARTS = re.compile(
    r"""(:?[^:,/\\]*)((?:,[^:,=]+(?:=(?:(?:"[^"]*")+|(?:'[^']*')+|(?!["'])[^:,]*))?)*):(.*)""",
    re.DOTALL,
)


def home_folder(environ: Mapping[str, str]) -> Path | None:
    """The user's home folder; None for a user without one."""
    try:
        return Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    except RuntimeError:
        return None


def expand_home(text: str, environ: Mapping[str, str]) -> str:
    """Replace the `~` of `~` and `~/x`; `~user` is left alone.

    Raises:
        ConfigError: this user has no home folder.
    """
    if text != "~" and not text.startswith("~/"):
        return text
    home = home_folder(environ)
    if home is None:
        raise ConfigError(f"{text}: this user has no home folder; write the path in full")
    return f"{home}{text[1:]}"


def absolute(text: str | Path, base: Path = Path()) -> Path:
    """`text` below `base` as os.path.abspath has it: `..` is folded, symlinks stay.

    Raises:
        ConfigError: a relative path, in a working folder that has been removed.
    """
    try:
        return Path(os.path.normpath((base / text).absolute()))
    except FileNotFoundError:
        raise ConfigError(
            f"{text}: the folder keeper was started in has been removed",
            hint="change to another folder, or write the path in full",
        ) from None


def is_regular_file(path: Path) -> bool:
    """Whether `path`, its symlinks followed, is a regular file that can be seen."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def split_remote(to: str) -> tuple[str, str, str] | None:
    """The name, the options and the path of a remote; None for one that rclone refuses."""
    found = _PARTS.fullmatch(to)
    return (found[1], found[2], found[3]) if found else None


def local_folder(to: str, base: Path, environ: Mapping[str, str] = os.environ) -> str:
    """Make a local destination absolute, `~` expanded; write a remote's path in one way.

    Raises:
        ConfigError: it is empty, a remote that rclone would take for an option,
            one with a credential or a `..` in it, or a `~` for a user without a
            home folder.
    """
    if not to:
        raise ConfigError("a destination must not be empty")
    if is_local(to):
        return str(absolute(expand_home(to, environ), base))
    refuse_credential_in_remote(to)
    if to.startswith("-"):
        raise ConfigError(f"{readable(to)}: no remote has a name that starts with -")
    return _plain_remote(to)


def _plain_remote(to: str) -> str:
    """A remote without the empty steps and `.` of its path.

    On an object store rclone writes such steps as names of their own, and its
    listings look elsewhere. A slash at the start stays: sftp has a root.
    """
    parts = split_remote(to)
    if parts is None:
        return to
    name, options, path = parts
    steps = [step for step in path.split("/") if step not in ("", ".")]
    if ".." in steps:
        raise ConfigError(
            f"{readable(to)}: the path of a remote must not have .. in it",
            hint="object stores have no folder above; write it out: b2:bucket/web1, sftp:/srv/web1",
        )
    return f"{name}{options}:{'/' if path.startswith('/') else ''}{'/'.join(steps)}"
