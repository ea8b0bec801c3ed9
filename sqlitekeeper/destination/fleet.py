"""The status of every database below a remote, whichever host wrote it.

Hosts are told apart by the folder that they ship to: `<host>/<name>/latest.json`,
at any depth.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlitekeeper.destination.catalog import DatabaseShelf, Subject, read_shelves
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.drill_records import last_drills
from sqlitekeeper.destination.layout import LATEST, parse_object
from sqlitekeeper.destination.manifest import Manifest, ManifestError
from sqlitekeeper.destination.metadata import try_papers
from sqlitekeeper.destination.status import (
    Evidence,
    Limits,
    StatusEntry,
    judge,
    papers_of,
    read_latest,
)
from sqlitekeeper.errors import CheckError
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.listing import RemoteObject


@dataclass(frozen=True, slots=True)
class _Spot:
    """One database of one host; its shelf's paths are below the host's folder."""

    prefix: str
    shelf: DatabaseShelf

    @property
    def below(self) -> str:
        return f"{self.prefix}/" if self.prefix else ""


def fleet_status(destination: Destination, rclone: Rclone, limits: Limits) -> list[StatusEntry]:
    """The freshness of all databases below a destination, by host and name.

    Raises:
        KeeperError: it does not answer.
        CheckError: there is not one snapshot below it.
    """
    if destination.error:
        raise destination.error
    to, spots = destination.to, list(_spots(destination))
    nothing = CheckError(
        f"{to}: there is no snapshot below it",
        hint="give the folder that the hosts ship to, or one above it",
    )
    if not spots:
        raise nothing
    papers = {
        f"{spot.below}{paper.path}": paper for spot in spots for paper in papers_of([spot.shelf])
    }
    wanted = [replace(paper, path=path) for path, paper in papers.items()]
    contents, error = try_papers(rclone, to, wanted)
    entries = []
    for spot in spots:
        here = {
            path.removeprefix(spot.below): text
            for path, text in contents.items()
            if path.startswith(f"{spot.below}{spot.shelf.database}/")
        }
        at = f"{to.rstrip('/')}/{spot.prefix}" if spot.prefix else to
        latest = read_latest(spot.shelf, spot.shelf.latest, here, at, error)
        if not spot.shelf.snapshots and isinstance(latest, ManifestError) and here:
            # Others call their files latest.json, too: what `keeper files` has shipped, say.
            continue
        drills = last_drills(spot.shelf.snapshots, here, {}, limits.now)
        subject = Subject(spot.shelf.database)
        entry = judge(subject, at, spot.shelf, Evidence(latest, drills), limits)
        host = spot.prefix or (latest.host if isinstance(latest, Manifest) else "")
        entries.append(replace(entry, host=host))
    if not entries:
        raise nothing
    return entries


def _spots(destination: Destination) -> Iterable[_Spot]:
    by_prefix: dict[str, list[RemoteObject]] = defaultdict(list)
    for item in (destination.listing or {}).values():
        prefix, name, file = _split(item.path)
        if _is_plain(prefix) and (file == LATEST or parse_object(f"{name}/{file}")):
            by_prefix[prefix].append(replace(item, path=f"{name}/{file}"))
    for prefix in sorted(by_prefix):
        at = f"{destination.to}/{prefix}"
        for shelf in read_shelves(at, by_prefix[prefix]).values():
            if shelf.latest or shelf.snapshots:
                yield _Spot(prefix, shelf)


def _split(path: str) -> tuple[str, str, str]:
    folder, _, file = path.rpartition("/")
    prefix, _, name = folder.rpartition("/")
    return prefix, name, file


def _is_plain(prefix: str) -> bool:
    """Whether a folder that a listing names is one to go down into, and nowhere else."""
    segments = prefix.split("/") if prefix else []
    return prefix.isprintable() and not any(segment in ("", ".", "..") for segment in segments)
