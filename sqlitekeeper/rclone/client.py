"""What keeper asks of destinations: list, copy, fetch, delete, and what lies there.

Remotes are reached by one rclone for the whole run, started when it is first
needed; a folder of this host needs none.
"""

import re
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from sqlitekeeper.rclone.daemon import Daemon, RunDaemon, Stats
from sqlitekeeper.rclone.errors import RcloneError, RcloneFailedError, RcloneStalledError
from sqlitekeeper.rclone.listing import RemoteObject
from sqlitekeeper.rclone.local_folder import LocalFolder
from sqlitekeeper.rclone.log import Log
from sqlitekeeper.rclone.process import StalledError, run_process
from sqlitekeeper.rclone.program import UserFlags, environment, version_of
from sqlitekeeper.rclone.remote import ATTEMPTS, LARGE, Progress, Remote
from sqlitekeeper.rclone.remote_name import as_folder, is_local
from sqlitekeeper.rclone.report import Report
from sqlitekeeper.redaction import as_typed, secrets_in
from sqlitekeeper.workers import result_of, worker_pool

__all__ = [
    "ATTEMPTS",
    "TIMEOUT_SECONDS",
    "Rclone",
    "RcloneError",
    "RcloneFailedError",
    "RemoteObject",
    "Report",
    "as_folder",
]

TIMEOUT_SECONDS = 600.0
VERSION_SECONDS = 30.0
FIRST_WITH_UNIX_SOCKETS = (1, 61)
# rclone would look at each object after its upload; keeper asks for it. It would read a file that
# goes to S3 in parts twice, to have S3 keep its MD5 as a remark; what S3 checks is the MD5 of
# each part, which goes along all the same (seen: 1.60 and 1.75).
DAEMON_OPTIONS = ("--s3-no-head", "--s3-disable-checksum")
_FOLDER_STATS = ("--stats-log-level", "NOTICE", "--stats", "250ms")


class Store(Protocol):
    """What reaches one destination: see the methods of `Rclone` that have these names."""

    def list_objects(self) -> dict[str, RemoteObject] | None: ...
    def confirm(self, paths: Collection[str], *, hashes: bool) -> dict[str, RemoteObject]: ...
    def copy(self, folder: Path, paths: Iterable[str], progress: Progress) -> Report: ...
    def fetch(self, paths: Iterable[str], folder: Path, progress: Progress) -> Report: ...
    def delete(self, paths: Iterable[str]) -> Report: ...


