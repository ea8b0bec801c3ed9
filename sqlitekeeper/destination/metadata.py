"""Manifests and drill records, fetched and stored: small files, all in one go."""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from sqlitekeeper.destination.catalog import DatabaseCatalog
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.manifest import (
    MAX_MANIFEST_BYTES,
    Manifest,
    ManifestError,
)
from sqlitekeeper.errors import KeeperError, as_keeper_error
from sqlitekeeper.filesystem.private_folder import private_folder, remove_litter
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.errors import RcloneError
from sqlitekeeper.rclone.listing import RemoteObject

PREFIX = "keeper-metadata-"


def newest_manifests(
    rclone: Rclone, to: str, catalogs: Iterable[DatabaseCatalog]
) -> dict[str, Manifest | ManifestError]:
    """The newest manifest of each database that has one, all in one rclone run.

    Raises:
        RcloneError: some could not be downloaded.
    """
    wanted = {one.database: one.newest_metadata for one in catalogs if one.newest_metadata}
    if not wanted:
        return {}
    fetched = fetch_manifests(rclone, to, (entry for each in wanted.values() for entry in each))
    found = {}
    for database, each in wanted.items():
        manifest = _last_word([fetched[entry.path] for entry in each])
        if isinstance(manifest, Manifest) and manifest.database != database:
            other = f"{to}/{each[-1].path}: is the manifest of {manifest.database!r}"
            manifest = ManifestError(other)
        found[database] = manifest
    return found


def _last_word(manifests: list[Manifest | ManifestError]) -> Manifest | ManifestError:
    """Which of a snapshot's own manifest and latest.json tells what is true now.

    latest.json, unless it is older: it did not arrive with the newest snapshot.
    One that cannot be read leaves both in doubt.
    """
    last = manifests[-1]
    for manifest in manifests:
        if isinstance(manifest, ManifestError):
            return manifest
        if isinstance(last, Manifest) and _order(manifest) > _order(last):
            last = manifest
    return last


def _order(manifest: Manifest) -> tuple[datetime, str]:
    return manifest.taken_at, manifest.object


@contextmanager
def _folder(parent: Path | None = None) -> Iterator[Path]:
    """A private folder for small files, in `parent` or where temporary files belong."""
    parent = parent or Path(tempfile.gettempdir())
    # What a killed run left is a few kilobytes of copies: not worth a word.
    remove_litter(parent, PREFIX)
    with private_folder(parent, PREFIX) as folder:
        yield folder


def try_metadata(
    rclone: Rclone, to: str, objects: Iterable[RemoteObject], parent: Path | None = None
) -> tuple[dict[str, bytes], RcloneError | None]:
    """The contents of small objects, by path, and why some are missing if rclone says so.

    What is too large is left out. Their sizes are a listing's, so nothing
    larger than a manifest can be is downloaded.
    """
    paths = [item.path for item in objects if 0 <= item.bytes <= MAX_MANIFEST_BYTES]
    if not paths:
        return {}, None
    contents: dict[str, bytes] = {}
    with _folder(parent) as folder:
        report = rclone.fetch(to, paths, folder)
        for path in paths:
            file = folder / path
            if file.is_symlink() or not file.is_file():
                continue
            # It may have grown since it was listed.
            if file.stat().st_size <= MAX_MANIFEST_BYTES:
                contents[path] = file.read_bytes()
    return contents, report.error if len(contents) < len(paths) else None


def fetch_metadata(rclone: Rclone, to: str, objects: Iterable[RemoteObject]) -> dict[str, bytes]:
    """As `try_metadata`, but an object that did not come is an error.

    Raises:
        RcloneError: rclone failed, and some are missing.
    """
    contents, error = try_metadata(rclone, to, objects)
    if error:
        raise error
    return contents


def fetch_manifests(
    rclone: Rclone, to: str, objects: Iterable[RemoteObject]
) -> dict[str, Manifest | ManifestError]:
    """Manifests by path; one that cannot be used is an error in its place.

    Raises:
        RcloneError: as `fetch_metadata`.
    """
    wanted = list(objects)
    contents = fetch_metadata(rclone, to, wanted)
    return {item.path: read_manifest(item, contents, to) for item in wanted}


