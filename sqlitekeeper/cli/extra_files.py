"""Files that a command writes beside its own output: a page, or metrics for Prometheus."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from sqlitekeeper.cli.session import AnyResult, Session
from sqlitekeeper.errors import KeeperError
from sqlitekeeper.filesystem.atomic import FOR_EVERYONE, PRIVATE, write_whole
from sqlitekeeper.output.terminal import Console, error_line, print_error


@dataclass(frozen=True, slots=True)
class Extra:
    """A file to write, its text and its mode."""

    file: Path
    text: str
    mode: int = PRIVATE


def metrics_file(
    file: Path | None,
    metrics: Callable[[Sequence[AnyResult], datetime], str],
    results: Sequence[AnyResult],
) -> list[Extra]:
    """The file that `--prometheus` asked for, if it did."""
    return [Extra(file, metrics(results, datetime.now(UTC)), FOR_EVERYONE)] if file else []


def finish_and_write(
    session: Session,
    results: Sequence[AnyResult],
    show: Callable[[Console, Sequence[AnyResult]], None],
    extras: Sequence[Extra],
    **more: Any,
) -> int:
    """Write the files, print the results, and return the exit status of both.

    A file that cannot be written is an error of the run, but not before the
    results of the main job are printed.
    """
    troubles = []
    for extra in extras:
        try:
            write_whole(extra.file, extra.text, extra.mode)
        except KeeperError as error:
            troubles.append(error)
    if troubles and not any(result.exit_code for result in results):
        first = troubles[0]
        reported = {"code": first.exit_code, "message": first.message, "hint": first.hint}
        more |= {"ok": False, "error": reported}
    code = session.finish(results, show, **more)
    for trouble in troubles:
        print_error(error_line(trouble.message, trouble.hint))
    return code or max((trouble.exit_code for trouble in troubles), default=0)


def refuse_rehearsal(prometheus: Path | None, dry_run: bool) -> None:
    """Refuse --prometheus with --dry-run: a dry run must not look like a run to a monitor.

    Raises:
        click.UsageError: both were asked for.
    """
    if prometheus and dry_run:
        raise click.UsageError("--dry-run and --prometheus contradict each other")
