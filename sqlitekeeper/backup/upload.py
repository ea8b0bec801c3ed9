"""Bringing snapshots to one destination, and seeing that they are there.

A snapshot may be uploaded while it is being checked: an object without a manifest
is not a snapshot, so a run that ends in the middle leaves nothing that claims to be one.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from sqlitekeeper.backup.model import StoredSnapshot
from sqlitekeeper.backup.snapshot import SNAPSHOTS
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.errors import KeeperError, as_keeper_error
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.listing import RemoteObject


class Uploader:
    """Uploads from a run's private folder, where snapshots/ holds the files, to a destination.

    Its methods return what went wrong, by database name; whatever neither `upload` nor
    `read_back` names was read back from the destination.
    """

    def __init__(self, rclone: Rclone, folder: Path, destination: Destination) -> None:
        self.rclone = rclone
        self.folder = folder
        self.destination = destination
        # Those at the destination, by what case does not change of their names.
        self._folders: dict[str, set[str]] = defaultdict(set)
        for folder_there in {path.partition("/")[0] for path in destination.listing or ()}:
            self._folders[folder_there.casefold()].add(folder_there)

    def upload(
        self,
        snapshots: Sequence[StoredSnapshot],
        progress: Callable[[int], None] = lambda done: None,
    ) -> dict[str, str]:
        """Bring snapshots to the destination, where nobody takes them for any yet."""
        paths = {one.object: one.name for one in snapshots}
        if not paths:
            return {}
        try:
            report = self.rclone.copy(
                self.folder / SNAPSHOTS, self.destination.to, list(paths), progress=progress
            )
        except (KeeperError, OSError) as error:
            return dict.fromkeys(paths.values(), as_keeper_error(error).full_text)
        if report.error is None:
            return {}
        failed = [path for path in paths if path not in report.done]
        return {paths[path]: report.problem_of(path) for path in failed}

    def read_back(self, snapshots: Sequence[StoredSnapshot]) -> dict[str, str]:
        """See what is there as it was sent; a local copy is read."""
        if not snapshots:
            return {}
        try:
            return self._read_back(snapshots)
        except (KeeperError, OSError) as error:
            return dict.fromkeys((one.name for one in snapshots), as_keeper_error(error).full_text)

    def withdraw(self, objects: Collection[str]) -> str | None:
        """Delete what was uploaded and is not to be relied on; what went wrong, if it did."""
        if not objects:
            return None
        error = self.rclone.delete(self.destination.to, objects).error
        return error.full_text if error else None

    def _read_back(self, snapshots: Sequence[StoredSnapshot]) -> dict[str, str]:
        to, twins = self.destination.to, self._twins(snapshots)
        objects = [one.object for one in snapshots]
        # Elsewhere its name says whose it is, and rclone has compared hashes, where there are
        # any; of large files S3 itself has compared those of their parts.
        there = self.rclone.confirm(
            to, [*objects, *twins.values()], hashes=self.destination.is_local
        )
        # The listing is as old as the run: somebody may have deleted a base since.
        bases = {one.facts["base"] for one in snapshots if "base" in one.facts}
        bases_there = self.rclone.confirm(to, bases) if bases else {}
        errors = {
            one.name: problem
            for one in snapshots
            if (
                problem := _case_problem(one, twins, there, to)
                or _problem(one, there, to)
                or _base_problem(one, bases_there, to)
            )
        }
        # A part of a snapshot would lie there until it is pruned, one in a folder of another
        # database for ever.
        parts = {
            one.object: one.name
            for one in snapshots
            if one.object in there
            and (there[one.object].bytes < one.bytes or twins.get(one.object) in there)
        }
        if problem := self.withdraw(parts):
            errors |= {name: f"{errors[name]}; {problem}" for name in parts.values()}
        return errors

    def _twins(self, snapshots: Sequence[StoredSnapshot]) -> dict[str, str]:
        """Where snapshots lie too if the destination ignores case, by object.

        That is in the folder of another database, where there was none of their own.
        """
        twins = {}
        for one in snapshots:
            folders = self._folders.get(one.name.casefold())
            if folders and one.name not in folders:
                twins[one.object] = f"{min(folders)}/{one.object.rpartition('/')[2]}"
        return twins


def _case_problem(
    snapshot: StoredSnapshot, twins: Mapping[str, str], there: Mapping[str, RemoteObject], to: str
) -> str | None:
    twin = twins.get(snapshot.object)
    if twin is None or twin not in there:
        return None
    other = twin.partition("/")[0]
    return f"{to} ignores case and has {other} already; give one of the two databases another name"


def _problem(snapshot: StoredSnapshot, there: Mapping[str, RemoteObject], to: str) -> str | None:
    found = there.get(snapshot.object)
    if found is None:
        return f"rclone reported no error, but {snapshot.object} is not at {to}"
    if found.bytes != snapshot.bytes:
        return f"{snapshot.object} has {found.bytes} bytes at {to}, not {snapshot.bytes}"
    if found.hashes.get("sha256", snapshot.sha256) != snapshot.sha256:
        return f"{snapshot.object} at {to} has another content than the snapshot"
    return None


def _base_problem(
    snapshot: StoredSnapshot, there: Mapping[str, RemoteObject], to: str
) -> str | None:
    base = snapshot.facts.get("base")
    if base is None or (base in there and there[base].bytes == snapshot.facts["base_bytes"]):
        return None
    return f"{base} at {to} was deleted meanwhile, which it is a delta of; the next run ships it"
