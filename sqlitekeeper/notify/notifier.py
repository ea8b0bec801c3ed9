"""The notifications of one run, at its start and at its end; trouble with them only warns."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlitekeeper.events import Level, Listener, Note

if TYPE_CHECKING:
    from sqlitekeeper.config import NotifySettings
    from sqlitekeeper.notify.ping import Ping


class Notifier:
    """Tells those whom `[notify]` names how a run of `command` goes."""

    def __init__(
        self, settings: "NotifySettings", command: str, version: str, on_event: Listener
    ) -> None:
        self._settings = settings
        self._url = (settings.ping_url or "").replace("{command}", command)
        self._agent = f"sqlitekeeper/{version}"
        self._listen = on_event
        self._start: Ping | None = None

    def begin(self) -> None:
        """Ping the start; the run does not wait for the answer."""
        if self._url:
            from sqlitekeeper.notify.ping import SECONDS

            self._start = self._ping("/start", b"", SECONDS)

    def end(self, status: int, summary: bytes, result: str) -> None:
        """Tell how the run ended: whatever is not status 0 is a failure.

        `result` is the JSON object of the run. Pings that are not answered take 10
        seconds, a little more when the run was shorter than that; a command a minute.
        """
        if self._url:
            from sqlitekeeper.notify.ping import LEAST_SECONDS, SECONDS

            began = time.monotonic()
            # In this order: a start that arrives last would be a run that never ended.
            if self._start is not None:
                self._report("start", self._start.trouble())
            left = max(LEAST_SECONDS, SECONDS - (time.monotonic() - began))
            self._report("end", self._ping("/fail" if status else "", summary, left).trouble())
        key = "on_failure" if status else "on_success"
        command: Sequence[str] = getattr(self._settings, key)
        if command:
            from sqlitekeeper.notify.command import run_command

            self._tell(key, command[0], run_command(command, summary, result))

    def _ping(self, ending: str, body: bytes, seconds: float) -> "Ping":
        # Late: without a ping due, no run pays for urllib.
        from sqlitekeeper.notify.ping import Ping

        return Ping(self._url, ending, body, self._agent, seconds)

    def _report(self, which: str, trouble: str | None) -> None:
        self._tell("notify", f"ping of the run's {which}", trouble)

    def _tell(self, subject: str, what: str, trouble: str | None) -> None:
        if trouble:
            self._listen(Note(subject, f"{what}: {trouble}", Level.WARNING))
        else:
            self._listen(Note(subject, f"{what}: ok", Level.DETAIL))
