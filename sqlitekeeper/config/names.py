"""Names of databases: which are allowed, and how they are made."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from sqlitekeeper.config.quoting import readable
from sqlitekeeper.errors import ConfigError

_LONGEST_BYTES = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SOLID = re.compile(r"(?:.*[^a-z])?(cache|queue|cable)(?:[^a-z].*)?", re.IGNORECASE | re.DOTALL)
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def check_name(name: str) -> str | None:
    """Say why `name` cannot name a database or file set; None when it can.

    A name is a folder and the start of a file name at every destination.
    """
    if not name:
        return "it is empty"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "it is not valid UTF-8"
    if size > _LONGEST_BYTES:
        return f"it is longer than {_LONGEST_BYTES} bytes"
    if "/" in name or "\\" in name:
        return "it contains a path separator"
    if name[0] in "-.":
        return f"it starts with {name[0]}"
    if _CONTROL.search(name):
        return "it contains a control character"
    return None


def folded(name: str) -> str:
    """One text for all names that a destination may take for one.

    Dropbox, OneDrive, SMB, exFAT and macOS ignore case, and some of them the form
    of Unicode: https://www.unicode.org/versions/latest/, D145. What else they do
    not take, such as a dot at the end, rclone spells in another way.
    """
    if name.isascii():
        return name.lower()
    import unicodedata  # only for names that need it

    decomposed = unicodedata.normalize("NFD", name).casefold()
    return unicodedata.normalize("NFD", decomposed)


def default_name(path: Path) -> str:
    """Name a database after its file: without the last suffix and without leading dots or dashes.

    Raises:
        ConfigError: nothing valid is left.
    """
    name = path.stem.lstrip(".-")
    if reason := check_name(name):
        raise ConfigError(
            f"{readable(path)}: cannot be named {name!r} after its file: {reason}",
            hint='give it a name in keeper.toml: name = "..."',
        )
    return name


def fill(template: str, fillers: Mapping[str, Callable[[], str]]) -> str:
    """Fill in the `{placeholders}` of a template; what is filled in is taken literally.

    Raises:
        ValueError: an unknown placeholder, a stray brace, or nothing to fill in.
    """
    valid = "valid here: " + ", ".join(f"{{{word}}}" for word in fillers)

    def filling(found: re.Match[str]) -> str:
        if found[1] not in fillers:
            raise ValueError(f"unknown placeholder {readable(found[0])}; {valid}")
        if not (text := fillers[found[1]]()):
            raise ValueError(f"{found[0]} is empty here; write the name out")
        return text

    if set("{}") & set(_PLACEHOLDER.sub("", template)):
        raise ValueError(f"a brace that is no placeholder; {valid}")
    return _PLACEHOLDER.sub(filling, template)


def solid_kind(name: str) -> str | None:
    """Whether a database is a "cache", a "queue" or a "cable" by a word of its name.

    Solid Cache, Queue and Cable of Rails 8 are, and what others have named alike.
    """
    found = _SOLID.fullmatch(name)
    return found[1].lower() if found else None


def this_host() -> str:
    """The name of the host that keeper runs on."""
    import socket  # slow to import, and few configurations ask for it

    return socket.gethostname()
