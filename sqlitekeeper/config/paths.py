"""Paths as the user wrote them, made absolute; and which of them are rclone's."""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from sqlitekeeper.config.credentials import refuse_credential_in_remote
from sqlitekeeper.config.wording import readable
from sqlitekeeper.errors import ConfigError

# rclone's fs/fspath: what starts with a colon, or has one (or a comma that
# starts parameters) before the first slash, is a remote.
_REMOTE = re.compile(r":|[^:,/\\]*[:,]")


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


def is_local(to: str) -> bool:
    """Whether rclone takes this destination for a local folder.

    `name:path`, `:backend:path` and `:backend,option=value:path` are remotes;
    what has no colon before its first slash is a folder.
    """
    return ":" not in to or not _REMOTE.match(to)


def local_folder(to: str, base: Path, environ: Mapping[str, str] = os.environ) -> str:
    """Make a local destination absolute, `~` expanded; a remote stays as it is.

    Raises:
        ConfigError: it is empty, a remote that rclone would take for an option,
            one with a credential in it, or a `~` for a user without a home folder.
    """
    if not to:
        raise ConfigError("a destination must not be empty")
    if not is_local(to):
        refuse_credential_in_remote(to)
    if to.startswith("-") and not is_local(to):
        raise ConfigError(f"{readable(to)}: no remote has a name that starts with -")
    return str(absolute(expand_home(to, environ), base)) if is_local(to) else to
