"""Folders beside the databases (uploads, Active Storage), synced by `rclone sync`.

    folder -> which files are SQLite databases   (left_out.py; never synced as files)
           -> what rclone sees of the rest       (nothing at all: a failure)
           -> what a sync would delete           (a dry run; more than allowed: a failure)
           -> the sync itself
           -> what changed meanwhile, from copies (changing.py)

Nothing is changed at the destination before the first three are done.
"""

import os
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlitekeeper.config.settings import FileSet
from sqlitekeeper.errors import KeeperError, as_keeper_error
from sqlitekeeper.events import Level, Listener, Note, Tick, ignore
from sqlitekeeper.files.changing import changed_since, copy_file
from sqlitekeeper.files.databases import find_databases
from sqlitekeeper.files.sync import ANY_NUMBER, FolderSync, Forecast, SyncLog
from sqlitekeeper.filesystem.private_folder import staging_folder
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.errors import RcloneError
from sqlitekeeper.result import Result
from sqlitekeeper.state.locks import database_lock
from sqlitekeeper.wording import counted, size


@dataclass(frozen=True, slots=True)
class FilesOptions:
    """What surrounds a run. `databases` are left out even where no header tells what they are."""

    rclone: Rclone
    state: Path
    databases: tuple[Path, ...] = ()
    dry_run: bool = False
    force: bool = False
    staging: Path = Path("/var/tmp")  # noqa: S108 (a private folder is made in it)


@dataclass(frozen=True, slots=True)
class FilesResult(Result):
    """What became of one folder.

    `files` and `bytes` are what there is to sync: without what is excluded and
    `left_out`, the SQLite databases, relative to `path`. `files_before` are
    those at the destination that the sync is about. The `would_` numbers are
    those of a dry run, or of a run that was refused. `links` counts symbolic
    links, which are not followed. `seconds` is how long it took.
    """

    path: Path
    outcome: Literal["synced", "skipped", "failed"]
    to: str = ""
    files: int = 0
    bytes: int = 0
    files_before: int | None = None
    uploaded_files: int = 0
    uploaded_bytes: int = 0
    deleted_files: int = 0
    would_upload_files: int | None = None
    would_upload_bytes: int | None = None
    would_delete_files: int | None = None
    left_out: tuple[str, ...] = ()
    links: int = 0
    seconds: float = 0.0


def sync_files(
    jobs: Sequence[FileSet], options: FilesOptions, on_event: Listener = ignore
) -> tuple[FilesResult, ...]:
    """Sync some folders; one that fails does not stop the others.

    No two destinations may overlap, nor may one and that of a backup: a sync
    deletes what its own folder does not have. Every file below the folders is
    opened, so don't run it beside threads that open SQLite databases there.
    """
    results = []
    for job in jobs:
        began = time.monotonic()
        run = _FilesRun(job, options, on_event)
        trouble = None
        try:
            run.work()
        except (KeeperError, OSError) as error:
            trouble = as_keeper_error(error)
        results.append(run.result(trouble, round(time.monotonic() - began, 3)))
    return tuple(results)


