"""The base of every command's results: a name, a path, an outcome, a reason."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one database, folder or destination; JSON has all of it but `exit_code`."""

    name: str
    path: Path | None
    outcome: str
    reason: str | None = None
    exit_code: int = field(default=0, kw_only=True)
