"""What rclone says: its log lines, its last words without their secrets, and what they mean."""

import json
import re
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Any

from sqlitekeeper.redaction import scrubbed, without_secrets

LAST_WORDS = 4
LONGEST_WORD = 500
LONGEST_LINE = 2**20
_DEBUG = re.compile(rb'"level": ?"debug"')
_CHATTER = ("NOTICE: Config file", "NOTICE: Automatically setting -vv")
_PLAIN_TIME = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\s+")
_QUIET_LEVELS = frozenset({"debug", "info", "notice", "warning"})
# Its count of its own attempts, of which keeper lets it make one, repeats what failed.
_ATTEMPT = re.compile(r"Attempt \d+/\d+ failed with ")
_NO_REQUEST = re.compile(r"RequestID: , HostID: , |, request id: , host id:")
# What grows while rclone gets on. Its "errors" and times grow while it does not, too.
_FIGURES = ("bytes", "checks", "transfers", "deletes", "deletedDirs", "renames", "listed")


class Log:
    """rclone's log as it comes: JSON lines are passed on, complaints are kept as `words`.

    `secrets` are never shown. `progress` only ever grows, by what rclone says it has done.
    """

    def __init__(
        self,
        watch: Callable[[dict[str, Any]], None] = lambda entry: None,
        secrets: Collection[str] = (),
    ) -> None:
        self.progress = 0
        self.bytes = 0
        self._words: deque[str] = deque(maxlen=LAST_WORDS)
        self._watch = watch
        self._secrets = secrets
        self._rest = b""
        self._skipping = False

    @property
    def words(self) -> list[str]:
        """The last complaints, each once, fit to be shown to anyone."""
        return self.presentable(self._words)

    def presentable(self, words: Iterable[str]) -> list[str]:
        """Words of rclone's, each once, without secrets, on one line each."""
        shown: list[str] = []
        for word in map(_printable, words):
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
                self._on_entry(line)
            self._skipping = False
        self._rest = rest
        if len(rest) > LONGEST_LINE:
            if not self._skipping:
                self._on_entry(rest[:LONGEST_LINE])
            self._rest, self._skipping = b"", True

    def end(self) -> None:
        """Take what came last, with or without the end of its line."""
        self.take(b"\n")

    def _on_entry(self, text: bytes) -> None:
        """Take one line.

        What rclone says before its log is set up, or as its last word, may be
        plain text or have a mild level; such a line starts with "Failed".
        """
        if _DEBUG.search(text[:LONGEST_WORD]):
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
            return
        self.progress = max(self.progress, figures_in(entry.get("stats")))
        self._watch(entry)
        message = _printable(str(entry.get("msg", "")))
        if "stats" in entry:
            return
        if _ATTEMPT.match(message):
            return
        if entry.get("level") not in _QUIET_LEVELS or message.startswith("Failed"):
            about = entry.get("object")
            self._words.append(f"{_printable(str(about))}: {message}" if about else message)


def figures_in(stats: object) -> int:
    """How far rclone has come by its statistics: a number that grows as it gets on."""
    if not isinstance(stats, dict):
        return 0
    return sum(number for figure in _FIGURES if isinstance(number := stats.get(figure), int))


def _printable(text: str) -> str:
    """On one line, and without what a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in text[: 2 * LONGEST_WORD]).strip()
