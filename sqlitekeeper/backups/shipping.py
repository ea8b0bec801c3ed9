"""Bringing a batch of snapshots to one destination: snapshot, manifest, latest.json.

In that order, each confirmed by what the destination then holds: an object
without a manifest is not a snapshot, so a run that ends in the middle leaves
nothing that claims to be one.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlitekeeper.backups.destination import Destination, sync_to_disk
from sqlitekeeper.backups.manifest import encode
from sqlitekeeper.backups.naming import latest_object, manifest_object
from sqlitekeeper.backups.rclone import Rclone, RemoteObject
from sqlitekeeper.errors import KeeperError, as_keeper_error

SNAPSHOTS = "snapshots"


@dataclass(frozen=True, slots=True)
class Parcel:
    """One database's part of a batch; without `upload` only latest.json is refreshed."""

    database: str
    object: str
    bytes: int
    manifest: dict[str, Any]
    upload: bool


class Shipper:
    """Ships parcels from a run's private folder, where snapshots/ holds the files."""

    def __init__(self, rclone: Rclone, folder: Path) -> None:
        self.rclone = rclone
        self.folder = folder

    def ship(
        self,
        destination: Destination,
        parcels: list[Parcel],
        confirmed_at: str,
        progress: Callable[[int], None] = lambda done: None,
    ) -> dict[str, str]:
        """Ship a batch and return what went wrong, by database name.

        Whatever is not named there was read back from the destination.
        """
        errors: dict[str, str] = {}
        try:
            self._snapshots(destination, parcels, errors, progress)
            self._papers(destination, parcels, confirmed_at, errors)
        except (KeeperError, OSError) as error:
            text = as_keeper_error(error).full_text
            for parcel in parcels:
                errors.setdefault(parcel.database, text)
        return errors

    def _snapshots(
        self,
        destination: Destination,
        parcels: list[Parcel],
        errors: dict[str, str],
        progress: Callable[[int], None],
    ) -> None:
        sizes = {p.object: p.bytes for p in parcels if p.upload}
        if not sizes:
            return
        source = self.folder / SNAPSHOTS
        arrived = self._copy(source, destination, list(sizes), progress)
        held = self._held(destination, sizes.keys() - arrived.keys())
        for parcel in parcels:
            if parcel.upload:
                problem = arrived.get(parcel.object) or _size_problem(parcel, held)
                if problem:
                    errors[parcel.database] = problem
        _flush(destination, [p.object for p in parcels if p.upload], errors, parcels)

    def _papers(
        self,
        destination: Destination,
        parcels: list[Parcel],
        confirmed_at: str,
        errors: dict[str, str],
    ) -> None:
        """Manifests of what has arrived, then the copies that say what is newest."""
        whole = [p for p in parcels if p.database not in errors]
        manifests = {manifest_object(p.object): p for p in whole if p.upload}
        latest = {latest_object(p.database): p for p in whole}
        texts = {path: encode(p.manifest) for path, p in manifests.items()} | {
            path: encode(p.manifest | {"confirmed_at": confirmed_at}) for path, p in latest.items()
        }
        papers = self.folder / "papers"
        for path, text in texts.items():
            target = papers / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text)
        problems: dict[str, str] = {}
        if manifests:
            problems = self._copy(papers, destination, list(manifests))
        ready = [path for path, p in latest.items() if manifest_object(p.object) not in problems]
        if ready:
            problems |= self._copy(papers, destination, ready)
        if not texts:
            return
        held = self._held(destination, texts.keys() - problems.keys(), hashes=True)
        for path, text in texts.items():
            problem = problems.get(path) or paper_problem(path, text, held)
            if problem:
                errors.setdefault((manifests | latest)[path].database, problem)
        _flush(destination, list(texts), errors, whole)

    def _held(
        self, destination: Destination, paths: set[str], *, hashes: bool = False
    ) -> dict[str, RemoteObject]:
        """Ask for what was copied only: what is in the way of the rest could fail the question."""
        return self.rclone.confirm(destination.to, sorted(paths), hashes=hashes) if paths else {}

    def _copy(
        self,
        source: Path,
        destination: Destination,
        paths: list[str],
        progress: Callable[[int], None] = lambda done: None,
    ) -> dict[str, str]:
        """Copy, and return what went wrong by path."""
        report = self.rclone.copy(
            source,
            destination.to,
            paths,
            bucket_exists=destination.listing is not None,
            progress=progress,
        )
        if report.error is None:
            return {}
        return {path: report.error.full_text for path in paths if path not in report.done}


def _size_problem(parcel: Parcel, held: dict[str, RemoteObject]) -> str | None:
    found = held.get(parcel.object)
    if found is None:
        return f"rclone reported no error, but {parcel.object} is not at the destination"
    if found.bytes != parcel.bytes:
        return f"{parcel.object} has {found.bytes} bytes at the destination, not {parcel.bytes}"
    return None


def paper_problem(path: str, text: bytes, held: dict[str, RemoteObject]) -> str | None:
    """What is wrong with a manifest or latest.json at the destination.

    The size alone would not tell a stale latest.json from a fresh one, so a
    hash is compared where the destination knows one.
    """
    found = held.get(path)
    if found is None or found.bytes != len(text):
        return f"rclone reported no error, but {path} is not whole at the destination"
    for algorithm in ("md5", "sha1", "sha256"):
        if given := found.hashes.get(algorithm):
            digest = hashlib.new(algorithm, text, usedforsecurity=False).hexdigest()
            if given != digest:
                return f"rclone reported no error, but {path} at the destination is an older one"
    return None


def _flush(
    destination: Destination, paths: list[str], errors: dict[str, str], parcels: list[Parcel]
) -> None:
    if destination.folder is None or not paths:
        return
    whole = {p.database for p in parcels} - errors.keys()
    kept = [path for path in paths if path.split("/")[0] in whole]
    try:
        sync_to_disk(destination.folder, kept)
    except OSError as error:
        for name in whole:
            errors[name] = f"{destination.to}: cannot be flushed to disk ({error.strerror})"
