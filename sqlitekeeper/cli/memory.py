"""A sample of each database's size after every run, which never fails the run."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlitekeeper.cli.session import Session
from sqlitekeeper.database.measure import Measurement, measure
from sqlitekeeper.errors import KeeperError
from sqlitekeeper.events import Level, Note
from sqlitekeeper.state.history import History


def measured(paths: Iterable[Path]) -> list[tuple[Path, Measurement]]:
    """The sizes of those databases that can be measured now."""
    sizes = []
    for path in paths:
        try:
            sizes.append((path, measure(path)))
        except (KeeperError, OSError):
            continue
    return sizes


def remember(
    session: Session, state: Path, measurements: Sequence[tuple[Path, Measurement]]
) -> None:
    """Add a sample of each database to keeper's history."""
    try:
        if measurements:
            History(state).add_samples(measurements, datetime.now(UTC))
    except (KeeperError, OSError) as error:
        session.listen(Note("", f"sizes not remembered: {error}", Level.WARNING))
