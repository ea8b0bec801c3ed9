"""The HTML page of `keeper report`; a module of its own since most runs do without."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlitekeeper.config.names import this_host
from sqlitekeeper.database.page_map import PageMap, page_map
from sqlitekeeper.errors import KeeperError, as_keeper_error
from sqlitekeeper.output.html import report_page
from sqlitekeeper.state.report import ReportEntry


def page_of(results: Sequence[ReportEntry]) -> str:
    """The page, with page maps where the tables were asked for."""
    maps = {r.path: _map(r.path) for r in results if r.tables is not None}
    return report_page(results, maps, datetime.now(UTC), this_host())


def _map(path: Path) -> PageMap | str:
    try:
        return page_map(path)
    except (KeeperError, OSError) as error:
        return as_keeper_error(error).message
