"""Findings about this host: staging, state folder, folders of [[files]].

Nothing is changed, and nothing leaves the host but in `diagnose_remotes`, which
lists each destination once.
"""

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sqlitekeeper.config.names import solid_kind
from sqlitekeeper.doctor.database import memory_filesystem
from sqlitekeeper.doctor.destinations import diagnose_rclone
from sqlitekeeper.doctor.finding import BackupPlan, Finding, on_host, this_user, unwritable_reason
from sqlitekeeper.errors import ConfigError, KeeperError, as_keeper_error
from sqlitekeeper.files.run import require_folder
from sqlitekeeper.filesystem.disks import free_bytes
from sqlitekeeper.rclone.remote_name import is_local
from sqlitekeeper.store.library import zstd_library
from sqlitekeeper.wording import size

_MEND = "mount it, or correct the path of [[files]] {name} in keeper.toml"


def diagnose_folder(name: str, path: Path) -> Finding:
    """Whether a folder that is to be synced is there and has something in it."""
    try:
        require_folder(path)
        empty = not any(path.iterdir())
    except (KeeperError, OSError) as error:
        message = as_keeper_error(error).message
        return Finding("fail", None, "files", f"{name}: {message}", _MEND.format(name=name))
    if empty:
        message = f"{name}: {path}: is empty, which keeper files takes for a failure"
        return Finding("fail", None, "files", message, _MEND.format(name=name))
    return Finding("ok", None, "files", f"{name}: {path} is there, with files in it")


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


def diagnose_host(plan: BackupPlan) -> list[Finding]:
    """What can be said of the host without asking anyone else."""
    findings = [_state(plan), *_staging(plan), _destination(plan), *_store(plan)]
    findings += diagnose_rclone(plan)
    findings += [_worth(plan, name) for name in plan.databases]
    return findings


def _state(plan: BackupPlan) -> Finding:
    folder = plan.state
    quoted = shlex.quote(str(folder))
    if problem := unwritable_reason(folder):
        make = (
            f"chown -R {this_user()}" if folder.is_dir() else f"install -d -m 700 -o {this_user()}"
        )
        fix = f'{make} {quoted}, or state = "..." in {plan.toml}'
        return on_host("fail", "state", f"{folder}: state folder: {problem}", fix)
    if folder.is_dir():
        if folder.stat().st_mode & 0o002:
            message = f"{folder}: state folder: everyone may write to it"
            return on_host("fail", "state", message, f"chmod 700 {quoted}")
        return on_host("ok", "state", f"{folder}: can be written")
    return on_host("ok", "state", f"{folder}: will be made by the first run")


def _staging(plan: BackupPlan) -> Iterator[Finding]:
    folder = plan.staging
    other = f'staging = "/another/folder" in [backup] of {plan.toml}'
    if not folder.is_dir():
        message = f"{folder}: staging folder: there is none"
        yield on_host("fail", "staging", message, f"mkdir -p {shlex.quote(str(folder))}")
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        yield on_host("fail", "staging", f"{folder}: this user cannot write to it", other)
        return
    yield on_host("ok", "staging", f"{folder}: can be written")
    if memory := memory_filesystem(folder):
        message = f"{folder}: lies on {memory}: snapshots would take up memory"
        yield on_host("warn", "staging_memory", message, other)
    else:
        yield on_host("ok", "staging_memory", f"{folder}: lies on a disk")
    free = free_bytes(folder)
    if free < plan.largest_bytes:
        message = (
            f"{folder}: has {size(free)} left, a snapshot of the largest database takes"
            f" {size(plan.largest_bytes)}"
        )
        yield on_host("fail", "staging_space", message, f"make room there, or {other}")
    else:
        yield on_host("ok", "staging_space", f"{folder}: {size(free)} left")


def _destination(plan: BackupPlan) -> Finding:
    if plan.to:
        return on_host("ok", "destination", f"backups go to {', '.join(plan.to)}")
    return on_host(
        "warn",
        "destination",
        "no destination is configured: without --to, nothing is backed up",
        f'to = "b2:my-bucket/{{hostname}}" in [backup] of {plan.toml}',
    )


def _store(plan: BackupPlan) -> Iterator[Finding]:
    """Whether snapshots can be stored as they are to be, and bases of deltas have room."""
    if plan.store == "plain":
        return
    try:
        zstd_library()
    except ConfigError as error:
        yield on_host("fail", "store", f'store = "{plan.store}": {error.message}', error.hint)
        return
    yield on_host("ok", "store", f'store = "{plan.store}": this Python has zstd')
    if plan.store == "zstd" or all(map(is_local, plan.to)) or not plan.state.is_dir():
        return
    free = free_bytes(plan.state)
    if free >= plan.largest_bytes:
        yield on_host("ok", "base_space", f"{plan.state}: {size(free)} left for bases of deltas")
        return
    message = f"{plan.state}: has {size(free)} left, and keeps a compressed snapshot of each"
    message += f" database; the largest has {size(plan.largest_bytes)}. Without one each"
    message += " snapshot is shipped whole"
    fix = f'make room there, or state = "/another/folder" in {plan.toml}'
    yield on_host("warn", "base_space", message, fix)


def _worth(plan: BackupPlan, name: str) -> Finding:
    if not solid_kind(name):
        return Finding("ok", name, "worth_backup", "is worth a backup, by its name")
    return Finding(
        "warn",
        name,
        "worth_backup",
        "is backed up, and is by its name a cache or a queue: usually not worth it",
        f"backup = false in its [[databases]] of {plan.toml}",
    )
