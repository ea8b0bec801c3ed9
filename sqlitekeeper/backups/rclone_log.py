"""What rclone says: its log lines, its last words without their secrets, and what they mean."""

import json
import re
import signal
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from sqlitekeeper.backups.calls import call_of
from sqlitekeeper.errors import KeeperError
from sqlitekeeper.redaction import scrubbed, without_secrets

LAST_WORDS = 4
LONGEST_WORD = 500
# More than a batch of uploads has.
MOST_OBJECTS = 1000
LONGEST_LINE = 2**20
# https://rclone.org/docs/#exit-code: 1 is uncategorised, 5 temporary; the others say "never".
MAY_PASS = frozenset({1, 5})

_DEBUG = re.compile(rb'"level": ?"debug"')
_CHATTER = ("NOTICE: Config file", "NOTICE: Automatically setting -vv")
_PLAIN_TIME = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\s+")
_QUIET_LEVELS = frozenset({"debug", "info", "notice", "warning"})
# Its count of its own attempts, of which keeper lets it make one, repeats what failed.
_ATTEMPT = re.compile(r"Attempt \d+/\d+ failed with ")
# While it is being written: https://rclone.org/docs/#partial-suffix
_PARTIAL = re.compile(r"\.[0-9a-f]+\.partial$")
_NO_REQUEST = re.compile(r"RequestID: , HostID: , |, request id: , host id:")
# What grows while rclone gets on. Its "errors" and times grow while it does not, too.
_FIGURES = ("bytes", "checks", "transfers", "deletes", "deletedDirs", "renames", "listed")


class RcloneError(KeeperError):
    """rclone did not do what it was asked; the message holds its own last words."""


class RcloneFailedError(RcloneError):
    """rclone ended with a status other than 0; negative is the signal that killed it.

    `words` are its last ones, `words_about` has those about a single object.
    """

    def __init__(
        self,
        command: str,
        where: str,
        status: int,
        words: Sequence[str],
        words_about: Callable[[str], list[str]] = lambda path: [],
    ) -> None:
        self.status = status
        self._run = command, where, status
        self._words_about = words_about
        said = "; ".join(words) or "it said nothing"
        cause = f"killed by {_signal_name(-status)}" if status < 0 else f"status {status}"
        super().__init__(f"rclone {command} failed{_at(where)} ({cause}): {said}", hint=hint(said))

    def about(self, path: str) -> "RcloneFailedError":
        """The same failure as it concerns one object, where rclone has said something of it."""
        words = self._words_about(path)
        return RcloneFailedError(*self._run, words) if words else self


class RcloneStalledError(RcloneError):
    """rclone was ended, because nothing had moved for too long."""

    def __init__(self, command: str, where: str, seconds: float, words: Sequence[str]) -> None:
        said = "; ".join(["", *words])
        super().__init__(
            f"rclone {command}{_at(where)} made no progress for {seconds:g} s and was ended{said}",
            hint="does the destination answer? how long to wait is backup.timeout in keeper.toml",
        )


def _at(where: str) -> str:
    return f" at {without_secrets(where)}" if where else ""


def _signal_name(number: int) -> str:
    """Also of the real-time signals, most of which Python has no name for."""
    try:
        return signal.Signals(number).name
    except ValueError:
        first = getattr(signal, "SIGRTMIN", number + 1)
        return f"SIGRTMIN+{number - first}" if number > first else f"signal {number}"


