"""What keeper asks rclone: list, copy, fetch, delete, and what lies at a destination."""

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlitekeeper.rclone.errors import MAY_PASS, RcloneError, RcloneFailedError, RcloneStalledError
from sqlitekeeper.rclone.listing import RemoteObject, parse_listing
from sqlitekeeper.rclone.local_folder import (
    close_to_others,
    held_by,
    is_local,
    looks,
    private_folders,
    remove_parts,
)
from sqlitekeeper.rclone.log import Log
from sqlitekeeper.rclone.process import StalledError, run_process
from sqlitekeeper.rclone.program import environment, version_of
from sqlitekeeper.rclone.upload_options import is_counted, upload_options
from sqlitekeeper.redaction import as_typed, secrets_in

__all__ = [
    "TIMEOUT_SECONDS",
    "Rclone",
    "RcloneError",
    "RcloneFailedError",
    "RemoteObject",
    "Report",
    "ends_with_slash",
]

DIRECTORY_NOT_FOUND = 3  # https://rclone.org/docs/#exit-code
TIMEOUT_SECONDS = 600.0
ATTEMPTS = 3
# The next upload begins when it is heard that all of this one was sent.
STATS_MILLISECONDS = 250
_ODD_STEPS = re.compile(r"//|(?:^|/)\.\.?(?:/|$)")


def ends_with_slash(to: str) -> str:
    """A destination's root as a folder; rclone then does not ask whether it is a file.

    Raises:
        RcloneError: a remote's path of which rclone would make another one (measured: 1.75).
    """
    _, colon, path = to.rpartition(":")
    if colon and not is_local(to) and _ODD_STEPS.search(path):
        raise RcloneError(f"{to}: the path of a remote must have no ., .. or // in it")
    return to if to.endswith(("/", ":")) else to + "/"


@dataclass(frozen=True, slots=True)
class Report:
    """What rclone says it did: with which paths it is done, and how it failed if it did."""

    done: frozenset[str]
    error: RcloneError | None

    def problem_of(self, path: str) -> str:
        """Why `path` is not done, where there was an error."""
        error = self.error
        if isinstance(error, RcloneFailedError):
            error = error.about(path)
        return error.full_text if error else ""


