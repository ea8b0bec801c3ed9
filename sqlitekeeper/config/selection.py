"""The databases that a command works on: its arguments against the configuration."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from sqlitekeeper.config.databases import refuse_indistinct_names, refuse_twins
from sqlitekeeper.config.loading import SEARCHED
from sqlitekeeper.config.names import default_name
from sqlitekeeper.config.paths import absolute, is_regular_file
from sqlitekeeper.config.quoting import nearest, readable
from sqlitekeeper.config.settings import Config, Database
from sqlitekeeper.errors import ConfigError


def select_databases(config: Config, arguments: Sequence[str]) -> tuple[Database, ...]:
    """The databases that the arguments mean, in their order, each once; all without arguments.

    An argument with a separator, or that names an existing file, is a path;
    any other is a configured name. The path of a configured database means
    that one, with its name and settings.

    Raises:
        ConfigError: nothing to work on, an unknown name, a path that yields no
            name.
    """
    if not arguments:
        if not config.databases:
            raise _nothing_to_work_on(config)
        return config.databases
    configured = {
        os.path.realpath(database.path): database
        for database in config.databases
        if not database.unmatched
    }
    chosen: dict[str, Database] = {}
    for argument in arguments:
        for database in _meant(argument, config, configured):
            chosen.setdefault(os.path.realpath(database.path), database)
    return tuple(chosen.values())


def refuse_claimed_names(config: Config, databases: Iterable[Database]) -> None:
    """Refuse a path of the command line that has the name of another, configured database.

    Its snapshots would go where the configured one's are. For the commands that
    write to a destination or replace a file; looking at such a file is harmless.
    Nor may any two that are backed up have names that a destination may take for
    one; those of others matter to nobody.

    Raises:
        ConfigError: names both files.
    """
    refuse_twins(dict.fromkeys((*config.databases, *databases)))
    shipped = (one for one in config.databases if one.backup)
    refuse_indistinct_names(dict.fromkeys((*shipped, *databases)))


def _meant(argument: str, config: Config, configured: dict[str, Database]) -> tuple[Database, ...]:
    if not argument:
        raise ConfigError("an argument is empty; it must be a path or a configured name")
    if "/" in argument or is_regular_file(Path(argument)):
        path = absolute(argument)
        known = configured.get(os.path.realpath(path))
        return (known or Database(default_name(path), path),)
    named = tuple(database for database in config.databases if database.name == argument)
    if not named:
        raise _unknown(argument, config)
    return named


def _unknown(argument: str, config: Config) -> ConfigError:
    names = [database.name for database in config.databases]
    guess = nearest(argument, names)
    absence = "is not a regular file" if os.path.lexists(argument) else "no such file"
    message = f"{readable(argument)}: {absence}, and no configured database has this name"
    if guess:
        return ConfigError(f"{message}; did you mean {guess}?")
    if names:
        return ConfigError(message, hint=f"configured: {', '.join(names[:20])}")
    return ConfigError(message, hint=_how_to_start(config))


def _nothing_to_work_on(config: Config) -> ConfigError:
    if config.file is None:
        return ConfigError("no database to work on", hint=_how_to_start(config))
    return ConfigError(
        f"{readable(config.file)}: configures no databases", hint=_how_to_start(config)
    )


def _how_to_start(config: Config) -> str:
    if config.file is not None:
        return (
            "name one, as in `keeper vacuum path/to/app.sqlite3`,"
            f" or add [[databases]] to {readable(config.file)}"
        )
    return (
        "name one, as in `keeper vacuum path/to/app.sqlite3`, or write a keeper.toml with"
        f" [[databases]]; looked for at: {', '.join(SEARCHED)}"
    )
