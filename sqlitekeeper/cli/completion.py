"""Shell completion of databases, sets of files and destinations."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sqlitekeeper.config import Config, read_config
from sqlitekeeper.errors import KeeperError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def complete_databases(
    context: click.Context, parameter: click.Parameter, begun: str
) -> "list[CompletionItem]":
    """Configured databases that begin like this; paths where none does."""
    return complete_names(context, parameter, begun) or _place("file", begun)


def complete_names(
    context: click.Context, parameter: click.Parameter, begun: str
) -> "list[CompletionItem]":
    """Configured databases that begin like this."""

    def names(config: Config) -> Iterable[str]:
        return (database.name for database in config.databases if not database.unmatched)

    return _configured(context, parameter, begun, names)


def complete_file_sets(
    context: click.Context, parameter: click.Parameter, begun: str
) -> "list[CompletionItem]":
    """Configured `[[files]]` that begin like this."""
    return _configured(context, parameter, begun, lambda config: (f.name for f in config.files))


def complete_folders(
    _context: click.Context, _parameter: click.Parameter, begun: str
) -> "list[CompletionItem]":
    """Folders, once it looks like one: asking rclone for its remotes takes too long."""
    return _place("dir", begun) if begun.startswith(("/", ".", "~")) else []


def complete_paths(
    _context: click.Context, _parameter: click.Parameter, begun: str
) -> "list[CompletionItem]":
    """Files and folders."""
    return _place("file", begun)


def _configured(
    context: click.Context,
    parameter: click.Parameter,
    begun: str,
    names: Callable[[Config], Iterable[str]],
) -> "list[CompletionItem]":
    from click.shell_completion import CompletionItem

    given: Path | None = context.params.get("config_file")
    try:
        # The shell has not expanded what it asks about.
        config = read_config(given.expanduser() if given else None, os.environ)
        found = list(names(config))
    except (KeeperError, OSError, RuntimeError):
        # Nobody who presses a key wants to read why.
        return []
    already = context.params.get(parameter.name or "") or ()
    return [
        CompletionItem(name) for name in found if name.startswith(begun) and name not in already
    ]


def _place(kind: str, begun: str) -> "list[CompletionItem]":
    """What the shell itself completes."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(begun, type=kind)]
