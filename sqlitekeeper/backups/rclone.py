"""The one place that runs rclone: find it, list, copy, ask what lies at a destination."""

import json
import os
import re
import signal
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from sqlitekeeper.backups.rclone_program import version_of
from sqlitekeeper.errors import KeeperError

DIRECTORY_NOT_FOUND = 3  # https://rclone.org/docs/#exit-code
LAST_WORDS = 4
ENVIRONMENT = {"RCLONE_ASK_PASSWORD": "false"}
# Private whatever the destination: snapshots in a local folder are files like any other.
UMASK = 0o077
STOP_SECONDS = 5.0


class RcloneError(KeeperError):
    """rclone did not do what it was asked; the message holds its own last words."""


@dataclass(frozen=True, slots=True)
class RemoteObject:
    """A file at a destination: path below it, size in bytes, hashes by algorithm."""

    path: str
    bytes: int
    hashes: dict[str, str] = field(default_factory=dict)


def ends_with_slash(to: str) -> str:
    """A destination's root as a folder; rclone then does not ask whether it is a file."""
    return to if to.endswith(("/", ":")) else to + "/"


@dataclass(frozen=True, slots=True)
class Report:
    """What rclone says it did: with which paths it is done, and how it failed if it did."""

    done: frozenset[str]
    error: RcloneError | None