class Log:
    """rclone's log as it comes: JSON lines are passed on, complaints are kept as `words`.

    Those about each of `objects` are kept by themselves as well; `secrets` are never
    shown. `progress` only ever grows, by what rclone says it has done; `calls` are
    those of the provider's API, by kind, one by one; `speaks_s3` is whether any of
    them was one of S3's, whoever the provider is.
    """

    def __init__(
        self,
        watch: Callable[[dict[str, Any]], None] = lambda entry: None,
        objects: Collection[str] = (),
        secrets: Collection[str] = (),
    ) -> None:
        self.progress = 0
        self.bytes = 0
        self.calls: list[str] = []
        self.speaks_s3 = False
        self._words = _last_words()
        self._by_object: defaultdict[str, deque[str]] = defaultdict(_last_words)
        self._watch = watch
        self._objects = objects
        self._secrets = secrets
        self._rest = b""
        self._skipping = False

    @property
    def words(self) -> list[str]:
        """The last complaints, each once, fit to be shown to anyone."""
        return self._presentable(self._words)

    def words_about(self, path: str) -> list[str]:
        """The last complaints about one of the objects: why it failed, and what came of that."""
        return self._presentable(self._by_object.get(path, ()))

    def _presentable(self, words: Iterable[str]) -> list[str]:
        shown: list[str] = []
        for word in words:
            # The secrets first: half of one would not be found.
            text = without_secrets(scrubbed(word, self._secrets))
            text = _NO_REQUEST.sub("", text)[:LONGEST_WORD]
            what = text.removeprefix(text.split(": ")[0] + ": ")
            if not any(what in other for other in shown):
                shown.append(text)
        return shown

    def take(self, data: bytes) -> None:
        """Take some bytes; a line that never ends does not fill the memory."""
        self.bytes += len(data)
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            if not self._skipping:
                self._hear(line)
            self._skipping = False
        self._rest = rest
        if len(rest) > LONGEST_LINE:
            if not self._skipping:
                self._hear(rest[:LONGEST_LINE])
            self._rest, self._skipping = b"", True

    def end(self) -> None:
        """Take what came last, with or without the end of its line."""
        self.take(b"\n")

    def _hear(self, text: bytes) -> None:
        """Take one line.

        What rclone says before its log is set up, or as its last word, may be
        plain text or have a mild level; such a line starts with "Failed".
        """
        if _DEBUG.search(text[:LONGEST_WORD]) and b" HTTP/" not in text:
            # There are many of them, and no one else needs them.
            return
        line = _printable(text.decode(errors="replace"))
        try:
            entry = json.loads(text.decode(errors="replace"))
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            plain = _PLAIN_TIME.sub("", line)
            if plain and not plain.startswith(_CHATTER):
                self._words.append(plain)
            return
        if entry.get("level") == "debug":
            if call := call_of(str(entry.get("msg", ""))):
                self.calls.append(call)
                # Each request is signed over its time.
                self.speaks_s3 |= b"X-Amz-Date" in text
            return
        stats = entry.get("stats")
        if isinstance(stats, dict):
            numbers = (stats.get(figure) for figure in _FIGURES)
            done = sum(number for number in numbers if isinstance(number, int))
            self.progress = max(self.progress, done)
        self._watch(entry)
        message = _printable(str(entry.get("msg", "")))
        if "stats" in entry:
            return
        if _ATTEMPT.match(message):
            return
        if entry.get("level") not in _QUIET_LEVELS or message.startswith("Failed"):
            about = entry.get("object")
            word = f"{_printable(str(about))}: {message}" if about else message
            self._words.append(word)
            path = _PARTIAL.sub("", str(about or ""))
            if path in self._objects and (
                path in self._by_object or len(self._by_object) < MOST_OBJECTS
            ):
                self._by_object[path].append(word)


def _last_words() -> deque[str]:
    return deque(maxlen=LAST_WORDS)


def _printable(text: str) -> str:
    """On one line, and without what a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in text[: 2 * LONGEST_WORD]).strip()


_BROKEN = "the connection broke; is there a proxy or a firewall in between?"
_HINTS = (
    ("custom CA bundle", "rclone before 1.64 does not start S3 with AWS_CA_BUNDLE set: unset it"),
    ("find section in config", "no such remote: `rclone listremotes` names those that there are"),
    ("unknown flag", "see backup.rclone_args in keeper.toml, and `rclone version`"),
    ("unknown shorthand flag", "see backup.rclone_args in keeper.toml, and `rclone version`"),
    ("unable to decrypt config", "set RCLONE_CONFIG_PASS for an encrypted rclone.conf"),
    ("load config file", "rclone cannot read its configuration; `rclone config file` names it"),
    ("no space left", "the destination's disk is full"),
    ("disk quota exceeded", "the destination's disk is full, for this user"),
    ("file too big for remaining disk space", "the destination's disk is full"),
    ("TimeTooSkewed", "this host's clock is wrong: set it, and keep it right with NTP"),
    ("permission denied", "this user may not read or write there"),
    ("AccessDenied", "the key lacks a permission on this bucket"),
    ("401 unauthorized", "the key is wrong, or lacks a capability on this bucket"),  # B2
    ("SignatureDoesNotMatch", "the secret key is wrong, or it is not this bucket's"),
    ("InvalidAccessKeyId", "the key is not known there: wrong, or revoked"),
    ("NoSuchBucket", "create the bucket first, or check its name"),
    ("connection refused", "the destination does not answer; is it up?"),
    ("connection reset", _BROKEN),
    ("broken pipe", _BROKEN),
    ("use of closed network connection", _BROKEN),
    ("unexpected EOF", _BROKEN),
    ("i/o timeout", "the destination does not answer; is it up?"),
    ("no such host", "the destination's name cannot be resolved"),
    ("certificate", "the destination's certificate is not trusted; is this host's clock right?"),
)


def hint(said: str) -> str | None:
    """What to do about some words of rclone's."""
    return next((hint for sign, hint in _HINTS if sign.lower() in said.lower()), None)