def read_manifest(
    item: RemoteObject, contents: Mapping[str, bytes], to: str
) -> Manifest | ManifestError:
    """The manifest of a listed object, out of what was fetched; an error says why there is none."""
    where = f"{to.rstrip('/')}/{item.path}"
    try:
        if item.path in contents:
            return Manifest.from_json(contents[item.path], where)
    except ManifestError as error:
        return error
    if item.bytes > MAX_MANIFEST_BYTES:
        return ManifestError(f"{where}: {item.bytes} bytes are too many for a manifest")
    return ManifestError(f"{where}: could not be downloaded")


def store_metadata(
    rclone: Rclone,
    destination: Destination,
    texts: Mapping[str, bytes],
    parent: Path | None = None,
    *,
    newer_will_do: bool = False,
) -> dict[str, str]:
    """Upload small objects, in one run; what went wrong by path.

    Whatever is not named there was read back from the destination; where a
    `newer_will_do`, another run may have put a later latest.json in its place.
    They are written to a private folder before, in `parent` or where temporary
    files belong.
    """
    if not texts:
        return {}
    with _folder(parent) as folder:
        for path, text in texts.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text)
        report = rclone.copy(folder, destination.to, texts)
    problems = {}
    if report.error:
        problems = {path: report.problem_of(path) for path in texts if path not in report.done}
    arrived = {path: text for path, text in texts.items() if path not in problems}
    if not arrived:
        return problems
    try:
        held = rclone.confirm(destination.to, arrived, hashes=True)
        problems |= _read_back(rclone, destination, arrived, held, parent, newer_will_do)
    except (KeeperError, OSError) as error:
        problems |= dict.fromkeys(arrived, as_keeper_error(error).full_text)
    return problems


def _read_back(
    rclone: Rclone,
    destination: Destination,
    texts: Mapping[str, bytes],
    held: Mapping[str, RemoteObject],
    parent: Path | None,
    newer_will_do: bool,
) -> dict[str, str]:
    """The defects of metadata at a destination, by path; objects that differ are read.

    A part of one that was sent is deleted: it would be in the way of everyone
    who reads what there is.
    """
    seen = {
        path: metadata_problem(path, text, held, destination.to) for path, text in texts.items()
    }
    problems = {path: problem for path, problem in seen.items() if problem}
    strange = [held[path] for path in problems if path in held]
    if newer_will_do:
        # Others write it too, and where there is no hash, their one may be just as large.
        strange += [held[p] for p in texts if p not in problems and not _digests(held[p], texts[p])]
    if not strange:
        return problems
    contents, _ = try_metadata(rclone, destination.to, strange, parent)
    parts = []
    for item in strange:
        found, sent = contents.get(item.path), texts[item.path]
        if found is None or len(found) != item.bytes:
            # What did not come as it lies there says nothing.
            continue
        if found != sent and sent.startswith(found):
            parts.append(item.path)
        elif newer_will_do and _is_refreshed(found, sent):
            problems.pop(item.path, None)
        elif newer_will_do:
            text = f"{item.path} at {destination.to} is another one than was written there"
            problems[item.path] = text
    if parts and (error := rclone.delete(destination.to, parts).error):
        problems |= {path: f"{problems[path]}; {error.full_text}" for path in parts}
    return problems


def metadata_problem(
    path: str, text: bytes, held: Mapping[str, RemoteObject], to: str
) -> str | None:
    """The defect of a manifest or latest.json at `to`, as far as size and hash tell.

    The size alone would not tell a stale latest.json from a fresh one, so a
    hash is compared where the destination knows one.
    """
    found = held.get(path)
    if found is None or found.bytes != len(text):
        return f"rclone reported no error, but {path} is not whole at {to}"
    if any(given != own for given, own in _digests(found, text)):
        return f"rclone reported no error, but {path} at {to} is an older one"
    return None


def _digests(found: RemoteObject, text: bytes) -> list[tuple[str, str]]:
    """The hashes that a destination knows of an object, each with that of what was sent."""
    return [
        (given, hashlib.new(algorithm, text, usedforsecurity=False).hexdigest())
        for algorithm in ("md5", "sha1", "sha256")
        if (given := found.hashes.get(algorithm))
    ]


def _is_refreshed(found: bytes, sent: bytes) -> bool:
    """Whether a latest.json is the same or a newer one, of another run, than was sent."""
    if found == sent:
        return True
    try:
        theirs, ours = (Manifest.from_json(text, "") for text in (found, sent))
    except ManifestError:
        return False
    return (
        theirs.database == ours.database
        and theirs.confirmed_at is not None
        and ours.confirmed_at is not None
        and theirs.confirmed_at >= ours.confirmed_at
    )
