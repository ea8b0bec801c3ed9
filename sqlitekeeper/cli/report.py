"""`keeper report`: how large everything is."""

from pathlib import Path

import click

from sqlitekeeper.cli.memory import remember
from sqlitekeeper.cli.session import Session, common_options, database_arguments, each
from sqlitekeeper.config import Database, select_databases
from sqlitekeeper.database.measure import Measurement, measure
from sqlitekeeper.errors import KeeperError
from sqlitekeeper.events import Level, Note
from sqlitekeeper.output.lines import show_report
from sqlitekeeper.state.history import History
from sqlitekeeper.state.report import HistoryPoint, ReportEntry, report_entry

HELP = """Show sizes, reclaimable free pages and the WAL of each database.

Reads counters only, so it takes a moment whatever the size, and changes
nothing.

\b
  keeper report storage/production.sqlite3
"""


@click.command("report", help=HELP)
@database_arguments
@common_options
def command(session: Session, names: tuple[str, ...]) -> int:
    """Measure each database, and show it with what is remembered."""
    config = session.config()
    databases = select_databases(config, names)
    earlier = _earlier(session, config.state, [database.path for database in databases])
    sizes: list[tuple[Path, Measurement]] = []

    def work(database: Database) -> ReportEntry:
        found = measure(database.path)
        sizes.append((database.path, found))
        return report_entry(database.name, database.path, found, earlier.get(database.path, ()))

    def otherwise(database: Database, outcome: str, reason: str, code: int) -> ReportEntry:
        skipped = outcome == "skipped"
        return ReportEntry(
            database.name,
            database.path,
            "skipped" if skipped else "failed",
            reason,
            exit_code=code,
        )

    results = each(databases, work, otherwise)
    remember(session, config.state, sizes)
    return session.finish(results, show_report)


def _earlier(
    session: Session, state: Path, paths: list[Path]
) -> dict[Path, tuple[HistoryPoint, ...]]:
    try:
        return History(state).points(paths)
    except (KeeperError, OSError) as error:
        session.listen(Note("", f"no history: {error}", Level.WARNING))
        return {}
