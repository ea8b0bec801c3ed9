"""One line that says how far everything is that goes on: share, rate and time left."""

import os
from dataclasses import dataclass
from typing import TextIO

from sqlitekeeper.events import Tick
from sqlitekeeper.output.printable import printable, shortened
from sqlitekeeper.wording import size

# A line for something that is over in a moment would only flicker.
SHOWN_AFTER_SECONDS = 1.0
# More often than this nobody reads it.
REDRAWN_AFTER_SECONDS = 0.1
# A stage that says nothing for so long has ended without a last word.
FORGOTTEN_AFTER_SECONDS = 10.0
BAR_WIDTH = 20
LONGEST_LABEL = 40


@dataclass(slots=True)
class Activity:
    """A stage of the work on one database, as its ticks tell it; times of one clock, in seconds."""

    label: str
    began: float
    begun_with: int
    tick: Tick
    heard: float

    def share(self) -> float:
        """How much is done, from 0 to 1."""
        return max(0.0, min(1.0, self.tick.done / self.tick.total))

    def rate(self) -> float:
        """What was done in a second, since the first tick; 0 where that cannot be said yet."""
        took = self.heard - self.began
        return max(0.0, (self.tick.done - self.begun_with) / took) if took > 0 else 0.0

    def text(self) -> str:
        """The label, the share, the rate and the time left, as far as they are known."""
        words = [self.label, f"{self.share():.0%}"]
        if rate := self.rate():
            unit = self.tick.unit
            words.append(f"{size(int(rate))}/s" if unit == "bytes" else f"{rate:,.0f} {unit}/s")
            words.append(f"{_clock((self.tick.total - self.tick.done) / rate)} left")
        return " ".join(words)


class ProgressLine:
    """The line at the bottom of a terminal; only plain characters and carriage returns."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._activities: dict[tuple[str, str], Activity] = {}
        self._drawn = 0
        self._drawn_at = 0.0

    def tick(self, tick: Tick, now: float) -> None:
        """Hear of a stage, and draw the line anew unless that was a moment ago."""
        key = (tick.subject, tick.stage)
        if tick.total <= 0 or tick.done >= tick.total:
            self._activities.pop(key, None)
        elif key in self._activities and tick.done >= self._activities[key].tick.done:
            self._activities[key].tick, self._activities[key].heard = tick, now
        else:
            label = printable(f"{tick.subject} {tick.stage}".strip())
            label = shortened(label, LONGEST_LABEL)
            self._activities[key] = Activity(label, now, tick.done, tick, now)
        if now - self._drawn_at >= REDRAWN_AFTER_SECONDS:
            self._draw(now)

    def clear(self) -> None:
        """Take the line away, so that something else can be written."""
        if self._drawn:
            self._stream.write("\r" + " " * self._drawn + "\r")
            self._stream.flush()
        self._drawn, self._drawn_at = 0, 0.0

    def _draw(self, now: float) -> None:
        for key, activity in list(self._activities.items()):
            if now - activity.heard > FORGOTTEN_AFTER_SECONDS:
                del self._activities[key]
        shown = [a for a in self._activities.values() if now - a.began >= SHOWN_AFTER_SECONDS]
        text = progress_text(shown, terminal_width(self._stream) - 1)
        if text or self._drawn:
            self._stream.write("\r" + text.ljust(self._drawn) + ("" if text else "\r"))
            self._stream.flush()
        self._drawn, self._drawn_at = len(text), now


def progress_text(activities: list[Activity], width: int) -> str:
    """What goes on, in one line of at most `width` characters.

    One activity has a bar where there is room; several stand side by side, the
    longest-running first, and those without room are only counted.
    """
    if not activities:
        return ""
    text = activities[0].text()
    if len(activities) == 1:
        full = round(activities[0].share() * BAR_WIDTH)
        bar = f"[{'#' * full}{'-' * (BAR_WIDTH - full)}] "
        head = f"{activities[0].label} "
        if len(text) + len(bar) <= width:
            text = head + bar + text[len(head) :]
        return text[:width]
    for index, activity in enumerate(activities[1:], 1):
        longer = f"{text} | {activity.text()}"
        rest = len(activities) - index - 1
        if len(longer) + (len(f" +{rest}") if rest else 0) > width:
            return f"{text} +{rest + 1}"[:width]
        text = longer
    return text


def terminal_width(stream: TextIO) -> int:
    """$COLUMNS, or the columns of the terminal that a stream goes to, or 80."""
    if (columns := os.environ.get("COLUMNS", "")).isdecimal() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _clock(seconds: float) -> str:
    """A duration as clocks show it: 0:07, 1:23:45."""
    minutes, rest = divmod(round(min(seconds, 99 * 3600)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