class _FilesRun:
    """The steps of one folder's sync, and what is known so far."""

    def __init__(self, job: FileSet, options: FilesOptions, on_event: Listener) -> None:
        self.job = job
        self.options = options
        self.on_event = on_event
        self.left_out: tuple[bytes, ...] = ()
        self.files = self.bytes = 0
        self.forecast: Forecast | None = None
        self.log = SyncLog()

    def work(self) -> None:
        """Do it all under keeper's lock on the folder; a dry run writes nothing, so needs none.

        Raises:
            KeeperError: nothing, or not everything, was done.
            LockedError: another run works on it.
        """
        require_folder(self.job.path)
        if self.options.dry_run:
            self._prepare()
            return
        with database_lock(self.options.state, self.job.path):
            sync, most = self._prepare()
            began_ns = time.time_ns()
            try:
                try:
                    sync.sync(self.log, most, self._tick)
                except RcloneError:
                    if self.log.limit_reached or not self._upload_changing(sync, began_ns):
                        raise
                    # It has deleted nothing where a file could not be uploaded.
                    sync.sync(self.log, most, self._tick)
            except RcloneError:
                if not self.log.limit_reached:
                    raise
                raise KeeperError(
                    f"stopped after deleting the {most:,} that max_delete allows:"
                    f" {self.job.to} has changed since it was listed",
                    hint="does something else write there?",
                ) from None

    def _upload_changing(self, sync: FolderSync, began_ns: int) -> bool:
        """Upload copies of what has changed under rclone's hands; False where there is nothing.

        Raises:
            KeeperError: they could not be copied, or uploaded.
        """
        folder = Path(os.path.realpath(self.job.path))
        names = list(changed_since(folder, self.log.failed, began_ns))
        if not names:
            return False
        with staging_folder(self.options.staging) as copies:
            for name in names:
                text = f"{name} changed while it was uploaded; a copy of it is uploaded"
                if not copy_file(folder, name, copies):
                    text += ", which may be of no one moment: it changes all the time"
                self.on_event(Note(self.job.name, text, Level.WARNING))
            FolderSync(self.options.rclone, copies, self.job.to, (), ()).copy(self.log, self._tick)
        sync.leave(names)
        return True

    def _prepare(self) -> tuple[FolderSync, int]:
        """Find out what a sync would do, and whether it may; and how much it may delete."""
        job, options = self.job, self.options
        folder = Path(os.path.realpath(job.path))
        self.left_out = find_databases(folder, options.databases)
        sync = FolderSync(options.rclone, folder, job.to, job.exclude, self.left_out)
        self._measure(sync)
        self.forecast = sync.foresee(compare_times=options.dry_run)
        if links := self.forecast.links:
            text = f"{counted(links, 'symbolic link')} left out: keeper does not follow them"
            self.on_event(Note(job.name, text, Level.WARNING))
        return sync, self._allowed_deletions(self.forecast)

    def _measure(self, sync: FolderSync) -> None:
        """Learn what there is to sync.

        Raises:
            KeeperError: nothing; or not all of it can be read, then what can be
                is uploaded, and nothing is deleted.
        """
        try:
            self.files, self.bytes = sync.measure()
        except RcloneError as error:
            if self.options.dry_run:
                raise
            trouble: KeeperError = error
            try:
                sync.copy(self.log, self._tick)
            except KeeperError as again:  # what cannot be read, and the destination's own trouble
                trouble = again
            uploaded = counted(self.log.uploaded, "file")
            raise KeeperError(
                f"{trouble}; uploaded {uploaded} of what can be read, deleted nothing",
                hint=trouble.hint,
            ) from None
        if self.files == 0:
            only = counted(len(self.left_out), "SQLite database") if self.left_out else ""
            raise KeeperError(
                f"{self.job.path}: holds no files to sync{only and f', only {only}'};"
                f" nothing was changed at {self.job.to}",
                hint="is it mounted, and the right folder? does exclude leave anything in?",
            )

    def _allowed_deletions(self, forecast: Forecast) -> int:
        """The most files that may be deleted.

        Raises:
            KeeperError: a sync would delete more.
        """
        if self.options.force:
            return ANY_NUMBER
        most = self.job.most_deletions(forecast.before)
        if forecast.deletions > most:
            raise KeeperError(
                f"would delete {forecast.deletions:,} of {counted(forecast.before, 'file')} at"
                f" {self.job.to}, more than the {most:,} that max_delete allows;"
                " nothing was changed there",
                hint=f"is everything there in {self.job.path}? if those are meant to go:"
                f" keeper files {shlex.quote(self.job.name)} --force",
            )
        return most

    def _tick(self) -> None:
        done, total = self.log.number("bytes"), self.log.number("totalBytes")
        self.on_event(Tick(self.job.name, "upload", done, total))

    def result(self, error: KeeperError | None, seconds: float) -> FilesResult:
        """What is known when the work is done, or has failed."""
        forecast, dry_run = self.forecast, self.options.dry_run
        # rclone has not run when a run was refused; then it is told what was in the way.
        told = forecast if dry_run or (error and not self.log.stats) else None
        return FilesResult(
            self.job.name,
            self.job.path,
            "failed" if error else "skipped" if dry_run else "synced",
            error.full_text if error else self._in_words(forecast) if dry_run else None,
            to=self.job.to,
            files=self.files,
            bytes=self.bytes,
            files_before=forecast.before if forecast else None,
            uploaded_files=self.log.uploaded,
            uploaded_bytes=self.log.number("bytes"),
            deleted_files=self.log.deleted,
            would_upload_files=told.uploads if told and dry_run else None,
            would_upload_bytes=told.upload_bytes if told and dry_run else None,
            would_delete_files=told.deletions if told else None,
            left_out=tuple(os.fsdecode(path) for path in self.left_out),
            links=forecast.links if forecast else len(self.log.links),
            seconds=seconds,
            exit_code=error.exit_code if error else 0,
        )

    def _in_words(self, forecast: Forecast | None) -> str:
        assert forecast is not None
        uploads = f"{counted(forecast.uploads, 'file')} ({size(forecast.upload_bytes)})"
        return (
            f"dry run: would upload {uploads} to {self.job.to}"
            f" and delete {forecast.deletions:,} of {forecast.before:,} there"
        )


def require_folder(path: Path) -> None:
    """Tell a folder that is gone from one that is empty.

    Raises:
        KeeperError: there is none, or it cannot be read.
    """
    try:
        with os.scandir(path):
            return
    except FileNotFoundError:
        reason = "no such folder"
    except NotADirectoryError:
        reason = "is not a folder"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    raise KeeperError(f"{path}: {reason}", hint="is it mounted? nothing was synced")
