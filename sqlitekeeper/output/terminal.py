"""Text for people: tables on a terminal, timestamped lines in a log, progress bars."""

import os
import shutil
import sys
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import click

from sqlitekeeper.events import Event, Level, Note, Tick

# A bar for something that is over in a moment would only flicker.
BAR_AFTER_SECONDS = 1.0
# A column that is cut to less says nothing any more.
LEAST_COLUMN = 10


def printable(text: str) -> str:
    """Text without anything that a terminal would obey: control characters are spelt out."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def shortened(text: str, width: int) -> str:
    """Text of at most `width` characters: the middle goes, since names differ at the ends."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def error_line(message: str, hint: str | None) -> str:
    """One line for an error, and the hint on a second."""
    line = f"keeper: error: {printable(message)}"
    return f"{line}\nkeeper: hint: {printable(hint)}" if hint else line


class Console:
    """Standard output for results, standard error for what happens meanwhile."""

    def __init__(self, *, quiet: bool, verbose: bool, color: bool | None = None) -> None:
        self.quiet = quiet
        self._least = Level.WARNING if quiet else Level.DETAIL if verbose else Level.STEP
        self.is_terminal = sys.stdout.isatty()
        self._log_is_terminal = sys.stderr.isatty()
        if color is None and os.environ.get("NO_COLOR"):
            color = False
        self.color = self.is_terminal if color is None else color
        self._bar: click.progressbar | None = None  # type: ignore[valid-type]
        self._stage: tuple[str, str] | None = None
        self._stage_began = 0.0

    def show(self, event: Event) -> None:
        """Show a note as a line, a tick as a bar."""
        if isinstance(event, Tick):
            self._tick(event)
        elif event.level >= self._least:
            self._log(event)

    def _log(self, note: Note) -> None:
        self.close()
        warning = "warning: " if note.level == Level.WARNING else ""
        subject = f"{note.subject}: " if note.subject else ""
        self._line(printable(f"{subject}{warning}{note.text}"), err=True)

    def line(self, text: str) -> None:
        """A line of the result; not on a terminal it carries the time."""
        if not self.quiet:
            self._line(printable(text), err=False)

    def failure(self, name: str, outcome: str, reason: str | None) -> None:
        """What went wrong with one database; said even when quiet."""
        self.close()
        self._line(printable(f"{name}: {outcome}: {reason}"), err=True)

    def _line(self, text: str, *, err: bool) -> None:
        if not (self._log_is_terminal if err else self.is_terminal):
            text = f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}"
        click.echo(text, err=err, color=self.color or None)

    def table(
        self,
        headings: Sequence[str],
        rows: Sequence[Sequence[str]],
        left: Collection[int] = (0,),
    ) -> None:
        """An aligned table; the columns in `left` are text, the others are right-aligned.

        Where the terminal is too narrow the last columns are cut short or left out.
        """
        if self.quiet or not rows:
            return
        cells = [[printable(cell) for cell in row] for row in (headings, *rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]
        room = shutil.get_terminal_size().columns
        while len(widths) > 2 and (over := sum(widths) + 2 * (len(widths) - 1) - room) > 0:
            left_over = widths.pop() - over
            cut = [shortened(row[-1], left_over) for row in cells]
            cells = [row[:-1] for row in cells]
            if left_over >= LEAST_COLUMN:
                widths.append(left_over)
                cells = [[*row, cell] for row, cell in zip(cells, cut, strict=True)]
        for index, row in enumerate(cells):
            text = "  ".join(
                cell.ljust(width) if column in left else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            bold = self.color and index == 0
            click.echo(click.style(text, bold=True) if bold else text, color=self.color)

    def _tick(self, tick: Tick) -> None:
        if self.quiet or not self._log_is_terminal or tick.total <= 0:
            return
        stage, now = (tick.subject, tick.stage), time.monotonic()
        if stage != self._stage:
            self.close()
            self._stage, self._stage_began = stage, now
        if self._bar is None and now - self._stage_began >= BAR_AFTER_SECONDS:
            label = printable(f"{tick.subject} {tick.stage}".strip())
            self._bar = click.progressbar(length=tick.total, label=label, file=sys.stderr)
            self._bar.__enter__()
        if self._bar is not None:
            self._bar.update(max(0, min(tick.done, tick.total) - self._bar.pos))

    def close(self) -> None:
        """End a progress bar that is being shown."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
        self._bar, self._stage = None, None
