"""Destinations that overlap: what two commands both write there, one of them deletes."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlitekeeper.config.names import folded
from sqlitekeeper.config.paths import split_remote
from sqlitekeeper.config.quoting import readable
from sqlitekeeper.config.settings import Database, FileSet
from sqlitekeeper.errors import ConfigError
from sqlitekeeper.rclone.remote_name import is_local


@dataclass(frozen=True, slots=True)
class Place:
    """A destination, and the words that tell the user which one it is: `backup.to`."""

    to: str
    key: str


def refuse_shared_places(
    backups: Sequence[Place],
    files: Sequence[tuple[FileSet, Place]],
    source: str = "",
    *,
    ignore_case: bool = False,
) -> None:
    """Refuse destinations of which one is, or lies inside, another that something else writes to.

    `keeper files` deletes at its destination what its folder does not have:
    snapshots, and the files of another set. Nor may a set's destination and
    its own folder hold each other. Two remotes that lead to one place under
    different names are not recognized. `source` is the file that says it all.

    Raises:
        ConfigError: names both keys.
    """
    start = f"{source}: " if source else ""
    end = ", where case does not count" if ignore_case else ""
    for index, (one, place) in enumerate(files):
        for other in (*backups, *(earlier for _, earlier in files[:index])):
            if relation := _relation(place.to, other.to, ignore_case=ignore_case):
                raise ConfigError(
                    f"{start}{place.key}: {readable(place.to)} {relation}"
                    f" {readable(other.to)} of {other.key}{end}",
                    hint="keeper files deletes there what its folder does not have; give each"
                    ' a place of its own, such as to = "b2:bucket/web1" and to = "b2:bucket/files"',
                )
        if relation := _relation(place.to, str(one.path)):
            raise ConfigError(
                f"{start}{place.key}: {readable(place.to)} {relation}"
                f" {readable(one.path)}, the folder that is synced",
                hint="choose a destination outside of it",
            )


def refuse_databases_there(
    files: Sequence[tuple[FileSet, Place]], databases: Iterable[Database], source: str
) -> None:
    """Refuse a local destination that holds a live database: a sync would delete it.

    Raises:
        ConfigError: names the key and the database.
    """
    for database in databases:
        for _, place in files:
            if is_local(place.to) and _relation(place.to, str(database.path)) == "holds":
                raise ConfigError(
                    f"{source}: {place.key}: {readable(place.to)} holds"
                    f" {readable(database.path)}, the database {database.name}",
                    hint="keeper files deletes there what its folder does not have",
                )


def place_of(to: str) -> tuple[str, tuple[str, ...]]:
    """A destination as the remote it is on ("" for this host) and the steps from its root.

    Symlinks of local folders are resolved; the options of a configured remote
    ("b2,hard_delete=true:bucket") and a slash before its path make no difference.
    """
    if is_local(to):
        return "", _steps(os.path.realpath(to))
    parts = split_remote(to)
    if parts is None:
        return to, ()
    name, options, path = parts
    if name == ":local":
        return "", _steps(os.path.realpath(path))
    # A remote made on the spot is told apart by its options alone: ":sftp,host=a:x".
    return name + options if name.startswith(":") else name, _steps(path)


def _steps(path: str) -> tuple[str, ...]:
    return tuple(step for step in os.path.normpath(f"/{path}").split("/") if step)


def _relation(one: str, other: str, *, ignore_case: bool = False) -> str | None:
    """How one destination touches the other, in words; None when they are apart."""
    (remote, steps), (other_remote, other_steps) = place_of(one), place_of(other)
    if remote != other_remote:
        return None
    if ignore_case and remote:
        steps, other_steps = tuple(map(folded, steps)), tuple(map(folded, other_steps))
    if steps == other_steps:
        return "is the same place as"
    if steps[: len(other_steps)] == other_steps:
        return "lies inside"
    if other_steps[: len(steps)] == steps:
        return "holds"
    return None


def refuse_indistinct_files(files: Sequence[FileSet], destinations: Sequence[str]) -> None:
    """Refuse file sets that a destination may take for one another, or for a backup's place.

    For what syncs: to everything else they matter little.

    Raises:
        ConfigError: names both.
    """
    by_name: dict[str, str] = {}
    for one in files:
        twin = by_name.setdefault(folded(one.name), one.name)
        if twin != one.name:
            raise ConfigError(
                f"[[files]] {readable(one.name)}: many destinations do not tell this name from"
                f" {readable(twin)}, that of another [[files]]",
                hint='give one of them another name: name = "..."',
            )
    named = [(one, Place(one.to, f"to of [[files]] {one.name}")) for one in files]
    backups = [Place(to, "backup.to") for to in destinations]
    refuse_shared_places(backups, named, ignore_case=True)


def refuse_place_of_files(files: Iterable[FileSet], destinations: Sequence[str], key: str) -> None:
    """Refuse destinations of the command line's `key` that a configured file set shares.

    Raises:
        ConfigError: names both.
    """
    named = [(one, Place(one.to, f"to of [[files]] {one.name}")) for one in files]
    refuse_shared_places([Place(to, key) for to in destinations], named)
