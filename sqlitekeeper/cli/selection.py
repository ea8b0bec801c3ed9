"""The databases that a command works on, chosen by what the destinations hold."""

import os
from collections.abc import Sequence
from pathlib import Path

from sqlitekeeper.cli.session import AnyResult, no_match
from sqlitekeeper.config import Config, Database, select_databases
from sqlitekeeper.config.quoting import nearest
from sqlitekeeper.destination.catalog import Subject
from sqlitekeeper.destination.destination import Destination
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
    wanted = wanted_databases(config, names, froms, destinations)
    if not wanted:
        for destination in destinations:
            if destination.error:
                raise destination.error
        places = ", ".join(destination.to for destination in destinations)
        raise CheckError(f"there is no snapshot at {places}")
    return wanted


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


def wanted_databases(
    config: Config, arguments: Sequence[str], froms: Sequence[str], listed: Sequence[Destination]
) -> list[Subject]:
    """The databases that the arguments mean: configured ones, paths, or names at a destination.

    Without arguments all that are configured and there; or simply all that are
    there, where the command line says where to look or nothing is configured.

    Raises:
        ConfigError: a name that nothing has.
    """
    there = list(dict.fromkeys(name for destination in listed for name in destination.catalog))
    configured = {d.name: d for d in config.databases if not d.unmatched}
    if not arguments:
        everything = bool(froms) or not configured
        return [_wanted(n, configured) for n in sorted(there) if everything or n in configured]
    sure = not any(destination.error for destination in listed)
    found: dict[str, Subject] = {}
    for argument in arguments:
        if argument in configured or argument in there:
            found.setdefault(argument, _wanted(argument, configured))
        elif "/" in argument or Path(argument).is_file():
            for database in select_databases(config, [argument]):
                found.setdefault(database.name, Subject(database.name, database.path))
        elif sure:
            raise _unknown(argument, [*configured, *there])
        else:
            found.setdefault(argument, Subject(argument, None))
    return list(found.values())


def _wanted(name: str, configured: dict[str, Database]) -> Subject:
    return Subject(name, configured[name].path if name in configured else None)


def _unknown(argument: str, names: Sequence[str]) -> ConfigError:
    message = f"{argument}: no destination has snapshots of it, and it is not configured"
    if guess := nearest(argument, names):
        return ConfigError(f"{message}; did you mean {guess}?")
    some = ", ".join(dict.fromkeys(names[:20]))
    return ConfigError(message, hint=f"there are: {some}" if some else None)


def missing(wanted: Subject, listed: Sequence[Destination], kind: type[AnyResult]) -> AnyResult:
    """The result of a database of which no destination that answered has a snapshot."""
    places = ", ".join(destination.to for destination in listed if not destination.error)
    return kind(wanted.name, wanted.path, "failed", f"no snapshot at {places}", exit_code=1)


def unanswered(listed: Sequence[Destination], kind: type[AnyResult]) -> list[AnyResult]:
    """One result for each destination that did not answer."""
    return [
        kind(
            destination.to,
            None,
            "failed",
            destination.error.full_text,
            exit_code=destination.error.exit_code,
        )
        for destination in listed
        if destination.error
    ]
