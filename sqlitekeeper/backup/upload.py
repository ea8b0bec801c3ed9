"""Bringing a batch of snapshots to one destination: snapshot, manifest, latest.json.

In that order, each confirmed by what the destination then holds: an object
without a manifest is not a snapshot, so a run that ends in the middle leaves
nothing that claims to be one. For the same reason a snapshot may be uploaded
while it is being checked.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from sqlitekeeper.backup.model import SNAPSHOTS, Parcel, Upload
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.layout import latest_object, manifest_object
from sqlitekeeper.destination.manifest import encode
from sqlitekeeper.destination.metadata import store_metadata
from sqlitekeeper.errors import KeeperError, as_keeper_error
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.listing import RemoteObject


class Shipper:
    """Ships a batch from a run's private folder, where snapshots/ holds the files.

    First `upload`, then `confirm`, then, of what is proven by then, `announce`.
    All return what went wrong, by database name; whatever is not named by any
    was read back from the destination.
    """

    def __init__(self, rclone: Rclone, folder: Path) -> None:
        self.rclone = rclone
        self.folder = folder
        # Those at each destination, by what case does not change of their names.
        self._folders: dict[str, dict[str, set[str]]] = {}

    def upload(
        self,
        destination: Destination,
        uploads: list[Upload],
        progress: Callable[[int], None] = lambda done: None,
    ) -> dict[str, str]:
        """Bring snapshots to a destination, where nobody takes them for any yet."""
        if not uploads:
            return {}
        paths = {upload.object: upload.database for upload in uploads}
        try:
            failed = self._copy(self.folder / SNAPSHOTS, destination, list(paths), progress)
        except (KeeperError, OSError) as error:
            failed = dict.fromkeys(paths, as_keeper_error(error).full_text)
        return {paths[path]: text for path, text in failed.items()}

    def confirm(self, destination: Destination, uploads: list[Upload]) -> dict[str, str]:
        """See what is there as it was sent; a local copy is read back."""
        if not uploads:
            return {}
        try:
            return self._confirm(destination, uploads)
        except (KeeperError, OSError) as error:
            return dict.fromkeys(
                (one.database for one in uploads), as_keeper_error(error).full_text
            )

    def announce(
        self, destination: Destination, parcels: list[tuple[Parcel, str]]
    ) -> dict[str, str]:
        """Write manifests of what has arrived, then the copies that say what is newest.

        Each parcel comes with when it was confirmed, as latest.json has it.
        """
        if not parcels:
            return {}
        try:
            return self._metadata(destination, parcels)
        except (KeeperError, OSError) as error:
            text = as_keeper_error(error).full_text
            return {parcel.database: text for parcel, _ in parcels}

    def withdraw(self, destination: Destination, objects: list[str]) -> str | None:
        """Delete what was uploaded and is not to be relied on; what went wrong, if it did."""
        if not objects:
            return None
        error = self.rclone.delete(destination.to, objects).error
        return error.full_text if error else None

    def _confirm(self, destination: Destination, uploads: list[Upload]) -> dict[str, str]:
        twins = self._twins(destination, uploads)
        objects = [upload.object for upload in uploads]
        # Elsewhere its name says whose it is, and rclone has compared hashes, where there are
        # any; of large files S3 itself has compared those of their parts.
        held = self.rclone.confirm(
            destination.to, [*objects, *twins.values()], hashes=destination.is_local
        )
        errors = {
            upload.database: problem
            for upload in uploads
            if (
                problem := _case_problem(upload, twins, held, destination.to)
                or _problem(upload, held, destination.to)
            )
        }
        # A part of a snapshot would lie there until it is pruned, one in a folder of another
        # database for ever.
        parts = {
            upload.object: upload.database
            for upload in uploads
            if upload.object in held
            and (held[upload.object].bytes < upload.bytes or twins.get(upload.object) in held)
        }
        if problem := self.withdraw(destination, list(parts)):
            errors |= {name: f"{errors[name]}; {problem}" for name in parts.values()}
        return errors

    def _twins(self, destination: Destination, uploads: list[Upload]) -> dict[str, str]:
        """Where uploads lie too if the destination ignores case, by object.

        That is in the folder of another database, where there was none of their own.
        """
        if destination.to not in self._folders:
            alike: dict[str, set[str]] = defaultdict(set)
            for folder in {path.partition("/")[0] for path in destination.listing or ()}:
                alike[folder.casefold()].add(folder)
            self._folders[destination.to] = alike
        twins = {}
        for upload in uploads:
            folders = self._folders[destination.to].get(upload.database.casefold())
            if folders and upload.database not in folders:
                twins[upload.object] = f"{min(folders)}/{upload.object.rpartition('/')[2]}"
        return twins

    def _metadata(
        self, destination: Destination, parcels: list[tuple[Parcel, str]]
    ) -> dict[str, str]:
        """Write manifests, and latest.json of those that are whole."""
        manifests = {manifest_object(p.object): p for p, _ in parcels if p.upload}
        texts = {path: encode(parcel.manifest) for path, parcel in manifests.items()}
        failed = store_metadata(self.rclone, destination, texts, self.folder)
        errors = {manifests[path].database: text for path, text in failed.items()}
        whole = [(p, confirmed_at) for p, confirmed_at in parcels if p.database not in errors]
        texts = {
            latest_object(p.database): encode(p.manifest | {"confirmed_at": confirmed_at})
            for p, confirmed_at in whole
        }
        failed = store_metadata(self.rclone, destination, texts, self.folder, newer_will_do=True)
        latest = {latest_object(p.database): p.database for p, _ in whole}
        return errors | {latest[path]: text for path, text in failed.items()}

    def _copy(
        self,
        source: Path,
        destination: Destination,
        paths: list[str],
        progress: Callable[[int], None] = lambda done: None,
    ) -> dict[str, str]:
        """Copy, and return what went wrong by path."""
        report = self.rclone.copy(source, destination.to, paths, progress=progress)
        if report.error is None:
            return {}
        return {path: report.problem_of(path) for path in paths if path not in report.done}


def _case_problem(
    upload: Upload, twins: Mapping[str, str], held: Mapping[str, RemoteObject], to: str
) -> str | None:
    twin = twins.get(upload.object)
    if twin is None or twin not in held:
        return None
    other = twin.partition("/")[0]
    return f"{to} ignores case and has {other} already; give one of the two databases another name"


def _problem(upload: Upload, held: dict[str, RemoteObject], to: str) -> str | None:
    found = held.get(upload.object)
    if found is None:
        return f"rclone reported no error, but {upload.object} is not at {to}"
    if found.bytes != upload.bytes:
        return f"{upload.object} has {found.bytes} bytes at {to}, not {upload.bytes}"
    if found.hashes.get("sha256", upload.sha256) != upload.sha256:
        return f"{upload.object} at {to} has another content than the snapshot"
    return None
