"""A sample of each database's size after every run; trouble with it never fails the run."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlitekeeper.cli.session import Session
from sqlitekeeper.database.measure import Measurement
from sqlitekeeper.errors import KeeperError
from sqlitekeeper.events import Level, Note
from sqlitekeeper.state.history import History, HistoryPoint, Sizes
from sqlitekeeper.state.history_file import SetAsideError

# What all histories together may bring back: with many databases, fewer points of each.
POINTS_OF_ALL = 60_000


def recalled(
    session: Session, state: Path, paths: Sequence[Path], since: datetime
) -> dict[Path, tuple[HistoryPoint, ...]] | None:
    """What was measured of databases before; None where the history cannot be used."""
    most = max(60, min(300, POINTS_OF_ALL // max(1, len(paths))))
    try:
        return History(state).points(paths, since=since, most=most)
    except SetAsideError as error:
        session.on_event(Note("", f"no history: {error}", Level.WARNING))
        return {}
    except (KeeperError, OSError) as error:
        session.on_event(Note("", f"no history: {error}", Level.WARNING))
        return None


def remember(
    session: Session,
    state: Path,
    measurements: Sequence[tuple[Path, Measurement | Sizes | None]],
    now: datetime | None = None,
) -> None:
    """Add a sample of each database to keeper's history; trouble with it is told, and no more."""
    if not measurements:
        return
    now = now or datetime.now(UTC)
    try:
        try:
            History(state).add_samples(measurements, now)
        except SetAsideError as error:
            session.on_event(Note("", f"sizes not remembered until now: {error}", Level.WARNING))
            History(state).add_samples(measurements, now)
    except (KeeperError, OSError) as error:
        session.on_event(Note("", f"sizes not remembered: {error}", Level.WARNING))
