"""What `keeper doctor` finds: one value for everything that was looked at."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says of a database, or of the host where `database` is None.

    `check` is the check's own name, which never changes. `fix` is the command
    or the line that mends it, None where there is none or no need.
    """

    level: Level
    database: str | None
    check: str
    message: str
    fix: str | None = None
