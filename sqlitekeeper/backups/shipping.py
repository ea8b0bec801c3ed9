"""Bringing a batch of snapshots to one destination: snapshot, manifest, latest.json.

In that order, each confirmed by what the destination then holds: an object
without a manifest is not a snapshot, so a run that ends in the middle leaves
nothing that claims to be one. For the same reason a snapshot may be uploaded
while it is being checked.
"""

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlitekeeper.backups.checking import sha256_of
from sqlitekeeper.backups.destination import Destination, sync_to_disk
from sqlitekeeper.backups.manifest import encode
from sqlitekeeper.backups.naming import latest_object, manifest_object
from sqlitekeeper.backups.rclone import Rclone, RemoteObject
from sqlitekeeper.backups.untrusted import (
    MAX_MANIFEST_BYTES,
    ManifestError,
    NewerFormatError,
    parse_manifest,
)
from sqlitekeeper.errors import KeeperError, as_keeper_error

SNAPSHOTS = "snapshots"
PAPERS = "papers"


@dataclass(frozen=True, slots=True)
class Upload:
    """A snapshot in the staging folder that has to be brought somewhere."""

    database: str
    object: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Parcel:
    """One database's part of a batch; without `upload` only latest.json is refreshed."""

    database: str
    object: str
    bytes: int
    manifest: dict[str, Any]
    upload: bool


class Shipper:
    """Ships a batch from a run's private folder, where snapshots/ holds the files.

    First `upload`, then, of what is proven by then, `announce`. Both return
    what went wrong, by database name; whatever is not named by either was read
    back from the destination.
    """

    def __init__(self, rclone: Rclone, folder: Path) -> None:
        self.rclone = rclone
        self.folder = folder

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

    def announce(
        self, destination: Destination, parcels: list[Parcel], confirmed_at: str
    ) -> dict[str, str]:
        """Write manifests of what has arrived, then the copies that say what is newest."""
        try:
            errors = self._confirm(destination, [p for p in parcels if p.upload])
            whole = [parcel for parcel in parcels if parcel.database not in errors]
            if not whole:
                return errors
            # Of its own: another batch may be announced elsewhere at the same time.
            with tempfile.TemporaryDirectory(dir=self.folder, ignore_cleanup_errors=True) as own:
                return errors | self._papers(destination, whole, confirmed_at, Path(own) / PAPERS)
        except (KeeperError, OSError) as error:
            text = as_keeper_error(error).full_text
            return {parcel.database: text for parcel in parcels}

    def withdraw(self, destination: Destination, objects: list[str]) -> str | None:
        """Delete what was uploaded and is not to be relied on; what went wrong, if it did."""
        if not objects:
            return None
        error = self.rclone.delete(destination.to, objects).error
        return error.full_text if error else None

    def _confirm(self, destination: Destination, uploaded: list[Parcel]) -> dict[str, str]:
        """What is not there as it was sent; the rest is flushed where that is ours to do."""
        held = self._held(destination, {parcel.object for parcel in uploaded})
        errors = {
            parcel.database: problem
            for parcel in uploaded
            if (
                problem := _size_problem(parcel, held, destination.to)
                or _content_problem(parcel, destination)
            )
        }
        arrived = {p.object: p.database for p in uploaded if p.database not in errors}
        return errors | _flush(destination, arrived)

    def _papers(
        self, destination: Destination, parcels: list[Parcel], confirmed_at: str, folder: Path
    ) -> dict[str, str]:
        manifests = {manifest_object(p.object): p for p in parcels if p.upload}
        latest = {latest_object(p.database): p for p in parcels}
        papers = manifests | latest
        texts = {path: encode(p.manifest) for path, p in manifests.items()} | {
            path: encode(p.manifest | {"confirmed_at": confirmed_at}) for path, p in latest.items()
        }
        for path, text in texts.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text)
        failed: dict[str, str] = {}
        if manifests:
            failed = self._copy(folder, destination, list(manifests))
        ready = [path for path, p in latest.items() if manifest_object(p.object) not in failed]
        if ready:
            failed |= self._copy(folder, destination, ready)
        held = self._held(destination, texts.keys() - failed.keys(), hashes=True)
        problems = dict(failed)
        for path in texts.keys() - failed.keys():
            if problem := paper_problem(path, texts[path], held, destination.to):
                problems[path] = problem
        readable = {p for p in problems if p in held and held[p].bytes <= MAX_MANIFEST_BYTES}
        for path in self._overwritten(destination, readable, confirmed_at, folder):
            del problems[path]
        errors: dict[str, str] = {}
        for path in (path for path in papers if path in problems):
            errors.setdefault(papers[path].database, problems[path])
        arrived = {path: p.database for path, p in papers.items() if p.database not in errors}
        return errors | _flush(destination, arrived)

    def _overwritten(
        self, destination: Destination, paths: set[str], confirmed_at: str, folder: Path
    ) -> set[str]:
        """Which of these papers another run has replaced by newer ones, as it may latest.json.

        A part of a paper is deleted: it would be in the way of everyone who reads
        what there is.
        """
        if not paths:
            return set()
        found = folder.with_name("found")
        self.rclone.fetch(destination.to, paths, found)
        newer, parts = set(), []
        for path in paths:
            try:
                paper = parse_manifest((found / path).read_bytes(), path)
            except (FileNotFoundError, NewerFormatError):
                continue
            except ManifestError:
                parts.append(path)
                continue
            at = paper.confirmed_at
            if at and at >= datetime.fromisoformat(confirmed_at):
                newer.add(path)
        self.withdraw(destination, parts)
        return newer

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


def _size_problem(parcel: Parcel, held: dict[str, RemoteObject], to: str) -> str | None:
    found = held.get(parcel.object)
    if found is None:
        return f"rclone reported no error, but {parcel.object} is not at {to}"
    if found.bytes != parcel.bytes:
        return f"{parcel.object} has {found.bytes} bytes at {to}, not {parcel.bytes}"
    return None


def _content_problem(parcel: Parcel, destination: Destination) -> str | None:
    """Read a local copy back. Elsewhere rclone has compared hashes, where there are any."""
    if destination.folder is None:
        return None
    if sha256_of(destination.folder / parcel.object) != parcel.manifest["snapshot"]["sha256"]:
        return f"{parcel.object} at {destination.to} has another content than the snapshot"
    return None


def paper_problem(path: str, text: bytes, held: dict[str, RemoteObject], to: str) -> str | None:
    """What is wrong with a manifest or latest.json at the destination `to`.

    The size alone would not tell a stale latest.json from a fresh one, so a
    hash is compared where the destination knows one.
    """
    found = held.get(path)
    if found is None or found.bytes != len(text):
        return f"rclone reported no error, but {path} is not whole at {to}"
    for algorithm in ("md5", "sha1", "sha256"):
        if given := found.hashes.get(algorithm):
            digest = hashlib.new(algorithm, text, usedforsecurity=False).hexdigest()
            if given != digest:
                return f"rclone reported no error, but {path} at {to} is an older one"
    return None


def _flush(destination: Destination, arrived: Mapping[str, str]) -> dict[str, str]:
    """Flush what has arrived, given by path with its database; what went wrong by database."""
    if destination.folder is None or not arrived:
        return {}
    try:
        sync_to_disk(destination.folder, list(arrived))
    except OSError as error:
        text = f"{destination.to}: cannot be flushed to disk ({error.strerror})"
        return dict.fromkeys(arrived.values(), text)
    return {}
