"""A snapshot brought back: downloaded, verified, given its owner, and only then put in place."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from sqlitekeeper.database.check import check_snapshot
from sqlitekeeper.database.checksums import has_checksums, renew_first_checksum
from sqlitekeeper.database.connection import open_database, pragma_int, sqlite_errors
from sqlitekeeper.database.files import SIDECARS
from sqlitekeeper.database.replace.exclusive import refuse_if_open
from sqlitekeeper.database.replace.replace import Placed, copy_ownership, exists_already, place
from sqlitekeeper.database.replace.undo import undo
from sqlitekeeper.database.replace.unseen import refuse_unseen
from sqlitekeeper.database.set_aside import remove_unfinished
from sqlitekeeper.destination.catalog import Snapshot
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.download import base_problem, fetch_manifest, fetch_snapshot
from sqlitekeeper.destination.hold import fallen
from sqlitekeeper.destination.manifest import PRIVATE_MODE, Manifest, ManifestError
from sqlitekeeper.destination.metadata import newest_manifests
from sqlitekeeper.errors import CheckError, ConfigError, KeeperError
from sqlitekeeper.events import Level, Listener, Note, ignore
from sqlitekeeper.filesystem.checksum import sha256_of
from sqlitekeeper.filesystem.private_folder import remove_staging_litter, staging_folder
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.restore.verify import contradiction, verify
from sqlitekeeper.result import Result


@dataclass(frozen=True, slots=True)
class RestoreResult(Result):
    """What a restore did; `set_aside` holds the old database, or what it had left beside it.

    `damage` is what is wrong with what was put in place, where somebody wants it all the same.
    """

    path: Path
    outcome: Literal["restored", "failed"]
    object: str | None = None
    sha256: str | None = None
    damage: str | None = None
    set_aside: tuple[Path, ...] = ()

    @property
    def can_be_undone(self) -> bool:
        """Whether a database was set aside, and not only a WAL that had lost its own."""
        return any(not path.name.endswith(SIDECARS) for path in self.set_aside)


def refuse_target(target: Path, replace: bool, assume_stopped: bool) -> None:
    """Say early, before anything is downloaded, why a file cannot be put there.

    Raises:
        KeeperError: the folder is missing, or there is a file and `replace` is not set.
        BusyError: a process has the file open, deleted or not; or may have, and cannot be seen.
    """
    if not target.parent.is_dir():
        raise KeeperError(
            f"{target}: the folder {target.parent} does not exist",
            hint=f"create it first: mkdir -p {shlex.quote(str(target.parent))}",
        )
    if target.is_dir():
        raise KeeperError(f"{target}: is a folder")
    if target.exists() and not replace:
        raise exists_already(target)
    if target.exists() and not target.is_file():
        raise KeeperError(f"{target}: is not a regular file")
    refuse_if_open(target)
    if target.exists() and not assume_stopped:
        refuse_unseen(target)


def refuse_on_hold(
    wanted: Snapshot, found: Sequence[tuple[Destination, Snapshot]], rclone: Rclone
) -> None:
    """Refuse a snapshot from after a loss of rows that nobody has accepted, for nobody chose it.

    A destination that does not say whether it is one does not stop a restore.

    Raises:
        CheckError: names the last snapshot before the loss.
    """
    name = wanted.database
    for destination in (one for one, snapshot in found if snapshot.object == wanted.object):
        try:
            catalogs = [destination.catalog[name]] if name in destination.catalog else []
            manifest = newest_manifests(rclone, destination.to, catalogs).get(name)
        except KeeperError:
            continue
        if not isinstance(manifest, Manifest) or not (hold := manifest.hold):
            continue
        lost_at = datetime.fromisoformat(hold.since)
        lost_at = lost_at if lost_at.tzinfo else lost_at.replace(tzinfo=UTC)
        before = [one for _, one in found if one.taken_at < lost_at]
        hint = "to take it all the same, add --at latest"
        if before:
            last = max(before, key=lambda one: one.taken_at).object.rpartition("/")[2]
            hint = f"the last snapshot before the loss: the same command with --at {last}; {hint}"
        raise CheckError(
            f"{name}: its newest snapshot is from after a loss that nobody has accepted:"
            f" {fallen(hold.tables)}",
            hint=hint,
        )


def restore(
    candidates: Sequence[tuple[Destination, Snapshot]],
    target: Path,
    rclone: Rclone,
    clock: Callable[[], datetime],
    on_event: Listener = ignore,
    *,
    replace: bool = False,
    no_manifest: bool = False,
    assume_stopped: bool = False,
    accept_damage: bool = False,
    agree: Callable[[str], bool] = lambda damage: True,
    before_replacing: Callable[[Path], None] = lambda file: None,
) -> RestoreResult:
    """Restore the same snapshot from the first destination whose copy proves sound.

    Without `replace` only to where there is nothing, also once it is downloaded.
    With `assume_stopped` also where it cannot be known that nobody has the file open. With
    `no_manifest` one without a manifest that can be used is good enough,
    if its integrity is. One that was never fully checked comes back as it was shipped, unless
    somebody does not `agree` to the damage that is found now; with `accept_damage` any does.
    `before_replacing` is called with the copy before it replaces a database, and raises where
    it may not.

    Raises:
        ConfigError: somebody did not agree.
        CheckError: no copy is what its manifest says; all of them were looked at.
        BusyError: somebody has the database open.
        KeeperError: there is a file and `replace` is not set, there is no room, or a
            copy could not be fetched.
    """
    _report_litter(target, on_event)
    with staging_folder(target.parent, setting=None) as folder:
        # What is downloaded has a database's name, and that may be any.
        downloads, work_folder = folder / "downloads", folder / "work"
        downloads.mkdir()
        work_folder.mkdir()
        errors: list[KeeperError] = []
        for destination, snapshot in candidates:
            try:
                fetched = _fetch(
                    destination,
                    snapshot,
                    target,
                    rclone,
                    downloads,
                    on_event,
                    no_manifest=no_manifest,
                    accept_damage=accept_damage,
                )
            except KeeperError as error:
                errors.append(error)
                if len(errors) < len(candidates):
                    on_event(Note(snapshot.database, error.full_text, Level.WARNING))
                continue
            file, manifest, damage = fetched.file, fetched.manifest, fetched.damage
            if damage:
                on_event(Note(snapshot.database, damage, Level.WARNING))
                if not agree(damage):
                    raise ConfigError(f"{target}: not restored, as you wished")
            if target.exists():
                before_replacing(file)
            if manifest and manifest.journal_mode == "wal" and not (damage and accept_damage):
                _set_wal_mode(file)
            mode, acl = (manifest.mode, manifest.acl) if manifest else (PRIVATE_MODE, None)
            copy_ownership(file, target, mode, on_event, acl)
            placed = place(
                file,
                target,
                clock(),
                work_folder,
                on_event,
                replace=replace,
                assume_stopped=assume_stopped,
            )
            return RestoreResult(
                snapshot.database,
                target,
                "restored",
                _cut_off(placed, target),
                object=snapshot.object,
                sha256=fetched.sha256,
                damage=damage,
                set_aside=placed.set_aside,
            )
    # One that could not be fetched may be sound, so another's damage is not the last word.
    unseen = [error for error in errors if not isinstance(error, CheckError)]
    if unseen and unseen[-1] is not errors[-1]:
        on_event(Note(candidates[-1][1].database, errors[-1].full_text, Level.WARNING))
    raise (unseen or errors)[-1]


def undo_restore(
    name: str,
    target: Path,
    clock: Callable[[], datetime],
    on_event: Listener = ignore,
    *,
    assume_stopped: bool = False,
) -> RestoreResult:
    """Bring back what the last restore set aside.

    Raises:
        KeeperError: nothing was set aside, or there is no room for a copy.
        BusyError: somebody has the database open.
    """
    _report_litter(target, on_event)
    with staging_folder(target.parent, setting=None) as work_folder:
        source, placed = undo(target, clock(), work_folder, on_event, assume_stopped=assume_stopped)
    on_event(Note(name, f"brought back {source.name}"))
    return RestoreResult(
        name,
        target,
        "restored",
        _cut_off(placed, target),
        set_aside=placed.set_aside,
    )


def _cut_off(placed: Placed, target: Path) -> str | None:
    """What a person has to do about processes that had opened the old file meanwhile."""
    if not placed.late_openers:
        return None
    who = ", ".join(map(str, placed.late_openers))
    return f"restart {who}: it had just opened the old {target.name}, and cannot use it any more"


def _report_litter(target: Path, on_event: Listener) -> None:
    for litter in remove_staging_litter(target.parent):
        text = f"removed {litter}, left by a restore that was killed; {target} was not half-written"
        on_event(Note("", text))
    for unfinished in remove_unfinished(target):
        text = f"removed the name {unfinished.name}, left by a restore that was killed before it"
        on_event(Note("", f"{text} replaced anything"))


@dataclass(frozen=True, slots=True)
class _Fetched:
    """A snapshot that came, and what is wrong with it where that is accepted."""

    file: Path
    sha256: str
    manifest: Manifest | None
    damage: str | None = None


def _fetch(
    destination: Destination,
    snapshot: Snapshot,
    target: Path,
    rclone: Rclone,
    folder: Path,
    on_event: Listener,
    *,
    no_manifest: bool,
    accept_damage: bool,
) -> _Fetched:
    """Download a snapshot and prove it."""
    try:
        manifest = fetch_manifest(rclone, destination, snapshot)
    except ManifestError as error:
        if not (no_manifest or accept_damage):
            raise
        on_event(Note(snapshot.database, error.full_text, Level.WARNING))
        manifest = None
    found = contradiction(snapshot, manifest) if manifest else None
    if found and not accept_damage:
        raise CheckError(f"{snapshot.object}: {found.problem}")
    if manifest and (lack := base_problem(destination, manifest)):
        raise CheckError(f"{snapshot.object}: {lack}")
    what = f"{target}: the snapshot"
    file = fetch_snapshot(
        rclone,
        destination.to,
        snapshot,
        folder,
        on_event,
        manifest=manifest,
        what=what,
        beside=target.parent,
    )
    sha256 = sha256_of(file)
    try:
        damage = _damage(file, sha256, manifest, on_event)
    except KeeperError as error:
        if not accept_damage:
            raise CheckError(f"{snapshot.object}: {error.message}", hint=error.hint) from None
        damage = error.message.replace(f"{file}: ", "")
    if damage:
        return _Fetched(file, sha256, manifest, f"{snapshot.object}: {damage}")
    said = "integrity ok" if manifest is None else "sha256, integrity and row counts ok"
    on_event(Note(snapshot.database, f"{snapshot.object} from {destination.to}: {said}"))
    return _Fetched(file, sha256, manifest)


def _damage(file: Path, sha256: str, manifest: Manifest | None, on_event: Listener) -> str | None:
    """What is wrong with a snapshot although it is what was shipped: it was not checked then.

    Raises:
        CheckError: it is not what was shipped, or its check had found nothing.
    """
    if manifest is None:
        check_snapshot(file, sha256, "integrity")
        return None
    verification = verify(file, manifest, on_event, full_text=False)
    if verification.problem and (manifest.check == "integrity" or not verification.sha256_ok):
        raise CheckError(verification.problem)
    if verification.problem:
        was = "was not checked" if manifest.check == "none" else "had a quick check only"
        return f"{was} when it was shipped, and is damaged: {verification.problem}"
    return None


def _set_wal_mode(file: Path) -> None:
    """WAL mode as the source had it; a snapshot is always in rollback-journal mode."""
    with sqlite_errors(file), open_database(file, write=True) as connection:
        if connection.pragma("journal_mode", "wal") != "wal":
            raise KeeperError(f"{file}: WAL mode could not be set")
        page_size, checksums = pragma_int(connection, "page_size"), has_checksums(connection)
    if checksums:
        renew_first_checksum(file, page_size)
