"""One place that snapshots are shipped to, and its listing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from sqlitekeeper.destination.catalog import DatabaseCatalog, read_catalog
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.errors import RcloneError
from sqlitekeeper.rclone.listing import RemoteObject
from sqlitekeeper.rclone.remote_name import is_local


@dataclass(frozen=True)
class Destination:
    """A destination as it was listed at the start of the run.

    `listing` is None where there is nothing yet, `error` set where it could
    not be listed.
    """

    to: str
    listing: dict[str, RemoteObject] | None
    error: RcloneError | None = None

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this host."""
        return is_local(self.to)

    @cached_property
    def catalog(self) -> dict[str, DatabaseCatalog]:
        """The snapshots that the listing knows, by database; none where there is no listing."""
        return read_catalog(self.to, (self.listing or {}).values())

    def catalogs_of(self, names: Iterable[str]) -> list[DatabaseCatalog]:
        """What it holds of some databases; those of which it holds nothing are left out."""
        return [self.catalog[name] for name in names if name in self.catalog]

    def has(self, path: str) -> bool:
        """Whether the listing knows an object."""
        return self.listing is not None and path in self.listing


def list_destination(rclone: Rclone, to: str) -> Destination:
    """List a destination, once for the whole run."""
    try:
        return Destination(to, rclone.list_objects(to))
    except RcloneError as error:
        return Destination(to, None, error)


def list_destinations(rclone: Rclone, destinations: Sequence[str]) -> list[Destination]:
    """List every destination once; one that does not answer has its `error` set.

    Raises:
        RcloneError: none of them answers.
    """
    found = [list_destination(rclone, to) for to in destinations]
    require_one_answers(found)
    return found


def require_one_answers(destinations: Sequence[Destination]) -> list[RcloneError]:
    """Why destinations could not be listed, those that could not.

    Raises:
        RcloneError: none of them could; it says why of each.
    """
    errors = [destination.error for destination in destinations if destination.error]
    if errors and len(errors) == len(destinations):
        raise combined_error(errors)
    return errors


def combined_error(errors: Sequence[RcloneError]) -> RcloneError:
    """Several destinations' errors as one."""
    if len(errors) == 1:
        return errors[0]
    return RcloneError("; ".join(dict.fromkeys(error.full_text for error in errors)))
