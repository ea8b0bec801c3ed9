"""The command line of the benchmarks."""

import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from tests.benchmarks import (
    beside,
    calls,
    codec,
    many,
    startup,
    store,
    unchanged,
    whole,
    writers,
)
from tests.benchmarks.bench import Bench, new_bench
from tests.benchmarks.machine import machine_facts
from tests.benchmarks.report import Report, show, write_json

Measure = Callable[..., Report]
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

# What README shows the figures of.
README = (
    partial(whole.measure, count=3, size=200, rounds=2),
    partial(whole.measure, count=3, size=700, rounds=2),
    partial(unchanged.measure, count=3, size=700, rounds=2),
    partial(writers.measure, size=200, free=200, seconds=10.0, limit=30.0, rounds=2),
    partial(many.measure, counts=(1000, 10_000), rounds=1),
    partial(calls.measure, counts=(3, 1000), size_kb=100, stored_gb=50.0, database_gb=2.0),
    partial(store.measure, size=120, share=0.01, bwlimit="2.5M"),
    partial(startup.measure, rounds=20),
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def benchmarks() -> None:
    """Measure keeper beside its alternatives in one run.

    Each benchmark makes its own databases in a private folder, runs keeper and its
    peers in turn, prints tables in Markdown, and leaves nothing behind.
    """


def _run(
    measures: Sequence[Callable[[Bench], Report]], folder: Path | None, json_file: Path | None
) -> None:
    reports = []
    with new_bench(folder) as bench:
        machine = machine_facts(bench.folder)
        for measure in measures:
            report = measure(bench)
            bench.clear()
            show(report, machine)
            reports.append(report)
            # After each one: those that are done stay if a later one fails.
            if json_file:
                write_json(json_file, reports, machine)


_json = click.option(
    *("--json", "json_file"), type=click.Path(path_type=Path), help="Write a JSON file too."
)
_folder = click.option(
    "--folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Work in a private folder below this one.  [default: that for temporary files]",
)


def _number(*names: str, default: float, least: float, text: str) -> Decorator:
    kind = click.FloatRange if isinstance(default, float) else click.IntRange
    return click.option(*names, type=kind(min=least), default=default, show_default=True, help=text)


def _add(measure: Measure, name: str, text: str, *options: Decorator) -> None:
    """Make a command of a benchmark; its options are the arguments of `measure`."""

    def command(folder: Path | None, json_file: Path | None, **arguments: Any) -> None:
        _run([partial(measure, **arguments)], folder, json_file)

    for option in reversed([*options, _folder, _json]):
        command = option(command)
    benchmarks.command(name, help=text, short_help=text)(command)


_size = _number("--size", default=200, least=1, text="MiB of each database.")
_count = _number("--count", default=3, least=1, text="How many databases.")


def _counts(*default: int) -> Decorator:
    return click.option(
        *("--count", "counts"),
        type=click.IntRange(min=1),
        multiple=True,
        default=default,
        show_default=True,
        help="How many databases; several times for several figures.",
    )


def _rounds(default: int) -> Decorator:
    return _number("--rounds", default=default, least=1, text="How often each is measured.")


_add(
    whole.measure,
    whole.NAME,
    "A first backup, beside the shell script, cp and Litestream.",
    *(_count, _size, _rounds(3)),
)
_add(
    unchanged.measure,
    unchanged.NAME,
    "A day on which nothing has changed, beside the shell script.",
    *(_count, _size, _rounds(3)),
)
_add(
    writers.measure,
    writers.NAME,
    "What writers notice, beside VACUUM, .backup, sqlite3_rsync and the like.",
    _size,
    _number("--free-mb", "free", default=200, least=1, text="MiB of free pages."),
    _number("--seconds", default=5.0, least=0.1, text="How long nothing is done, to compare."),
    _number("--limit", default=60.0, least=1, text="Seconds after which an action is ended."),
    _rounds(3),
    click.option("--only", multiple=True, help="Only this action; several times for several."),
)
_add(
    many.measure,
    many.NAME,
    "Thousands of small databases, beside the shell script.",
    *(_counts(1000), _rounds(1)),
)
_add(
    calls.measure,
    calls.NAME,
    "API calls by kind of day and by provider, and what they cost, beside the shell script.",
    _counts(3, 1000),
    _number("--size-kb", default=100, least=1, text="kB of each database."),
    _number("--stored-gb", default=50.0, least=0, text="GB that all of keeper's snapshots take."),
    _number("--database-gb", default=2.0, least=0, text="GB of all databases together."),
)
_add(
    codec.measure,
    codec.NAME,
    "A day's snapshot compressed and as a delta, for several kinds of days.",
    _number("--size", default=20, least=1, text="MiB of each database."),
    _rounds(2),
    click.option("--only", multiple=True, help="Only this kind of day; several times."),
)
_add(
    store.measure,
    store.NAME,
    "A week of dailies in each store, beside dated copies, restic, borg and Litestream.",
    _number("--size", default=20, least=1, text="MiB of the database."),
    _number("--share", default=0.01, least=0.0, text="Part of the rows that changes in a day."),
    click.option("--bwlimit", default="", help="Also a day over an uplink of that, as 2.5M."),
)
_add(
    startup.measure,
    startup.NAME,
    "Starting keeper, beside starting Python.",
    _rounds(20),
)
_add(
    beside.measure,
    beside.NAME,
    "This keeper beside another installed version, and the shell script.",
    click.option(
        "--other",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        required=True,
        help="The other one's `keeper`, or the python of its environment.",
    ),
    _rounds(5),
    click.option("--only", multiple=True, help="Only cases with this word; several times."),
)


@benchmarks.command("all", short_help="All of them, at the sizes that README shows.")
@_folder
@_json
def all_command(folder: Path | None, json_file: Path | None) -> None:
    """All of them, at the sizes that README shows; takes half an hour and 10 GB of disk."""
    _run(README, folder, json_file)


if __name__ == "__main__":
    # So that whoever ends it finds no folder and no server left.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    benchmarks(prog_name="python -m tests.benchmarks")