class Rclone:
    """A found rclone program, with the user's own extra arguments."""

    def __init__(
        self,
        program: str,
        extra: Sequence[str] = (),
        say_command: Callable[[list[str]], None] = lambda command: None,
    ) -> None:
        self.program = program
        self.extra = tuple(extra)
        self.say_command = say_command

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
        self, to: str, paths: Iterable[str], *, hashes: bool = False
    ) -> dict[str, RemoteObject]:
        """Which of `paths` a destination holds, asked one by one: no listing is billed.

        With `hashes`, also those that the destination knows, by algorithm.

        Raises:
            RcloneError: the destination could not be asked.
        """
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

        `progress` gets the bytes done so far, about once a second. rclone's
        word is not taken for it: ask with `confirm` what has arrived.
        """
        # Saves the call that makes the bucket; where nothing is yet, it may have to be made.
        options = ["--s3-no-check-bucket"] if bucket_exists else []
        return self._transfer(str(folder), ends_with_slash(to), paths, options, progress)

    def fetch(
        self,
        to: str,
        paths: Iterable[str],
        folder: Path,
        progress: Callable[[int], None] = lambda done: None,
    ) -> Report:
        """Download `paths` of a destination into `folder`; look there for what has arrived."""
        return self._transfer(ends_with_slash(to), str(folder), paths, [], progress)

    def delete(self, to: str, paths: Iterable[str]) -> Report:
        """Delete `paths` of a destination, in one run; on B2 that only hides them."""
        return self._work("delete", paths, [ends_with_slash(to)], "Deleted")

    def _transfer(
        self,
        source: str,
        target: str,
        paths: Iterable[str],
        options: list[str],
        progress: Callable[[int], None],
    ) -> Report:
        arguments = ["--no-check-dest", "--stats", "1s", *options, source, target]
        return self._work("copy", paths, arguments, "Copied", progress)

    def _work(
        self,
        command: str,
        paths: Iterable[str],
        arguments: list[str],
        done_word: str,
        progress: Callable[[int], None] = lambda done: None,
    ) -> Report:
        """Run a command on listed paths; only those that its log names are done if it fails."""
        wanted = frozenset(paths)
        said: set[str] = set()

        def watch(entry: dict[str, Any]) -> None:
            stats = entry.get("stats")
            if isinstance(stats, dict) and isinstance(stats.get("bytes"), int):
                progress(stats["bytes"])
            if done_word in str(entry.get("msg")):
                said.add(str(entry.get("object")))

        general = [self.program, command, *self.extra, "--verbose"]
        try:
            self._run([*general, *arguments], watch, wanted)
        except RcloneError as error:
            return Report(wanted & said, error)
        return Report(wanted, None)

    def _listing(
        self, to: str, *options: str, paths: Iterable[str] | None = None
    ) -> dict[str, RemoteObject]:
        command = [self.program, "lsjson", *self.extra, "--recursive", "--files-only"]
        command += ["--no-modtime", "--no-mimetype", *options, ends_with_slash(to)]
        text = self._run(command, paths=paths)
        try:
            items = json.loads(text)
            if not isinstance(items, list):
                raise TypeError("it is not a list")
            return {
                item["Path"]: RemoteObject(
                    item["Path"], int(item["Size"]), item.get("Hashes") or {}
                )
                for item in items
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RcloneError(
                f"{self.program}: its listing of {to} cannot be read ({error})",
                hint="is it really rclone? `rclone version` should say so",
            ) from None

    def _run(
        self,
        command: list[str],
        watch: Callable[[dict[str, Any]], None] = lambda entry: None,
        paths: Iterable[str] | None = None,
    ) -> str:
        """Run rclone to its end and return its standard output; its log is JSON lines.

        With `paths` it works on those alone.
        """
        command = [*command, "--use-json-log"]
        if paths is not None:
            # --no-traverse makes rclone ask for each file instead of listing folders;
            # "raw" keeps # and ; from being comments.
            command += ["--no-traverse", "--files-from-raw", "-"]
        self.say_command(command)
        words: deque[str] = deque(maxlen=LAST_WORDS)
        # Files without a name: a run that is killed leaves nothing behind.
        with tempfile.TemporaryFile("w+b") as output, tempfile.TemporaryFile("w+b") as names:
            names.writelines(f"{path}\n".encode() for path in sorted(paths or ()))
            names.seek(0)
            try:
                process = subprocess.Popen(
                    command,
                    stdin=names,
                    stdout=output,
                    stderr=subprocess.PIPE,
                    env=os.environ | ENVIRONMENT,
                    umask=UMASK,
                )
            except OSError as error:
                raise RcloneError(f"{self.program}: cannot be run ({error.strerror})") from None
            with _ended(process) as log:
                for line in log:
                    _hear(line.decode(errors="replace").strip(), words, watch)
                status = process.wait()
            if status:
                raise RcloneFailedError(command[1], status, list(words))
            output.seek(0)
            return output.read().decode(errors="replace")


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[IO[bytes]]:
    """The log of a running process, which does not outlive this block."""
    assert process.stderr is not None
    try:
        with process.stderr as log:
            yield log
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


_PLAIN_TIME = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\s+")
_QUIET_LEVELS = frozenset({"debug", "info", "notice", "warning"})


def _hear(line: str, words: deque[str], watch: Callable[[dict[str, Any]], None]) -> None:
    """Take one line of rclone's log: keep complaints, pass the rest on.

    What it says before its log is set up, or as its last word, may be plain
    text or have a mild level; such a line starts with "Failed".
    """
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        plain = _PLAIN_TIME.sub("", line)
        if plain and not plain.startswith("NOTICE: Config file"):
            words.append(plain)
        return
    watch(entry)
    message = str(entry.get("msg", "")).strip()
    if "stats" in entry:
        return
    if entry.get("level") not in _QUIET_LEVELS or message.startswith("Failed"):
        about = entry.get("object")
        words.append(f"{about}: {message}" if about else message)


class RcloneFailedError(RcloneError):
    """rclone ended with a status other than 0."""

    def __init__(self, command: str, status: int, words: list[str]) -> None:
        self.status = status
        said = "; ".join(dict.fromkeys(words)) or "it said nothing"
        cause = f"killed by {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        super().__init__(f"rclone {command} failed ({cause}): {said}", hint=_hint(said))


_HINTS = (
    ("custom CA bundle", "rclone before 1.64 does not start S3 with AWS_CA_BUNDLE set: unset it"),
    ("find section in config", "no such remote: `rclone listremotes` names those that there are"),
    ("unknown flag", "see backup.rclone_args in keeper.toml, and `rclone version`"),
    ("load config file", "rclone cannot read its configuration; `rclone config file` names it"),
    ("no space left", "the destination's disk is full"),
    ("file too big for remaining disk space", "the destination's disk is full"),
    ("permission denied", "this user may not read or write there"),
    ("AccessDenied", "the key lacks a permission on this bucket"),
    ("NoSuchBucket", "create the bucket first, or check its name"),
    ("unable to decrypt config", "set RCLONE_CONFIG_PASS for an encrypted rclone.conf"),
    ("connection refused", "the destination does not answer; is it up?"),
    ("no such host", "the destination's name cannot be resolved"),
)


def _hint(said: str) -> str | None:
    return next((hint for sign, hint in _HINTS if sign.lower() in said.lower()), None)
