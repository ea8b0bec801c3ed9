"""What rclone says: its log lines, its last words without their secrets, and what they mean."""

import json
import re
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sqlitekeeper.redaction import scrubbed, without_secrets

# As rclone's log has it, before JSON: the request line, then the headers.
_REQUEST = re.compile(r"(GET|HEAD|PUT|POST|DELETE|PATCH|PROPFIND|MKCOL|MOVE) (\S+) HTTP/\d")
_B2 = re.compile(r"/b2api/v\d+/(b2_\w+)")
_LISTS = frozenset({"list-type", "delimiter", "max-keys", "marker", "encoding-type"})
LAST_WORDS = 4
LONGEST_WORD = 500
# More than a batch of uploads has.
MOST_OBJECTS = 1000
LONGEST_LINE = 2**20
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


def call_of(message: str) -> str | None:
    """The kind of API call that a message of rclone's log is about, or None.

    "LIST" is a GET that lists a bucket (S3, GCS), Backblaze B2's calls have
    names of their own ("b2_list_file_names"), all others that of their method.
    """
    found = _REQUEST.match(message)
    if not found:
        return None
    method, target = found.groups()
    url = urlsplit(target)
    if b2 := _B2.search(url.path):
        return b2[1]
    if method == "GET" and _LISTS & parse_qs(url.query, keep_blank_values=True).keys():
        return "LIST"
    return method


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
