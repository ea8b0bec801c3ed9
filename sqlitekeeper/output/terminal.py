"""Text for people: tables on a terminal, timestamped lines in a log, progress bars."""

import os
import shutil
import sys
import threading
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import click

from sqlitekeeper.events import Event, Level, Note
from sqlitekeeper.output.printable import printable, shortened
from sqlitekeeper.output.progress import ProgressLine
from sqlitekeeper.result import Result

# A column that is cut to less says nothing any more.
LEAST_COLUMN = 10


def error_line(message: str, hint: str | None) -> str:
    """One line for an error, and the hint on a second."""
    line = f"keeper: error: {printable(message)}"
    return f"{line}\nkeeper: hint: {printable(hint)}" if hint else line


def print_error(text: str, *, color: bool | None = None) -> None:
    """A line on standard error; the work goes on when nobody reads it or it has no room."""
    try:
        click.echo(text, err=True, color=color)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


class Console:
    """Standard output for results, standard error for what happens meanwhile."""

    def __init__(
        self,
        *,
        quiet: bool,
        verbose: bool,
        color: bool | None = None,
        progress: bool = True,
    ) -> None:
        self.quiet = quiet
        self._least = Level.WARNING if quiet else Level.DETAIL if verbose else Level.STEP
        self.is_terminal = sys.stdout.isatty()
        self._log_is_terminal = sys.stderr.isatty()
        if color is None and os.environ.get("NO_COLOR"):
            color = False
        self.color = self.is_terminal if color is None else color
        shown = progress and not quiet and self._log_is_terminal
        self._progress = ProgressLine(sys.stderr) if shown else None
        # Stages that go on side by side are told from threads of their own.
        self._turn = threading.RLock()

    def show(self, event: Event) -> None:
        """Show a note as a line, a tick as progress."""
        with self._turn:
            if isinstance(event, Note):
                if event.level >= self._least:
                    self._log(event)
            elif self._progress is not None:
                self._progress.tick(event, time.monotonic())

    def _log(self, note: Note) -> None:
        warning = "warning: " if note.level == Level.WARNING else ""
        subject = f"{note.subject}: " if note.subject else ""
        self._line(printable(f"{subject}{warning}{note.text}"), err=True)

    def line(self, text: str) -> None:
        """A line of the result; not on a terminal it carries the time."""
        if not self.quiet:
            self._line(printable(text), err=False)

    def remark(self, result: Result, prefix: str = "") -> None:
        """The reason of a result that is no failure, where it has one."""
        if result.reason and not result.exit_code:
            self.line(f"{result.name}: {prefix}{result.reason}")

    def failure(self, name: str, outcome: str, reason: str | None) -> None:
        """What went wrong with one database; said even when quiet."""
        self._line(printable(f"{name}: {outcome}: {reason}"), err=True)

    def _line(self, text: str, *, err: bool) -> None:
        if not (self._log_is_terminal if err else self.is_terminal):
            text = f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}"
        self._write(text, err=err, color=self.color or None)

    def _write(self, text: str, *, err: bool, color: bool | None) -> None:
        self.close()
        if err:
            print_error(text, color=color)
        else:
            click.echo(text, color=color)

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
            shown = click.style(text, bold=True) if bold else text
            self._write(shown, err=False, color=self.color)

    def close(self) -> None:
        """Take away the line of progress that is being shown; the next tick brings it back."""
        if self._progress is not None:
            self._progress.clear()
