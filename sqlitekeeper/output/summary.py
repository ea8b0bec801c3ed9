"""The summary of a run in a few lines: the body of a ping, the input of a command."""

from typing import Any

from sqlitekeeper.output.printable import printable
from sqlitekeeper.output.terminal import Console

# What healthchecks.io keeps of a ping's body; a server of one's own keeps the first 10 kB.
LONGEST_BYTES = 100_000


class Summary(Console):
    """The log that the run would have without a terminal, kept instead of printed."""

    def __init__(self) -> None:
        super().__init__(quiet=False, verbose=False, color=False, progress=False)
        self.is_terminal = self._log_is_terminal = False
        self._lines: list[str] = []
        self._failures: list[str] = []

    def failure(self, name: str, outcome: str, reason: str | None) -> None:
        """What went wrong comes first, where nothing is cut off."""
        self._failures.append(printable(f"{name}: {outcome}: {reason}"))

    def _write(self, text: str, *, err: bool, color: bool | None) -> None:
        self._lines.append(text)

    def text(self, command: str, host: str, status: int, error: dict[str, Any] | None) -> bytes:
        """What the run came to, what failed and then the log, in UTF-8, of limited size.

        `error` is that of the run's JSON object. Of a log that is too long the end stays.
        """
        head = [f"keeper {command} on {printable(host)}: {'failed' if status else 'ok'}"]
        if status:
            head[0] += f" (exit status {status})"
        if error:
            head[0] += f": {printable(error['message'])}"
            if error["hint"]:
                head.append(f"hint: {printable(error['hint'])}")
        room = LONGEST_BYTES // 2
        failures, left_out = _fitting(self._failures, room)
        if left_out:
            failures.append(f"({left_out:,} more failures are left out)")
        top = "".join(f"{line}\n" for line in [*head, *failures]).encode()[: LONGEST_BYTES - room]
        log, left_out = _fitting(self._lines[::-1], LONGEST_BYTES - len(top) - 100)
        if left_out:
            log.append(f"({left_out:,} lines before these are left out)")
        return top + "".join(f"{line}\n" for line in log[::-1]).encode()


def _fitting(lines: list[str], room: int) -> tuple[list[str], int]:
    """The first lines that fit into so many bytes, and how many do not."""
    for index, line in enumerate(lines):
        room -= len(line.encode()) + 1
        if room < 0:
            return lines[:index], len(lines) - index
    return list(lines), 0
