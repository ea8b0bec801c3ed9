"""The outcome of one act on several objects of a destination."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlitekeeper.errors import KeeperError
from sqlitekeeper.rclone.errors import RcloneError

# Of the files that failed, so many are named.
MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class Report:
    """The paths that are done, and why others are not, where that is known."""

    done: frozenset[str]
    errors: Mapping[str, KeeperError] = field(default_factory=dict)

    @property
    def error(self) -> RcloneError | None:
        """The errors of all files as one, if there are any."""
        each = list(dict.fromkeys(error.full_text for error in self.errors.values()))
        if not each:
            return None
        if len(each) == 1:
            (first, *_) = self.errors.values()
            return RcloneError(first.message, hint=first.hint)
        left = len(each) - MOST_NAMED
        more = f"; and {left} more" if left > 0 else ""
        return RcloneError("; ".join(each[:MOST_NAMED]) + more)

    def problem_of(self, path: str) -> str:
        """Why `path` is not done, where there was an error."""
        if path in self.errors:
            return self.errors[path].full_text
        return self.error.full_text if self.error else ""
