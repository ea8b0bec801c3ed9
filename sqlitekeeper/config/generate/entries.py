"""The `[[databases]]` entries for a set of files: unique names, one glob for many tenants."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlitekeeper.config.databases import find_matches, is_pattern
from sqlitekeeper.config.generate.scan import Candidate
from sqlitekeeper.config.names import check_name, default_name, folded
from sqlitekeeper.config.paths import absolute, is_regular_file
from sqlitekeeper.errors import ConfigError

# More files than this of one shape (<folder>/*/db.sqlite3) are one entry.
SINGLE_ENTRIES = 5
_MOST_EXCLUDED = 20
_LONGEST_NAME = 150
_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029/\\{}]")


@dataclass(frozen=True, slots=True)
class Named:
    """A database that was found, with the name that it gets."""

    name: str
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Entry:
    """One `[[databases]]` table: a path or a pattern, and the databases that it means.

    `name` is None where it is the default.
    """

    path: str
    name: str | None
    databases: tuple[Named, ...]
    exclude: tuple[str, ...] = field(default=())


def plan(candidates: Sequence[Candidate]) -> tuple[Entry, ...]:
    """The entries for these databases, in their order; every name is there once."""
    shapes: dict[tuple[Path, str, bool], list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        path, backup = candidate.path, candidate.no_backup is None
        shapes[path.parent.parent, path.name, backup].append(candidate)
    taken: set[str] = set()  # as `folded` writes them
    in_globs: dict[Path, Entry] = {}
    for (folder, name, _), found in shapes.items():
        # Of tenants whose names a destination may take for one, the first.
        tenants: dict[str, Candidate] = {}
        for one in found:
            tenants.setdefault(folded(one.path.parent.name), one)
        group = list(tenants.values())
        if len(group) > SINGLE_ENTRIES and (entry := _glob(folder, name, group, taken)):
            taken |= {folded(named.name) for named in entry.databases}
            in_globs[group[0].path] = entry
    covered = {named.candidate.path for entry in in_globs.values() for named in entry.databases}
    singles = _named([one for one in candidates if one.path not in covered], taken)
    entries = {
        named.candidate.path: Entry(str(named.candidate.path), _explicit(named), (named,))
        for named in singles
    }
    entries |= in_globs
    return tuple(entries[one.path] for one in candidates if one.path in entries)


def _glob(folder: Path, name: str, group: list[Candidate], taken: set[str]) -> Entry | None:
    """One entry for files that differ in the name of their folder; None where that cannot be."""
    pattern = str(folder / "*" / name)
    # A file that is called like the pattern would be taken for what is meant.
    if is_pattern(str(folder / name)) or is_regular_file(Path(pattern)):
        return None
    paths = {one.path for one in group}
    matching = {absolute(path) for path in find_matches(pattern, Path("/"))}
    others = sorted(str(path) for path in matching - paths if is_regular_file(path))
    if not paths <= matching or len(others) > _MOST_EXCLUDED or any(map(_is_odd, others)):
        return None
    for template in ("{parent}", "{parent}-{stem}"):
        named = tuple(
            Named(template.format(parent=one.path.parent.name, stem=one.path.stem), one)
            for one in group
        )
        if not any(check_name(one.name) or folded(one.name) in taken for one in named):
            return Entry(pattern, template, named, tuple(others))
    return None


def _is_odd(path: str) -> bool:
    """Whether a path would mean something else in `exclude`, or cannot be written there."""
    return is_pattern(path) or not path.isprintable()


def _named(candidates: list[Candidate], taken: set[str]) -> list[Named]:
    """Each with a name of its own, that of its file where no other has it."""
    groups: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        groups[folded(_name_of_file(candidate.path))].append(candidate)
    names: dict[Path, str] = {}
    used = taken | {name for name, group in groups.items() if len(group) == 1}
    for stem, group in groups.items():
        paths = [one.path for one in group]
        if len(group) == 1 and stem not in taken:
            names[paths[0]] = _name_of_file(paths[0])
            continue
        found = next(
            ways
            for ways in _ways(paths)
            if len(own := set(map(folded, ways))) == len(ways) and not used & own
        )
        used |= own
        names |= dict(zip(paths, found, strict=True))
    return [Named(names[one.path], one) for one in candidates]


def _ways(paths: list[Path]) -> Iterator[list[str]]:
    """Names for files of one stem, from short to sure: by a folder, by the suffix, by both."""
    depth = max(len(path.parts) for path in paths)
    for rest in (_name_of_file, lambda path: path.name):
        if rest is not _name_of_file:
            yield [_valid(rest(path)) for path in paths]
        for height in range(1, depth - 1):
            folders = (path.parents[min(height, len(path.parents)) - 1].name for path in paths)
            pairs = zip(folders, paths, strict=True)
            yield [_valid(f"{folder}-{rest(path)}") for folder, path in pairs]
    number = 2
    while True:
        yield [_valid(f"{number + i}-{_name_of_file(path)}") for i, path in enumerate(paths)]
        number += 1


def _name_of_file(path: Path) -> str:
    """The default name, or one that comes close where that cannot be a name."""
    try:
        name = default_name(path)
    except ConfigError:
        return _valid(path.stem)
    return name if len(name.encode()) <= _LONGEST_NAME else _valid(name)


def _valid(text: str) -> str:
    name = _NOT_IN_NAMES.sub("_", text).lstrip("-.")
    return name.encode()[:_LONGEST_NAME].decode(errors="ignore") or "database"


def _explicit(named: Named) -> str | None:
    """The name to write; braces would be placeholders, so such a name must be the default."""
    return None if set("{}") & set(named.name) else named.name
