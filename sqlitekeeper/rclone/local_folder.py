"""A destination that is a folder of this host: listed, written, read and flushed without rclone.

It looks as rclone would have it look: what is below a symlinked folder is not
there, unless links are followed, and a file is written beside its place first,
under a name that ends with ".partial".
"""

import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlitekeeper.filesystem.access import let_named_in
from sqlitekeeper.filesystem.flush import sync, sync_to_disk
from sqlitekeeper.rclone.errors import RcloneError, hint
from sqlitekeeper.rclone.listing import RemoteObject
from sqlitekeeper.rclone.report import Report
from sqlitekeeper.workers import stop_if_asked

CHUNK_BYTES = 2**20
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

Progress = Callable[[int], None]

PRIVATE_FOLDER = 0o700


class LocalFolder:
    """One folder; `follow_links` is whether symlinks below it are what they point to."""

    def __init__(self, to: str, *, follow_links: bool) -> None:
        self.folder = Path(to)
        self.follow_links = follow_links

    def list_objects(self) -> dict[str, RemoteObject] | None:
        """Every file below it; None where it does not exist yet.

        Raises:
            RcloneError: a part of it cannot be read.
        """
        found: dict[str, RemoteObject] = {}
        try:
            for entry in _walk(self.folder, self.follow_links):
                facts = entry.stat(follow_symlinks=self.follow_links)
                path = os.fsencode(os.path.relpath(entry.path, self.folder))
                name = path.decode(errors="replace")
                found[name] = RemoteObject(name, facts.st_size)
        except FileNotFoundError as error:
            if str(error.filename) == str(self.folder):
                return None
            raise _failed(error, "listed", self.folder) from None
        except OSError as error:
            raise _failed(error, "listed", self.folder) from None
        return found

    def confirm(self, paths: Iterable[str], *, hashes: bool) -> dict[str, RemoteObject]:
        """Those of the files that are there; with `hashes`, they are read for their sha256.

        Raises:
            RcloneError: it cannot be said.
        """
        found: dict[str, RemoteObject] = {}
        for path in paths:
            try:
                facts = self._file(path)
                if facts:
                    known = {"sha256": self._sha256(path)} if hashes else {}
                    found[path] = RemoteObject(path, facts.st_size, known)
            except OSError as error:
                raise _failed(error, "read back", self.folder / path) from None
        return found

    def copy(self, folder: Path, paths: Iterable[str], progress: Progress) -> Report:
        """Write files from below `folder`, flushed to the disk."""
        report = _each(paths, self._writer(folder, progress), "written")
        written = sorted(report.done)
        if not written:
            return report
        try:
            sync_to_disk(self.folder, written)
        except OSError as error:
            trouble = RcloneError(f"{self.folder}: cannot be flushed to disk ({error.strerror})")
            return Report(frozenset(), {**report.errors, **dict.fromkeys(written, trouble)})
        return report

    def fetch(self, paths: Iterable[str], folder: Path, progress: Progress) -> Report:
        """Copy files into `folder`."""
        done = 0

        def fetch(path: str) -> None:
            nonlocal done
            if not self._file(path):
                raise FileNotFoundError(2, "No such file", str(self.folder / path))
            _make_folders((folder / path).parent)
            (folder / path).unlink(missing_ok=True)
            done = _copy(self.folder / path, folder / path, done, progress)

        return _each(paths, fetch, "read")

    def delete(self, paths: Iterable[str]) -> Report:
        """Delete files; a missing one is no error, and not among those that are done."""

        absent = set[str]()

        def delete(path: str) -> None:
            if self._file(path):
                (self.folder / path).unlink()
            else:
                absent.add(path)

        report = _each(paths, delete, "deleted")
        return Report(report.done - absent, report.errors)

    def _writer(self, folder: Path, progress: Progress) -> Callable[[str], None]:
        done = 0

        def write(path: str) -> None:
            nonlocal done
            target = self.folder / path
            _make_folders(target.parent)
            part = target.with_name(f"{target.name}.{secrets.token_hex(4)}.partial")
            try:
                done = _copy(folder / path, part, done, progress)
                let_named_in(part)
                sync(part)
                part.rename(target)
            except BaseException:
                with suppress(OSError):
                    part.unlink()
                raise

        return write

    def _file(self, path: str) -> os.stat_result | None:
        """What is known of a regular file below the folder; None where there is none."""
        if not self.follow_links and self._is_linked(Path(path).parent):
            return None
        try:
            facts = (self.folder / path).stat(follow_symlinks=self.follow_links)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return facts if stat.S_ISREG(facts.st_mode) else None

    def _is_linked(self, folder: Path) -> bool:
        """Whether a folder below this one is reached through a symlink."""
        below = [folder, *folder.parents][:-1]
        return any((self.folder / one).is_symlink() for one in below)

    def _sha256(self, path: str) -> str:
        digest = hashlib.sha256()
        with _opened(self.folder / path, _READ) as descriptor:
            while data := os.read(descriptor, CHUNK_BYTES):
                stop_if_asked()
                digest.update(data)
        return digest.hexdigest()


def _walk(folder: Path, follow_links: bool) -> "Iterator[os.DirEntry[str]]":
    """The regular files below a folder; a circle of links is walked once."""
    left, seen = [str(folder)], set[tuple[int, int]]()
    while left:
        stop_if_asked()
        path = left.pop()
        if follow_links:
            facts = os.stat(path)  # noqa: PTH116
            if (facts.st_dev, facts.st_ino) in seen:
                continue
            seen.add((facts.st_dev, facts.st_ino))
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=follow_links):
                    left.append(entry.path)
                elif entry.is_file(follow_symlinks=follow_links):
                    yield entry


def _each(paths: Iterable[str], work: Callable[[str], None], what: str) -> Report:
    """Do the work on each file; one that fails does not stop the others."""
    done, errors = set(), {}
    for path in paths:
        try:
            work(path)
            done.add(path)
        except OSError as error:
            errors[path] = _failed(error, what, Path(path))
    return Report(frozenset(done), errors)


def _failed(error: OSError, what: str, path: Path) -> RcloneError:
    where = error.filename2 or error.filename or path
    said = error.strerror or str(error)
    return RcloneError(f"{where}: cannot be {what} ({said})", hint=hint(said))


def _make_folders(folder: Path) -> None:
    """Make a folder and those above it, open to this user and those whom a default ACL names."""
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        let_named_in(folder)


def _copy(source: Path, target: Path, done: int, progress: Progress) -> int:
    """Copy a file to a new one; the bytes done, with the `done` ones before."""
    with _opened(source, _READ) as reader, _opened(target, _CREATE) as writer:
        while data := os.read(reader, CHUNK_BYTES):
            stop_if_asked()
            done += len(data)
            view = memoryview(data)
            while view:
                try:
                    view = view[os.write(writer, view) :]
                except OSError as error:
                    error.filename = str(target)
                    raise
            progress(done)
    return done


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
