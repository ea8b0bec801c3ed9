"""Options that several commands share."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from sqlitekeeper.cli.completion import complete_databases, complete_folders
from sqlitekeeper.cli.notifications import RunRecord
from sqlitekeeper.cli.session import Session
from sqlitekeeper.config import NOTIFYING
from sqlitekeeper.output.terminal import Console


def prometheus_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command its `--prometheus FILE`."""
    return click.option(
        "--prometheus",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Also write metrics for node_exporter's textfile collector, which reads *.prom."
        " One file for each command: it is replaced as a whole. Readable by everyone (0644),"
        " since the collector is another user.",
    )(function)


def from_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command its `--from REMOTE` option."""
    return click.option(
        "--from",
        "froms",
        multiple=True,
        metavar="REMOTE",
        shell_complete=complete_folders,
        help="Look here, instead of at backup.to of the configuration; repeat it for several.",
    )(function)


def command_name(context: click.Context) -> str:
    """A command's name without the program's, with its group's: "vacuum" or "config init"."""
    name = str(context.info_name)
    group = context.parent
    return f"{command_name(group)} {name}" if group and group.parent else name


def common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that all share, and a `session` argument instead of them."""

    @click.option(
        "-c",
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The keeper.toml to use.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
    @click.option("-q", "--quiet", is_flag=True, help="Say nothing unless something went wrong.")
    @click.option("-v", "--verbose", is_flag=True, help="Say more about each step.")
    @click.option("--no-color", is_flag=True, help="No colours, as with NO_COLOR set.")
    @click.pass_context
    @functools.wraps(function)
    def wrapped(
        context: click.Context,
        /,
        *,
        config_file: Path | None,
        as_json: bool,
        quiet: bool,
        verbose: bool,
        no_color: bool,
        **arguments: Any,
    ) -> int:
        color = False if no_color else None
        console = Console(quiet=quiet, verbose=verbose, color=color, progress=not as_json)
        name = command_name(context)
        # A dry run must not look like a run to those whom [notify] names.
        notifies = name in NOTIFYING and not arguments.get("dry_run")
        record = context.find_object(RunRecord) or RunRecord()
        session = Session(name, as_json, console, config_file, notifies, record)
        try:
            status: int = function(session, **arguments)
        finally:
            console.close()
        return status

    return wrapped


def database_arguments(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command its `[DATABASE]...` argument."""
    argument = click.argument(
        "names", nargs=-1, metavar="[DATABASE]...", shell_complete=complete_databases
    )
    return argument(function)


def jobs_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option that says how many databases it works on at once."""
    return click.option(
        "-j",
        "--jobs",
        type=click.IntRange(min=1),
        default=os.cpu_count() or 1,
        metavar="N",
        help="Work on this many databases at once.  [default: one for each core]",
    )(function)
