"""The record of a run, kept for those whom `[notify]` of keeper.toml names."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlitekeeper import __version__
from sqlitekeeper.errors import ConfigError
from sqlitekeeper.events import Event, Level, Listener, Note
from sqlitekeeper.output.json import object_text
from sqlitekeeper.output.terminal import Console, print_error

if TYPE_CHECKING:
    from sqlitekeeper.config import NotifySettings
    from sqlitekeeper.notify.notifier import Notifier
    from sqlitekeeper.output.summary import Summary


@dataclass(slots=True)
class RunRecord:
    """One run; it is filled while the run goes on, and told at its end.

    `result` is the run's JSON object. `unsent_reason` says why nobody can be told of a run that
    somebody may have wanted to hear of.
    """

    command: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    unsent_reason: str | None = None
    knows_config: bool = False
    _notifier: "Notifier | None" = None
    _summary: "Summary | None" = None

    def begin(self, command: str, settings: "NotifySettings", on_event: Listener) -> None:
        """Notify the receivers of this command that it has begun."""
        if not settings.notifies_of(command) or self._notifier is not None:
            return
        # Late: most runs have nobody to tell.
        from sqlitekeeper.notify.notifier import Notifier
        from sqlitekeeper.output.summary import Summary

        self.command = command
        self._summary = Summary()
        self._notifier = Notifier(settings, command, __version__, on_event)
        try:
            self._notifier.begin()
        except Exception as error:
            on_event(Note("notify", f"ping of the run's start: {_defect(error)}", Level.WARNING))

    @property
    def is_wanted(self) -> bool:
        """Whether somebody will be told."""
        return self._notifier is not None

    def on_event(self, event: Event) -> None:
        """Keep what the log says."""
        if self._summary is not None and isinstance(event, Note):
            self._summary.show(event)

    def keep(
        self,
        result: dict[str, Any],
        show: Callable[[Console], None],
        failures: Sequence[tuple[str, str, str | None]],
    ) -> None:
        """Keep the results as JSON has them and as `show` shows them, and what failed."""
        self.result = result
        if self._summary is not None:
            show(self._summary)
            for failure in failures:
                self._summary.failure(*failure)

    def notify(self, status: int) -> None:
        """Tell how the run ended; that never changes how it ended."""
        try:
            if self._notifier is not None and self._summary is not None:
                from sqlitekeeper.config.names import this_host

                text = self._summary.text(
                    self.command, this_host(), status, self.result.get("error")
                )
                self._notifier.end(status, text, object_text(self.result) + "\n")
            elif self.unsent_reason and status:
                print_error(f"keeper: no notification sent: {self.unsent_reason}")
        except KeyboardInterrupt:
            print_error("keeper: interrupted: not everybody was notified")
        except OSError:
            # Standard error has gone, so nobody can read of trouble.
            return
        except Exception as error:
            # Whatever it is, the run has ended as it has.
            print_error(f"keeper: no notification sent: {_defect(error)}")


def _defect(error: Exception) -> str:
    """No more than its kind: its text may hold the address."""
    return f"a defect in keeper: {type(error).__name__}"


def wants_notification(command: str | None, config_file: Path | None) -> bool:
    """Whether somebody expects to hear of a run that did not get as far as its configuration."""
    from sqlitekeeper.config import NOTIFYING, read_config

    if command not in NOTIFYING:
        return False
    try:
        return read_config(config_file, os.environ).notify.notifies_of(command)
    except ConfigError:
        return True
