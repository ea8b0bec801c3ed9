"""A destination that is one of rclone's remotes, reached by the rclone of the run."""

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from sqlitekeeper.errors import KeeperError
from sqlitekeeper.rclone.daemon import Stats
from sqlitekeeper.rclone.errors import NOT_FOUND, RcloneError, RcloneFailedError, RcloneStalledError
from sqlitekeeper.rclone.listing import RemoteObject, remote_objects
from sqlitekeeper.rclone.program import UserFlags
from sqlitekeeper.rclone.remote_name import as_folder
from sqlitekeeper.rclone.report import Report
from sqlitekeeper.workers import result_of, worker_pool

ATTEMPTS = 3
# rclone's own defaults of --transfers and --checkers.
TRANSFERS = 4
CHECKERS = 8
# Larger files go to S3 in parts: https://rclone.org/s3/#s3-upload-cutoff
PARTS_BYTES = 200 * 2**20
# What S3 lists in one call.
PAGE_OBJECTS = 1000
LARGE = "large upload"
_LIST = {"noModTime": True, "noMimeType": True, "filesOnly": True}
_groups = count()

Progress = Callable[[int], None]
# Shows what is asked of rclone: a command, and the paths that it is about.
Say = Callable[[Sequence[str], Collection[str] | None], None]


class Ask(Protocol):
    """What asks rclone: see `Daemon.ask`."""

    def __call__(  # noqa: D102
        self,
        path: str,
        parameters: dict[str, Any],
        command: str,
        where: str,
        watch: Callable[[Stats], None] = ...,
        of: str | None = ...,
    ) -> Any: ...