class Rclone:
    """A found rclone program, with the user's own extra arguments; several threads may use it.

    `program` may be a function that finds it when it is first needed. What makes no
    progress for `timeout_seconds` is given up.
    """

    def __init__(
        self,
        program: str | Callable[[], str],
        extra: Sequence[str] = (),
        say_command: Callable[[str], None] = lambda command: None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._program = program
        self.extra = tuple(extra)
        self.say_command = say_command
        self.timeout_seconds = timeout_seconds
        self._flags = UserFlags(self.extra)
        self._calls = Counter[str]()
        self._types: dict[str, str] = {}
        self._listings: dict[str, Future[dict[str, RemoteObject] | None]] = {}
        self._version_lock = threading.Lock()
        self._daemon = RunDaemon()
        self.close = weakref.finalize(self, self._daemon.end)
        """Ends rclone, and what it is doing; at the latest this is done when Python ends."""

    @property
    def program(self) -> str:
        """The path of the program.

        Raises:
            KeeperError: there is none.
        """
        if not isinstance(self._program, str):
            self._program = self._program()
        return self._program

    @property
    def calls(self) -> dict[str, int]:
        """What remotes were asked for so far, by kind."""
        return {kind: number for kind, number in self._calls.items() if kind != LARGE}

    @property
    def uncounted_uploads(self) -> int:
        """How many of the uploads were so large that they may have been many calls each."""
        return self._calls[LARGE]

    def version(self) -> str:
        """rclone's version, such as "v1.75.2".

        Raises:
            KeeperError: there is no rclone.
            RcloneError: the program is not rclone, or does not run.
        """
        with self._version_lock:
            return version_of(self.program, self._ask_version)

    def _ask_version(self) -> str:
        # The setting is about destinations, and this asks none; a busy host is slow to start it.
        seconds = max(self.timeout_seconds, VERSION_SECONDS)
        words = self._run([self.program, "version"], timeout_seconds=seconds).split()
        if len(words) < 2 or words[0] != "rclone":
            raise RcloneError(
                f"{self.program}: does not look like rclone: it answered {' '.join(words[:4])!r}",
                hint="point `rclone` in keeper.toml, or $KEEPER_RCLONE, at the real program",
            )
        return words[1]

    def remotes(self) -> frozenset[str]:
        """The names of the configured remotes; those of the environment may be among them.

        Raises:
            RcloneError: rclone cannot read its configuration.
        """
        self._say(["listremotes"])
        return frozenset(self._ask("config/listremotes", {}, "listremotes", "")["remotes"] or ())

    @contextmanager
    def listing_ahead(self, destinations: Collection[str]) -> Iterator[None]:
        """Begin to list remotes, which starts rclone; `list_objects` waits for it, the first time.

        Nothing of it goes on when this block has ended.
        """
        remotes = [to for to in destinations if not is_local(to)]
        with worker_pool(max(1, len(remotes))) as listers:
            for to in remotes:
                self._listings[to] = listers.submit(self._reach(to).list_objects)
            yield

    def list_objects(self, to: str) -> dict[str, RemoteObject] | None:
        """Everything below a destination, in one listing; None where it does not exist yet.

        Raises:
            RcloneError: the destination could not be listed.
        """
        begun = self._listings.pop(to, None)
        return result_of(begun) if begun else self._reach(to).list_objects()

    def confirm(
        self, to: str, paths: Collection[str], *, hashes: bool = False
    ) -> dict[str, RemoteObject]:
        """Which of `paths` a destination holds, asked one by one: no listing is billed.

        With `hashes`, also those that the destination knows, by algorithm; a local
        folder is read for them.

        Raises:
            RcloneError: the destination could not be asked.
        """
        return self._reach(to).confirm(paths, hashes=hashes)

    def copy(
        self, folder: Path, to: str, paths: Iterable[str], progress: Progress = lambda done: None
    ) -> Report:
        """Upload `paths` below `folder`, without looking at what is there.

        `progress` gets the bytes done so far, a few times a second. No word is taken
        for it: ask with `confirm` what has arrived.
        """
        if self._flags.is_set("dry-run"):
            return Report(frozenset())
        return self._reach(to).copy(folder, paths, progress)

    def fetch(
        self, to: str, paths: Iterable[str], folder: Path, progress: Progress = lambda done: None
    ) -> Report:
        """Download `paths` of a destination into `folder`; look there for what has arrived."""
        return self._reach(to).fetch(paths, folder, progress)

    def delete(self, to: str, paths: Iterable[str]) -> Report:
        """Delete `paths` of a destination; on B2 that only hides them.

        A missing object is no error, and not among those that are done.
        """
        if self._flags.is_set("dry-run"):
            return Report(frozenset())
        return self._reach(to).delete(paths)

    def work_on_folder(
        self,
        command: str,
        arguments: Sequence[str],
        left_out: Sequence[str],
        where: str,
        watch: Callable[[dict[str, Any]], None] = lambda entry: None,
    ) -> str:
        """Run a command on a whole folder but for what `left_out`, lines of --exclude-from, name.

        It is an rclone of its own: what a sync has done is told by its log alone. `watch`
        gets each entry of it; returned is its standard output.

        Raises:
            RcloneError: the command failed, wholly or in part; the message names `where`.
        """
        words = [self.program, command, *self.extra, "--verbose", *arguments]
        words += [*(["--exclude-from", "-"] if left_out else []), "--use-json-log", *_FOLDER_STATS]
        self.say_command(as_typed(words, left_out or None))
        return self._run(words, where, watch, left_out)

    def _reach(self, to: str) -> Store:
        """What reaches a destination."""
        if is_local(to):
            return LocalFolder(to, follow_links=self._flags.is_set("copy-links"))
        return Remote(to, self._ask, self._say, self._flags, self._calls, self._types)

    def _say(self, words: Sequence[str], paths: Collection[str] | None = None) -> None:
        """Show what is asked of rclone as one could type it."""
        listed = [] if paths is None else ["--no-traverse", "--files-from-raw", "-"]
        command = [self.program, words[0], *self.extra, *words[1:], *listed]
        self.say_command(as_typed(command, paths))

    def _ask(
        self,
        path: str,
        parameters: Mapping[str, Any],
        command: str,
        where: str,
        watch: Callable[[Stats], None] = lambda stats: None,
        of: str | None = None,
    ) -> Any:
        """Ask the rclone of this run; it ends with this object at the latest."""
        daemon = self._daemon.running(self._start)
        return daemon.ask(path, parameters, command=command, where=where, watch=watch, of=of)

    def _start(self) -> Daemon:
        numbers = [int(one) for one in re.findall(r"\d+", self.version())[:2]]
        options = [one for one in DAEMON_OPTIONS if not self._flags.is_given(one[2:])]
        return Daemon(
            self.program,
            [*options, *(word for word in self.extra if word != "--rc")],
            environment(self.timeout_seconds),
            unix=tuple(numbers) >= FIRST_WITH_UNIX_SOCKETS,
            timeout_seconds=self.timeout_seconds,
            secret_values=secrets_in(self.extra),
        )

    def _run(
        self,
        command: list[str],
        where: str = "",
        watch: Callable[[dict[str, Any]], None] = lambda entry: None,
        lines: Sequence[str] = (),
        timeout_seconds: float | None = None,
    ) -> str:
        """Run an rclone of its own to its end, with `lines` to read; its standard output.

        Raises:
            RcloneError: it did not end with status 0; the message names `where`.
        """
        log = Log(watch, secrets_in(self.extra))
        seconds = timeout_seconds or self.timeout_seconds
        try:
            status, output = run_process(
                command,
                names=lines,
                environment=environment(self.timeout_seconds),
                timeout_seconds=seconds,
                log=log,
            )
        except StalledError:
            raise RcloneStalledError(command[1], where, seconds, log.words) from None
        if status:
            raise RcloneFailedError(command[1], where, status, log.words)
        return output
