"""Manifests and the like, from a destination and to it: small files, all in one rclone run."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlitekeeper.backups.destination import Destination, sync_to_disk
from sqlitekeeper.backups.rclone import Rclone, RcloneError, RemoteObject
from sqlitekeeper.backups.shipping import paper_problem
from sqlitekeeper.backups.untrusted import (
    MAX_MANIFEST_BYTES,
    Manifest,
    ManifestError,
    parse_manifest,
)
from sqlitekeeper.database.private_folder import private_folder, remove_litter
from sqlitekeeper.errors import KeeperError, as_keeper_error

PREFIX = "keeper-papers-"


@contextmanager
def _folder() -> Iterator[Path]:
    """A private folder for small files, where temporary files belong."""
    parent = Path(tempfile.gettempdir())
    # What a killed run left is a few kilobytes of copies: not worth a word.
    remove_litter(parent, PREFIX)
    with private_folder(parent, PREFIX) as folder:
        yield folder


def try_papers(
    rclone: Rclone, to: str, objects: Iterable[RemoteObject]
) -> tuple[dict[str, bytes], RcloneError | None]:
    """The contents of small objects, by path, and why some are missing if rclone says so.

    What is too large is left out. Their sizes are a listing's, so nothing
    larger than a manifest can be is downloaded.
    """
    paths = [item.path for item in objects if 0 <= item.bytes <= MAX_MANIFEST_BYTES]
    if not paths:
        return {}, None
    contents: dict[str, bytes] = {}
    with _folder() as folder:
        report = rclone.fetch(to, paths, folder)
        for path in paths:
            file = folder / path
            if file.is_symlink() or not file.is_file():
                continue
            # It may have grown since it was listed.
            if file.stat().st_size <= MAX_MANIFEST_BYTES:
                contents[path] = file.read_bytes()
    return contents, report.error if len(contents) < len(paths) else None


def fetch_papers(rclone: Rclone, to: str, objects: Iterable[RemoteObject]) -> dict[str, bytes]:
    """As `try_papers`, for those who need all that are not too large.

    Raises:
        RcloneError: rclone failed, and some are missing.
    """
    contents, error = try_papers(rclone, to, objects)
    if error:
        raise error
    return contents


def fetch_manifests(
    rclone: Rclone, to: str, objects: Iterable[RemoteObject]
) -> dict[str, Manifest | ManifestError]:
    """Manifests by path; one that cannot be used is an error in its place.

    Raises:
        RcloneError: as `fetch_papers`.
    """
    wanted = list(objects)
    contents = fetch_papers(rclone, to, wanted)
    return {item.path: read_manifest(item, contents, to) for item in wanted}


def read_manifest(
    item: RemoteObject, contents: Mapping[str, bytes], to: str
) -> Manifest | ManifestError:
    """The manifest of a listed object, out of what was fetched; an error says why there is none."""
    where = f"{to.rstrip('/')}/{item.path}"
    try:
        if item.path in contents:
            return parse_manifest(contents[item.path], where)
    except ManifestError as error:
        return error
    if item.bytes > MAX_MANIFEST_BYTES:
        return ManifestError(f"{where}: {item.bytes} bytes are too many for a manifest")
    return ManifestError(f"{where}: could not be downloaded")


def store_papers(
    rclone: Rclone, destination: Destination, texts: Mapping[str, bytes]
) -> dict[str, str]:
    """Upload small objects, in one run; what went wrong by path.

    Whatever is not named there was read back from the destination.
    """
    if not texts:
        return {}
    with _folder() as folder:
        for path, text in texts.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text)
        exists = destination.listing is not None
        report = rclone.copy(folder, destination.to, texts, bucket_exists=exists)
    problems = {}
    if report.error:
        problems = {path: report.error.full_text for path in texts if path not in report.done}
    arrived = [path for path in texts if path not in problems]
    try:
        held = rclone.confirm(destination.to, arrived, hashes=True) if arrived else {}
        wrong = {path: paper_problem(path, texts[path], held, destination.to) for path in arrived}
        problems |= {path: problem for path, problem in wrong.items() if problem}
        whole = [path for path in arrived if path not in problems]
        if destination.folder is not None and whole:
            sync_to_disk(destination.folder, whole)
    except (KeeperError, OSError) as error:
        problems |= dict.fromkeys(arrived, as_keeper_error(error).full_text)
    return problems
