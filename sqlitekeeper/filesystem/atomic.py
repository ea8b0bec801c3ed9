"""Files that others read: they see the old one or the new one, never a part."""

import os
import tempfile
from pathlib import Path

from sqlitekeeper.errors import KeeperError

PRIVATE = 0o600
FOR_EVERYONE = 0o644
# Of a file, to tell whether it is a text: a database has a NUL byte among its first 16.
BEGINNING = 512


def put(new: Path, target: Path) -> None:
    """Give a file a name that is free; unlike a rename, a link never replaces another file.

    Raises:
        FileExistsError: the name is not free.
    """
    try:
        os.link(new, target)
    except FileExistsError:
        raise
    except OSError:
        # A file system without links.
        if os.path.lexists(target):
            raise FileExistsError(f"{target}: exists") from None
        new.rename(target)
    else:
        new.unlink()


def write_whole(file: Path, text: str, mode: int) -> None:
    """Put a text where a file is, or is to be, in one step; a link's target is replaced.

    Raises:
        KeeperError: its folder is missing or closed to us, or it is no regular file, or one
            that is no text: a database whose name was given by mistake.
    """
    try:
        _write(file, Path(os.path.realpath(file)), text, mode)
    except OSError as error:
        raise KeeperError(f"{file}: cannot be written: {error.strerror}") from None


def _write(file: Path, target: Path, text: str, mode: int) -> None:
    if target.exists() and not target.is_file():
        raise KeeperError(f"{file}: is not a regular file")
    if _is_binary(target):
        raise KeeperError(
            f"{file}: is not a text file; keeper does not overwrite it",
            hint="name another file, or remove this one",
        )
    if not target.parent.is_dir():
        raise KeeperError(f"{file}: there is no folder {target.parent}")
    # The name's end keeps it out of what node_exporter reads, *.prom.
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".keeper-", suffix=".new")
    try:
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as stream:  # noqa: PTH123
            stream.write(text)
            stream.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _is_binary(target: Path) -> bool:
    try:
        with target.open("rb") as stream:
            return b"\0" in stream.read(BEGINNING)
    except FileNotFoundError:
        return False
