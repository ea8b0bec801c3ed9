"""The databases that drills and status are about: what should be backed up, there or not."""

import os
from collections.abc import Sequence

from sqlitekeeper.backups.destination import Destination
from sqlitekeeper.backups.drill import Subject
from sqlitekeeper.cli.session import no_match
from sqlitekeeper.cli.shelves import take_stock, wanted_databases
from sqlitekeeper.config import Config, Database
from sqlitekeeper.errors import CheckError, ConfigError


def subjects(
    config: Config, names: Sequence[str], froms: Sequence[str], destinations: Sequence[Destination]
) -> list[Subject]:
    """Those that are named; else all that are configured to be backed up; else all that are there.

    Raises:
        ConfigError: a name that nothing has, or every database has backup = false.
        KeeperError: nothing is configured, and nothing is there or can be seen.
    """
    if not names and config.databases:
        found = [Subject(d.name, d.path) for d in config.databases if d.backup and not d.unmatched]
        if not found:
            raise ConfigError(
                f"{config.file}: no database is there to be backed up",
                hint="name one to look for it all the same",
            )
        return found
    wanted = wanted_databases(config, names, froms, take_stock(destinations))
    if not wanted:
        for destination in destinations:
            if destination.error:
                raise destination.error
        places = ", ".join(destination.to for destination in destinations)
        raise CheckError(f"there is no snapshot at {places}")
    return [Subject(one.name, one.path) for one in wanted]


def unmatched(config: Config, asked: Sequence[str]) -> dict[Database, str]:
    """The patterns that should match databases and match none, unless `asked` for others; and why.

    As on a host where a disk is not mounted: whatever they stand for has no subject.
    """
    if asked:
        return {}
    return {
        one: no_match(one)
        for one in config.databases
        if one.unmatched and one.backup and not one.optional
    }


def absent(config: Config) -> set[str]:
    """The names of the optional databases that are not on this host."""
    return {one.name for one in config.databases if one.optional and not os.path.lexists(one.path)}
