"""Reading manifests and the like from a destination: small files, all in one rclone run."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from sqlitekeeper.backups.rclone import Rclone, RemoteObject
from sqlitekeeper.backups.untrusted import (
    MAX_MANIFEST_BYTES,
    Manifest,
    ManifestError,
    parse_manifest,
)


def fetch_papers(rclone: Rclone, to: str, objects: Iterable[RemoteObject]) -> dict[str, bytes]:
    """The contents of small objects, by path; what is too large or did not come is left out.

    Their sizes are a listing's, so nothing larger than a manifest can be is downloaded.

    Raises:
        RcloneError: rclone failed, and some are missing.
    """
    paths = [item.path for item in objects if item.bytes <= MAX_MANIFEST_BYTES]
    if not paths:
        return {}
    contents: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory(prefix="keeper-papers-") as name:
        folder = Path(name)
        report = rclone.fetch(to, paths, folder)
        for path in paths:
            file = folder / path
            if file.is_file() and not file.is_symlink():
                contents[path] = file.read_bytes()
    if report.error and len(contents) < len(paths):
        raise report.error
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
    found: dict[str, Manifest | ManifestError] = {}
    for item in wanted:
        where = f"{to}/{item.path}"
        try:
            if item.path not in contents:
                found[item.path] = _missing(item, where)
            else:
                found[item.path] = parse_manifest(contents[item.path], where)
        except ManifestError as error:
            found[item.path] = error
    return found


def _missing(item: RemoteObject, where: str) -> ManifestError:
    if item.bytes > MAX_MANIFEST_BYTES:
        return ManifestError(f"{where}: {item.bytes} bytes are too many for a manifest")
    return ManifestError(f"{where}: could not be downloaded")
