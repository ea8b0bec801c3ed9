"""`keeper report`: how large everything is."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import click

from sqlitekeeper.cli.extra_files import Extra, finish_and_write, metrics_file
from sqlitekeeper.cli.history import recalled, remember
from sqlitekeeper.cli.options import (
    common_options,
    database_arguments,
    jobs_option,
    prometheus_option,
)
from sqlitekeeper.cli.session import Session, each_at_once
from sqlitekeeper.config import Config, Database, parse_duration, select_databases
from sqlitekeeper.config.names import this_host
from sqlitekeeper.config.settings import COMMAND_LINE
from sqlitekeeper.database.files import last_written
from sqlitekeeper.database.measure import measure
from sqlitekeeper.events import Listener, Note
from sqlitekeeper.filesystem.disks import free_bytes
from sqlitekeeper.output.prometheus import report_metrics
from sqlitekeeper.output.report import show_report
from sqlitekeeper.report.report import (
    MeasuredDatabase,
    Neighbour,
    ReportEntry,
    Sort,
    in_order,
    report_entries,
)
from sqlitekeeper.state.history import HistoryPoint

HELP = """Show sizes, free pages, the WAL and the growth of each database, and what to do.

Reads counters only, so it takes a moment whatever the size, and changes
nothing. With --tables it reads every page of each file.

\b
  keeper report storage/production.sqlite3
"""


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A length of time such as 7d or 36h, in seconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read it as keeper.toml does."""
        if isinstance(value, float):
            return value
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command("report", help=HELP)
@database_arguments
@click.option(
    "--tables",
    is_flag=True,
    help="Also the space of each table and index: reads the whole file.",
)
@click.option(
    "--since",
    type=Duration(),
    default="30d",
    show_default=True,
    metavar="7d",
    help="How much of the history growth is learnt from.",
)
@click.option(
    "--sort",
    type=click.Choice(get_args(Sort)),
    default="attention",
    show_default=True,
    help="What stands first.",
)
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write a page with charts: one file that needs no network. Private (0600).",
)
@jobs_option
@prometheus_option
@common_options
def command(
    session: Session,
    names: tuple[str, ...],
    tables: bool,
    since: float,
    sort: Sort,
    html: Path | None,
    jobs: int,
    prometheus: Path | None,
) -> int:
    """Measure each database, and show it with what is remembered."""
    config = session.config()
    databases = select_databases(config, names)
    began = datetime.now(UTC)
    earlier = recalled(
        session,
        config.state,
        [database.path for database in {*databases, *config.databases}],
        began - timedelta(seconds=since),
    )
    subjects: dict[Path, MeasuredDatabase] = {}

    def work(database: Database, on_event: Listener) -> ReportEntry:
        subject = _subject(on_event, database, earlier or {}, tables)
        subjects[database.path] = subject
        return ReportEntry(database.name, database.path, "done")

    found = each_at_once(databases, work, ReportEntry, session, jobs)
    now = datetime.now(UTC)
    if earlier is not None:
        measured = [(path, subject.found) for path, subject in subjects.items()]
        remember(session, config.state, measured, now)
    results = in_order(_assessed(config, found, subjects, earlier or {}, now), sort)
    extras = metrics_file(prometheus, report_metrics, results)
    if html:
        from sqlitekeeper.output.html.page import report_page  # most reports make no page

        extras.append(Extra(html, report_page(results, datetime.now(UTC), this_host())))
    return finish_and_write(session, results, show_report, extras)


def _subject(
    on_event: Listener,
    database: Database,
    earlier: dict[Path, tuple[HistoryPoint, ...]],
    tables: bool,
) -> MeasuredDatabase:
    found = measure(database.path)
    spaces = None
    if tables:
        from sqlitekeeper.report.tables import table_spaces

        on_event(Note(database.name, "reading the whole file for --tables"))
        spaces = table_spaces(database.path, name=database.name, on_event=on_event)
    return MeasuredDatabase(
        name=database.name,
        path=database.path,
        found=found,
        device=database.path.stat().st_dev,
        disk_free_bytes=free_bytes(database.path),
        modified_at=last_written(database.path),
        history=earlier.get(database.path, ()),
        configured_backup=database.backup and database.origin != COMMAND_LINE,
        tables=spaces,
    )


def _assessed(
    config: Config,
    found: Sequence[ReportEntry],
    subjects: dict[Path, MeasuredDatabase],
    earlier: dict[Path, tuple[HistoryPoint, ...]],
    now: datetime,
) -> list[ReportEntry]:
    """The entries, with what the measurements of all of them mean together."""
    done = report_entries(
        list(subjects.values()),
        now.timestamp(),
        config.vacuum.pages,
        config.vacuum.keep_free_pages,
        list(_neighbours(config, subjects, earlier)),
    )
    by_path = {entry.path: entry for entry in done}
    return [by_path.get(entry.path, entry) for entry in found]


def _neighbours(
    config: Config,
    subjects: dict[Path, MeasuredDatabase],
    earlier: dict[Path, tuple[HistoryPoint, ...]],
) -> Iterator[Neighbour]:
    """The configured databases that are not reported now, as far as they are remembered."""
    for database in config.databases:
        history = earlier.get(database.path)
        if history and database.path not in subjects:
            with suppress(OSError):
                yield Neighbour(database.path.stat().st_dev, history)
