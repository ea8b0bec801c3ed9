"""The wait for locks that applications hold: short at first, then once for all of a run.

Some locks last as long as an application runs (locking_mode EXCLUSIVE, Turso). Who waited
for each of them in turn would come late to the databases behind them.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

FIRST_SECONDS = 0.3
LONGEST_TURN_SECONDS = 1.0
# Some are busy for another reason than a lock: they are tried again, but not without pause.
PAUSE_SECONDS = 0.1

_most_seconds: ContextVar[float] = ContextVar("_most_seconds", default=math.inf)


def bounded(seconds: float) -> float:
    """So long, but no longer than the present turn allows."""
    return min(seconds, _most_seconds.get())


@contextmanager
def waits_at_most(seconds: float) -> Iterator[None]:
    """Bound every wait for a lock in this block."""
    token = _most_seconds.set(seconds)
    try:
        yield
    finally:
        _most_seconds.reset(token)


@dataclass(slots=True)
class LockWait:
    """`seconds` of waiting, for all together whose first try was in vain; it ends at `ends`."""

    seconds: float
    ends: float = math.inf

    @property
    def goes_on(self) -> bool:
        """Whether what is locked is tried again."""
        return time.monotonic() < self.ends

    @property
    def is_new(self) -> bool:
        """Whether nobody was waited for yet."""
        return self.ends == math.inf

    def turn(self, waiting: int, jobs: int = 1) -> float:
        """How long each of so many may wait now, `jobs` at once; the first turn begins the wait.

        One alone may wait to the end. Of several, none waits while another becomes free.
        """
        time.sleep(PAUSE_SECONDS)
        self.ends = min(self.ends, time.monotonic() + self.seconds)
        share = (self.ends - time.monotonic()) / math.ceil(waiting / jobs)
        if waiting > 1:
            share = min(share, LONGEST_TURN_SECONDS)
        return max(share, min(FIRST_SECONDS, self.seconds))
