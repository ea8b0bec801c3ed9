"""The command line of the benchmarks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tests.benchmarks import calls, many, startup, unchanged, whole, writers
from tests.benchmarks.bench import Bench, new_bench
from tests.benchmarks.machine import machine_facts
from tests.benchmarks.report import Report, show, write_json


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def benchmarks() -> None:
    """Measure keeper beside what else one would use, side by side in one run.

    Each benchmark makes its own databases in a private folder, runs keeper and its
    peers in turn, prints a table in Markdown, and leaves nothing behind.
    """


def _measured(
    measures: Callable[[Bench], list[Report]], folder: Path | None, json_file: Path | None
) -> None:
    with new_bench(folder) as bench:
        machine = machine_facts(bench.folder)
        reports = measures(bench)
    for report in reports:
        show(report, machine)
    if json_file:
        write_json(json_file, reports, machine)


def _common(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that all benchmarks share."""
    for option in (
        click.option(
            "--json", "json_file", type=click.Path(path_type=Path), help="Write a JSON file too."
        ),
        click.option(
            "--folder",
            type=click.Path(path_type=Path, exists=True, file_okay=False),
            help="Work in a private folder below this one.  [default: that for temporary files]",
        ),
    ):
        function = option(function)
    return function


_rounds = click.option(
    "--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="How often."
)


_count = click.option(
    "--count", type=click.IntRange(min=1), default=3, show_default=True, help="Databases."
)
_size = click.option(
    "--size", type=click.IntRange(min=1), default=200, show_default=True, help="MiB of each."
)


@benchmarks.command("whole")
@_count
@_size
@_rounds
@_common
def whole_command(
    count: int, size: int, rounds: int, folder: Path | None, json_file: Path | None
) -> None:
    """A first backup, against the shell script, cp and Litestream."""

    def measure(bench: Bench) -> list[Report]:
        return [whole.measure(bench, count=count, size=size, rounds=rounds)]

    _measured(measure, folder, json_file)


@benchmarks.command("unchanged")
@_count
@_size
@_rounds
@_common
def unchanged_command(
    count: int, size: int, rounds: int, folder: Path | None, json_file: Path | None
) -> None:
    """A day on which nothing has changed, against the shell script."""

    def measure(bench: Bench) -> list[Report]:
        return [unchanged.measure(bench, count=count, size=size, rounds=rounds)]

    _measured(measure, folder, json_file)


@benchmarks.command("writers")
@_size
@click.option(
    *("--free-mb", "free"),
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="MiB of free pages.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    help="How long nothing is done, to compare with.",
)
@click.option(
    "--limit",
    type=click.FloatRange(min=1),
    default=60.0,
    show_default=True,
    help="Seconds after which an action is ended.",
)
@click.option("--only", multiple=True, help="Only this action; several times for several.")
@_rounds
@_common
def writers_command(
    only: tuple[str, ...],
    size: int,
    free: int,
    seconds: float,
    limit: float,
    rounds: int,
    folder: Path | None,
    json_file: Path | None,
) -> None:
    """What writers notice, against VACUUM, .backup, sqlite3_rsync and the like."""

    def measure(bench: Bench) -> list[Report]:
        return [
            writers.measure(
                bench,
                size=size,
                free=free,
                seconds=seconds,
                limit=limit,
                rounds=rounds,
                only=only,
            )
        ]

    _measured(measure, folder, json_file)


@benchmarks.command("many")
@click.option(
    "--count",
    "counts",
    type=click.IntRange(min=1),
    multiple=True,
    default=(1000,),
    show_default=True,
    help="Databases; several times for several numbers of them.",
)
@click.option(
    "--rounds", type=click.IntRange(min=1), default=1, show_default=True, help="How often."
)
@_common
def many_command(
    counts: tuple[int, ...], rounds: int, folder: Path | None, json_file: Path | None
) -> None:
    """Thousands of small databases, against the shell script."""
    _measured(lambda bench: [many.measure(bench, counts=counts, rounds=rounds)], folder, json_file)


@benchmarks.command("calls")
@click.option(
    "--count",
    "counts",
    type=click.IntRange(min=1),
    multiple=True,
    default=(3, 1000),
    show_default=True,
    help="Databases; several times for several numbers of them.",
)
@click.option(
    "--size", type=click.IntRange(min=1), default=1, show_default=True, help="MiB of each."
)
@click.option(
    "--stored-gb",
    type=click.FloatRange(min=0),
    default=50.0,
    show_default=True,
    help="GB that all of keeper's snapshots take.",
)
@click.option(
    "--database-gb",
    type=click.FloatRange(min=0),
    default=2.0,
    show_default=True,
    help="GB of all databases together.",
)
@_common
def calls_command(
    counts: tuple[int, ...],
    size: int,
    stored_gb: float,
    database_gb: float,
    folder: Path | None,
    json_file: Path | None,
) -> None:
    """API calls by day and by provider, and what they cost, against the shell script."""

    def measure(bench: Bench) -> list[Report]:
        return [
            calls.measure(
                bench, counts=counts, size=size, stored_gb=stored_gb, database_gb=database_gb
            )
        ]

    _measured(measure, folder, json_file)


@benchmarks.command("startup")
@click.option("--rounds", type=click.IntRange(min=1), default=20, show_default=True)
@_common
def startup_command(rounds: int, folder: Path | None, json_file: Path | None) -> None:
    """Starting keeper, against starting Python."""
    _measured(lambda bench: [startup.measure(bench, rounds=rounds)], folder, json_file)


if __name__ == "__main__":
    benchmarks(prog_name="python -m tests.benchmarks")