class Remote:
    """One remote, or a folder of one.

    `calls` counts the calls of S3's API that keeper's questions take; those of other
    remotes are not known. `types` are those of the remotes that rclone was asked for.
    """

    def __init__(
        self,
        to: str,
        ask: Ask,
        say: Say,
        flags: UserFlags,
        calls: Counter[str],
        types: dict[str, str],
    ) -> None:
        self.to = to
        self._root = as_folder(to)
        self._ask = ask
        self._say = say
        self._flags = flags
        self._calls = calls
        self._types = types

    def list_objects(self) -> dict[str, RemoteObject] | None:
        """Everything below it, in one listing; None where it does not exist yet.

        Raises:
            RcloneError: it could not be listed.
        """
        self._say(["lsjson", "--recursive", "--files-only", "--no-modtime", self._root], None)
        asked = {"fs": self._root, "remote": "", "opt": {**_LIST, "recurse": True}}
        if self._type() == "sftp":
            asked["_config"] = {"Checkers": self._checks_at_once()}
        try:
            answer = self._ask("operations/list", asked, "lsjson", self.to)
        except RcloneFailedError as error:
            if error.status == NOT_FOUND:
                self._count(LIST=1)
                return None
            raise
        found = self._objects(lambda: answer["list"])
        self._count(LIST=max(1, -(-len(found) // PAGE_OBJECTS)))
        return found

    def confirm(self, paths: Collection[str], *, hashes: bool) -> dict[str, RemoteObject]:
        """Those of the files that are there; with `hashes`, also those that it knows.

        Raises:
            RcloneError: it could not be asked.
        """
        self._say(["lsjson", *(["--hash"] if hashes else []), self._root], paths)
        options = {**_LIST, "showHash": hashes}
        found: dict[str, RemoteObject] = {}

        def stat(path: str) -> None:
            self._count(HEAD=1)
            asked = {"fs": self._root, "remote": path, "opt": options}
            answer = self._ask("operations/stat", asked, "lsjson", self.to)
            # One and the same way for all: a path that rclone encodes comes back as it was asked.
            items = self._objects(lambda: [answer["item"]] if answer["item"] is not None else [])
            found.update(items)

        report = self._each(paths, stat, self._checks_at_once())
        if report.error:
            raise report.error
        return found

    def copy(self, folder: Path, paths: Iterable[str], progress: Progress) -> Report:
        """Upload files below `folder`, without looking at what is there."""
        sizes = {path: _size(folder / path) for path in paths}
        large = sum(size > PARTS_BYTES for size in sizes.values())
        self._count(**{"PUT": len(sizes) - large, LARGE: large})
        return self._copy(str(folder), self.to, sizes, progress)

    def fetch(self, paths: Iterable[str], folder: Path, progress: Progress) -> Report:
        """Download files into `folder`."""
        sizes = dict.fromkeys(paths, 0)
        self._count(HEAD=len(sizes), GET=len(sizes))
        return self._copy(self.to, str(folder), sizes, progress)

    def delete(self, paths: Iterable[str]) -> Report:
        """Delete files; a missing one is no error, and not among those that are done."""
        wanted, gone = list(paths), set[str]()
        if not wanted:
            return Report(frozenset())
        self._say(["delete", self._root], wanted)

        def delete(path: str) -> None:
            self._count(HEAD=1, DELETE=1)
            asked = {"fs": self._root, "remote": path}
            try:
                self._ask("operations/deletefile", asked, "delete", self.to)
            except RcloneFailedError as error:
                if error.status != NOT_FOUND:
                    raise
                gone.add(path)

        report = self._each(wanted, delete, self._flags.number("transfers", TRANSFERS))
        return Report(report.done - gone, report.errors)

    def _copy(self, source: str, target: str, sizes: dict[str, int], progress: Progress) -> Report:
        """Copy files, of these sizes where they are known."""
        source, target = as_folder(source), as_folder(target)
        self._say(["copy", "--no-check-dest", source, target], sizes)
        group = f"keeper/{next(_groups)}"
        done, most = 0, -1

        def report(bytes_done: int) -> None:
            nonlocal most
            if bytes_done > most:
                most = bytes_done
                progress(most)

        def watch(stats: Stats) -> None:
            if isinstance(moved := stats.get("bytes"), int):
                report(moved)

        def copy(path: str) -> None:
            nonlocal done
            asked: dict[str, Any] = {"srcFs": source, "srcRemote": path, "_group": group}
            asked |= {"dstFs": target, "dstRemote": path, "_config": self._options(sizes[path])}
            of = path if self._is_one_stream(sizes[path]) else None
            self._ask("operations/copyfile", asked, "copy", self.to, watch, of)
            done += sizes[path]
            report(done)

        return self._each(sizes, copy, self._flags.number("transfers", TRANSFERS))

    def _checks_at_once(self) -> int:
        """How many files are asked for at once; by SFTP each that is more is a login more."""
        checkers = self._flags.number("checkers", CHECKERS)
        transfers = self._flags.number("transfers", TRANSFERS)
        return min(checkers, transfers) if self._type() == "sftp" else checkers

    def _is_one_stream(self, size: int) -> bool:
        """Whether rclone counts the bytes of a file of this size as they go.

        It counts a part when it has read it into its memory, and no bytes while it computes a hash.
        """
        remote = self._type()
        is_whole = not self._flags.is_given(f"{remote}-upload-cutoff")
        return remote in ("s3", "b2", "sftp") and size <= PARTS_BYTES and is_whole

    def _options(self, size: int) -> dict[str, Any]:
        """How to copy a file of this size.

        Where it goes to S3 in parts, S3 checks each; rclone would read the file once more to
        compare the MD5 of all of it. What newer versions do above --multi-thread-cutoff takes a
        quarter longer and one call more (measured: 1.75); 1.60 does it for downloads only.
        """
        options: dict[str, Any] = {"NoCheckDest": True}
        if size > PARTS_BYTES and self._type() == "s3":
            if not self._flags.is_given("ignore-checksum"):
                options["IgnoreChecksum"] = True
            if not self._flags.is_given("multi-thread-streams"):
                options["MultiThreadStreams"] = 0
        return options

    def _count(self, **calls: int) -> None:
        if self._type() == "s3":
            self._calls.update({kind: number for kind, number in calls.items() if number})

    def _type(self) -> str:
        """The type of the remote, such as "s3"; "" where it cannot be said."""
        name, *_ = re.split("[:,]", self.to.removeprefix(":"), maxsplit=1)
        if self.to.startswith(":"):
            return str(name)
        variable = f"RCLONE_CONFIG_{name.upper().replace('-', '_')}_TYPE"
        if variable in os.environ:
            return os.environ[variable]
        if name not in self._types:
            try:
                found = self._ask("config/get", {"name": name}, "config", self.to)
                self._types[name] = str(found["type"])
            except (RcloneError, KeyError, TypeError) as error:
                if isinstance(error, RcloneStalledError):
                    raise
                self._types[name] = ""
        return self._types[name]

    def _each(self, paths: Iterable[str], work: Callable[[str], None], at_once: int) -> Report:
        """Do the work on each file, `at_once` of them at once; one that fails stops no other.

        What rclone does not do in time, or does not survive, ends it for all.
        """
        wanted = list(dict.fromkeys(paths))
        if not wanted:
            return Report(frozenset())
        done, errors = set[str](), dict[str, KeeperError]()
        ends_all: list[KeeperError] = []

        def attempt(path: str) -> None:
            if ends_all:
                errors[path] = ends_all[0]
                return
            try:
                self._try(work, path)
                done.add(path)
            except RcloneFailedError as error:
                errors[path] = error.about(path)
                if not error.is_answer:
                    ends_all.append(errors[path])
            except KeeperError as error:
                errors[path] = error
                ends_all.append(error)

        with worker_pool(max(1, min(at_once, len(wanted)))) as workers:
            for future in [workers.submit(attempt, path) for path in wanted]:
                result_of(future)
        return Report(frozenset(done), errors)

    def _try(self, work: Callable[[str], None], path: str) -> None:
        """Do the work on a file, again where that may help.

        Raises:
            KeeperError: it failed each time.
        """
        failed: RcloneFailedError | None = None
        for left in reversed(range(self._flags.number("retries", ATTEMPTS))):
            try:
                work(path)
            except RcloneFailedError as error:
                # Who refuses at once may close the connection before that is heard.
                failed = error if failed is None or failed.is_broken else failed
                if not (left and error.may_pass):
                    raise failed from None
            else:
                return

    def _objects(self, items: Callable[[], Any]) -> dict[str, RemoteObject]:
        try:
            return remote_objects(items())
        except (ValueError, KeyError, TypeError) as error:
            raise RcloneError(
                f"rclone's listing of {self.to} cannot be read ({error!r:.200})",
                hint="is it really rclone? `rclone version` should say so",
            ) from None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