class Rclone:
    """A found rclone program, with the user's own extra arguments; several threads may use it.

    A command that makes no progress for `timeout_seconds` is ended.
    """

    def __init__(
        self,
        program: str,
        extra: Sequence[str] = (),
        say_command: Callable[[str], None] = lambda command: None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self.program = program
        self.extra = tuple(extra)
        self.say_command = say_command
        self.timeout_seconds = timeout_seconds
        self._calls: list[str] = []
        self._uncounted: list[str] = []
        self._on_s3: set[str] = set()

    @property
    def calls(self) -> dict[str, int]:
        """The calls of providers' APIs so far, by kind; none where there is no HTTP."""
        return dict(Counter(self._calls))

    @property
    def uncounted_uploads(self) -> int:
        """How many files were uploaded whose calls are not among `calls`."""
        return len(self._uncounted)

    def version(self) -> str:
        """rclone's version, such as "v1.75.2".

        Raises:
            RcloneError: the program is not rclone, or does not run.
        """
        return version_of(self.program, self._ask_version)

    def _ask_version(self) -> str:
        words = self._run([self.program, "version"]).split()
        if len(words) < 2 or words[0] != "rclone":
            raise RcloneError(
                f"{self.program}: does not look like rclone: it answered {' '.join(words[:4])!r}",
                hint="point `rclone` in keeper.toml, or $KEEPER_RCLONE, at the real program",
            )
        return words[1]

    def remotes(self) -> frozenset[str]:
        """The names of the configured remotes, those of the environment among them.

        Raises:
            RcloneError: rclone cannot read its configuration.
        """
        text = self._run([self.program, "listremotes", *self.extra])
        return frozenset(line.removesuffix(":") for line in text.splitlines() if line)

    def list_objects(self, to: str) -> dict[str, RemoteObject] | None:
        """Everything below a destination, in one listing; None where it does not exist yet.

        Raises:
            RcloneError: the destination could not be listed.
        """
        try:
            return self._listing(to)
        except RcloneFailedError as error:
            if error.status == DIRECTORY_NOT_FOUND:
                return None
            raise

    def confirm(
        self, to: str, paths: Collection[str], *, hashes: bool = False
    ) -> dict[str, RemoteObject]:
        """Which of `paths` a destination holds, asked one by one: no listing is billed.

        With `hashes`, also those that the destination knows, by algorithm; a local
        folder is read for them.

        Raises:
            RcloneError: the destination could not be asked.
        """
        if is_local(to):
            return held_by(Path(to), paths, hashes=hashes)
        return self._listing(to, *(["--hash"] if hashes else []), paths=paths)

    def copy(
        self,
        folder: Path,
        to: str,
        paths: Iterable[str],
        *,
        bucket_exists: bool,
        progress: Callable[[int], None] = lambda done: None,
    ) -> Report:
        """Upload `paths` below `folder`, without looking at what is there.

        `progress` gets the bytes done so far, a few times a second. rclone's
        word is not taken for it: ask with `confirm` what has arrived.
        """
        wanted = frozenset(paths)
        sizes = [facts[1] for facts in looks(folder, wanted).values()]
        options = upload_options(to, sizes, bucket_exists=bucket_exists, is_s3=to in self._on_s3)
        arguments = ["--no-check-dest", str(folder), ends_with_slash(to)]
        before = looks(Path(to), wanted) if is_local(to) else {}
        counted = is_counted(to, sizes)
        if not counted:
            self._uncounted.extend(wanted)
        with private_folders(Path(to), wanted) if is_local(to) else nullcontext():
            report = self._work(
                "copy", wanted, arguments, to, "Copied", progress, defaults=options, counted=counted
            )
        if is_local(to):
            close_to_others(Path(to), report.done)
            if report.error:
                remove_parts(folder, Path(to), before, wanted - report.done)
        return report

    def fetch(
        self,
        to: str,
        paths: Iterable[str],
        folder: Path,
        progress: Callable[[int], None] = lambda done: None,
    ) -> Report:
        """Download `paths` of a destination into `folder`; look there for what has arrived."""
        arguments = ["--no-check-dest", ends_with_slash(to), str(folder)]
        return self._work("copy", paths, arguments, to, "Copied", progress)

    def delete(self, to: str, paths: Iterable[str]) -> Report:
        """Delete `paths` of a destination; on B2 that only hides them.

        Only what rclone names as deleted is done.
        """
        return self._work("delete", paths, [ends_with_slash(to)], to, "Deleted")

    def work_on_folder(
        self,
        command: str,
        arguments: Sequence[str],
        left_out: Sequence[str],
        where: str,
        watch: Callable[[dict[str, Any]], None] = lambda entry: None,
    ) -> str:
        """Run a command on a whole folder but for what `left_out`, lines of --exclude-from, name.

        `watch` gets each entry of its log; returned is its standard output.

        Raises:
            RcloneError: the command failed, wholly or in part; the message names `where`.
        """
        general = [self.program, command, *self.extra, "--verbose", *arguments]
        return self._run(general, where, watch, left_out=left_out)

    def _work(
        self,
        command: str,
        paths: Iterable[str],
        arguments: list[str],
        where: str,
        done_word: str,
        progress: Callable[[int], None] = lambda done: None,
        *,
        defaults: Sequence[str] = (),
        counted: bool = True,
    ) -> Report:
        """Run a command on listed paths, and again on those that its log does not name.

        Of the flags, `defaults` come before the user's own, which win.

        rclone's own retries would begin with the first path again: with
        --no-check-dest, files that had arrived were uploaded three times
        (measured: 1.60 and 1.75).
        """
        wanted, said = frozenset(paths), set[str]()
        most = 0

        def watch(entry: dict[str, Any]) -> None:
            nonlocal most
            stats = entry.get("stats")
            if isinstance(stats, dict) and isinstance(stats.get("bytes"), int):
                most = max(most, stats["bytes"])
                progress(most)
            if done_word in str(entry.get("msg")):
                said.add(str(entry.get("object")))

        general = [self.program, command, *defaults, *self.extra, "--verbose"]
        for attempts_left in reversed(range(self._attempts())):
            try:
                rest = wanted - said
                self._run([*general, *arguments], where, watch, rest, counted=counted)
            except RcloneError as error:
                passing = isinstance(error, RcloneFailedError) and error.status in MAY_PASS
                if attempts_left and passing and not wanted <= said:
                    continue
                return Report(wanted & said, error)
            break
        return Report(wanted & said if command == "delete" else wanted, None)

    def _attempts(self) -> int:
        """How often a command is begun; once where the user lets rclone count."""
        theirs = any(word.split("=")[0] == "--retries" for word in self.extra)
        return 1 if theirs or "RCLONE_RETRIES" in os.environ else ATTEMPTS

    def _listing(
        self, to: str, *options: str, paths: Collection[str] | None = None
    ) -> dict[str, RemoteObject]:
        command = [self.program, "lsjson", *self.extra, "--recursive", "--files-only"]
        command += ["--no-modtime", "--no-mimetype", *options, ends_with_slash(to)]
        text = self._run(command, to, paths=paths)
        try:
            return parse_listing(text)
        except ValueError as error:
            raise RcloneError(
                f"{self.program}: its listing of {to} cannot be read ({error})",
                hint="is it really rclone? `rclone version` should say so",
            ) from None

    def _run(
        self,
        command: list[str],
        where: str = "",
        watch: Callable[[dict[str, Any]], None] = lambda entry: None,
        paths: Collection[str] | None = None,
        left_out: Sequence[str] = (),
        *,
        counted: bool = True,
    ) -> str:
        """Run rclone to its end and return its standard output.

        With `paths` it works on those alone, with `left_out` on what none of
        these lines of --exclude-from names. Its log is JSON lines, some of them
        each second whatever it does: see rclone_process.

        Raises:
            RcloneError: it did not end with status 0; the message names `where`.
        """
        command = [*command, "--use-json-log", "--stats-log-level", "NOTICE"]
        command += ["--stats", f"{STATS_MILLISECONDS}ms"]
        if paths is not None:
            # --no-traverse makes rclone ask for each file instead of listing folders;
            # "raw" keeps # and ; from being comments.
            command += ["--no-traverse", "--files-from-raw", "-"]
        elif left_out:
            command += ["--exclude-from", "-"]
        self.say_command(as_typed(command, left_out or paths))
        if where and counted:
            # Makes rclone name each call of the provider's API in its log.
            command += ["--dump", "headers"]
        log = Log(watch, frozenset(paths or ()), secrets_in(self.extra))
        try:
            status, output = run_process(
                command,
                names=left_out if paths is None else paths,
                environment=environment(self.timeout_seconds),
                timeout_seconds=self.timeout_seconds,
                log=log,
            )
        except StalledError:
            raise RcloneStalledError(command[1], where, self.timeout_seconds, log.words) from None
        finally:
            # Each is one step, as several threads may be here.
            self._calls.extend(log.calls)
            if log.speaks_s3:
                self._on_s3.add(where)
        if status:
            raise RcloneFailedError(command[1], where, status, log.words, log.words_about)
        return output
