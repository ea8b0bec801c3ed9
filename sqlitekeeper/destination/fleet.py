"""The status of every database below a remote, whichever host wrote it.

Hosts are told apart by the folder that they ship to: `<host>/<name>/latest.json`,
at any depth.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlitekeeper.destination.catalog import DatabaseCatalog, Subject, read_catalog
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.drill_records import last_drills
from sqlitekeeper.destination.layout import LATEST, parse_object
from sqlitekeeper.destination.manifest import Manifest, ManifestError
from sqlitekeeper.destination.metadata import try_metadata
from sqlitekeeper.destination.status import (
    Evidence,
    Limits,
    StatusEntry,
    judge,
    metadata_of,
    read_latest,
)
from sqlitekeeper.errors import CheckError
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.listing import RemoteObject


@dataclass(frozen=True, slots=True)
class _HostFolder:
    """One database of one host; its catalog's paths are below the host's folder."""

    prefix: str
    catalog: DatabaseCatalog

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
    to, positions = destination.to, list(_host_folders(destination))
    nothing = CheckError(
        f"{to}: there is no snapshot below it",
        hint="give the folder that the hosts ship to, or one above it",
    )
    if not positions:
        raise nothing
    metadata = {
        f"{position.below}{entry.path}": entry
        for position in positions
        for entry in metadata_of([position.catalog])
    }
    wanted = [replace(entry, path=path) for path, entry in metadata.items()]
    contents, error = try_metadata(rclone, to, wanted)
    entries = []
    for position in positions:
        here = {
            path.removeprefix(position.below): text
            for path, text in contents.items()
            if path.startswith(f"{position.below}{position.catalog.database}/")
        }
        at = f"{to.rstrip('/')}/{position.prefix}" if position.prefix else to
        latest = read_latest(position.catalog, position.catalog.latest, here, at, error)
        if not position.catalog.snapshots and isinstance(latest, ManifestError) and here:
            # Others call their files latest.json, too: what `keeper files` has shipped, say.
            continue
        drills = last_drills(position.catalog.snapshots, here, {}, limits.now)
        subject = Subject(position.catalog.database)
        entry = judge(subject, at, position.catalog, Evidence(latest, drills), limits)
        host = position.prefix or (latest.host if isinstance(latest, Manifest) else "")
        entries.append(replace(entry, host=host))
    if not entries:
        raise nothing
    return entries


def _host_folders(destination: Destination) -> Iterable[_HostFolder]:
    by_prefix: dict[str, list[RemoteObject]] = defaultdict(list)
    for item in (destination.listing or {}).values():
        prefix, name, file = _split(item.path)
        if _is_plain(prefix) and (file == LATEST or parse_object(f"{name}/{file}")):
            by_prefix[prefix].append(replace(item, path=f"{name}/{file}"))
    for prefix in sorted(by_prefix):
        at = f"{destination.to}/{prefix}"
        for catalog in read_catalog(at, by_prefix[prefix]).values():
            if catalog.latest or catalog.snapshots:
                yield _HostFolder(prefix, catalog)


def _split(path: str) -> tuple[str, str, str]:
    folder, _, file = path.rpartition("/")
    prefix, _, name = folder.rpartition("/")
    return prefix, name, file


def _is_plain(prefix: str) -> bool:
    """Whether a folder that a listing names is one to go down into, and nowhere else."""
    segments = prefix.split("/") if prefix else []
    return prefix.isprintable() and not any(segment in ("", ".", "..") for segment in segments)
