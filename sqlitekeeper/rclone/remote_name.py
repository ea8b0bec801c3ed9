"""Names of destinations: rclone's remotes told from folders of this host."""

import re

from sqlitekeeper.rclone.errors import RcloneError

# rclone's fs/fspath: what starts with a colon, or has one (or a comma that
# starts parameters) before the first slash, is a remote.
_REMOTE = re.compile(r":|[^:,/\\]*[:,]")
_ODD_STEPS = re.compile(r"//|(?:^|/)\.\.?(?:/|$)")


def is_local(to: str) -> bool:
    """Whether rclone takes this destination for a local folder.

    `name:path`, `:backend:path` and `:backend,option=value:path` are remotes;
    what has no colon before its first slash is a folder.
    """
    return ":" not in to or not _REMOTE.match(to)


def as_folder(to: str) -> str:
    """A destination's root as a folder; rclone then does not ask whether it is a file.

    Raises:
        RcloneError: a remote's path of which rclone would make another one (measured: 1.75).
    """
    _, colon, path = to.rpartition(":")
    if colon and not is_local(to) and _ODD_STEPS.search(path):
        raise RcloneError(f"{to}: the path of a remote must have no ., .. or // in it")
    return to if to.endswith(("/", ":")) else to + "/"
