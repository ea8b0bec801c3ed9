"""Is a local destination on the databases' own disk: a bad place, or a NAS that is not mounted?"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sqlitekeeper.backups.local_folder import is_local
from sqlitekeeper.database.findings import Finding


def diagnose_same_disk(to: Sequence[str], paths: Mapping[str, Path]) -> Iterator[Finding]:
    """Compare the file system of each local folder of `to` with that of each database, by name.

    What cannot be looked at is left out: other checks tell of that.
    """
    for folder in dict.fromkeys(to):
        device = _device(Path(folder)) if is_local(folder) else None
        if device is None:
            continue
        beside = [name for name, path in paths.items() if _device(path) == device]
        if not beside:
            message = f"{folder}: lies on another file system than the databases"
            yield Finding("ok", None, "same_disk", message)
            continue
        names = ", ".join(beside[:3]) + (f" and {len(beside) - 3} more" if beside[3:] else "")
        yield Finding(
            "warn",
            None,
            "same_disk",
            f"{folder}: lies on the file system of {names}: one disk that fails takes both."
            " Is a mount missing?",
            f'mount it, or add a destination elsewhere: to = ["{folder}", "b2:my-bucket"]',
        )


def _device(path: Path) -> int | None:
    """The file system that a path is on, or would be if it were made."""
    for one in (path, *path.parents):
        try:
            return one.stat().st_dev
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None
