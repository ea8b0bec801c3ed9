"""Globs for database files: `*`, `?`, `[...]` and, for any depth of folders, `**`.

The standard library's glob follows symlinks in `**`, so that a loop of links
keeps it busy for ever, and pathlib's depends on the version of Python.
"""

import os
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path


def is_pattern(text: str) -> bool:
    """Whether `text` has a glob character."""
    return any(character in text for character in "*?[")


def find_matches(pattern: str, base: Path) -> list[Path]:
    """Every path that `pattern` may mean, from `base` when it is relative.

    As in a shell, a leading dot has to be asked for, and folders that cannot be
    read hold nothing. Parts without a glob character are not looked up: the
    paths may be absent.
    """
    anchor = Path(pattern).anchor
    parts = list(Path(pattern).parts[1:] if anchor else Path(pattern).parts)
    if parts[-1] == "**":
        parts.append("*")
    found = [Path(anchor) if anchor else base]
    for part in parts:
        found = list(dict.fromkeys(path for folder in found for path in _step(folder, part)))
    return found


def _step(folder: Path, part: str) -> Iterable[Path]:
    if part == "**":
        return _folders_below(folder)
    if not is_pattern(part):
        return [folder / part]
    return [
        folder / name
        for name in _names(folder)
        if fnmatchcase(name, part) and (part[0] == "." or name[0] != ".")
    ]


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries)
    except (OSError, ValueError):
        return []


def _folders_below(folder: Path) -> Iterable[Path]:
    """`folder` and all folders below it, hidden ones and symlinks left out."""
    for root, names, _ in os.walk(folder):
        names[:] = [name for name in names if not name.startswith(".")]
        yield Path(root)
