"""The check of a snapshot: integrity, row counts, manifest."""

from collections.abc import Mapping

from sqlitekeeper.backup.model import Parcel
from sqlitekeeper.destination.hold import hold_of, on_hold
from sqlitekeeper.events import Level, Listener, Note


def report_hold(name: str, parcels: Mapping[str, Parcel], on_event: Listener) -> None:
    """Remind of a loss that nobody has accepted yet."""
    holds = filter(None, (hold_of(parcel.manifest) for parcel in parcels.values()))
    for text in dict.fromkeys(on_hold(name, hold.tables) for hold in holds):
        on_event(Note(name, text, Level.WARNING))
