"""Events of the work while it goes on; the library does not know who listens.

The library calls a `Listener` with these values; the command line turns them
into log lines and progress bars. The default listener does nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """How much a note matters: details show with --verbose, warnings always."""

    DETAIL = 0
    STEP = 1
    WARNING = 2


@dataclass(frozen=True, slots=True)
class Note:
    """A step that was taken, or a warning, about one database or the whole run ("")."""

    subject: str
    text: str
    level: Level = Level.STEP


@dataclass(frozen=True, slots=True)
class Tick:
    """How far a long stage is: `done` of `total`, in bytes or what `unit` says ("pages")."""

    subject: str
    stage: str
    done: int
    total: int
    unit: str = "bytes"


Event = Note | Tick
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Listen to nothing."""
