"""What a benchmark found: tables for people, in Markdown, and JSON for programs."""

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from tests.benchmarks.rounds import Ratio


@dataclass(frozen=True)
class Table:
    """A table of text: `columns` are its heads; the first column is for names."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Report:
    """All that one benchmark has to say.

    `figures` is whatever was measured, round by round, as JSON has it, times in
    seconds and sizes in bytes; `notes` say what stands behind the figures and
    what is missing.
    """

    benchmark: str
    options: Mapping[str, Any]
    tables: Sequence[Table]
    ratios: Mapping[str, Ratio]
    figures: Mapping[str, Any]
    notes: Sequence[str]


def show(report: Report, machine: Mapping[str, Any]) -> None:
    """Print a report's tables and notes."""
    at = datetime.now(UTC)
    options = " ".join(f"{name} {_plain(value)}" for name, value in report.options.items())
    click.echo(f"## {report.benchmark}: {options}\n")
    for table in report.tables:
        click.echo(f"{table.title}\n\n{markdown(table)}\n")
    for note in report.notes:
        click.echo(f"- {note}")
    versions = machine["versions"].items()
    told = ", ".join(f"{name} {version}" for name, version in versions if version)
    click.echo(
        f"- {at:%Y-%m-%d}, {machine['cores']} cores, {machine['file_system']},"
        f" Linux {machine['kernel']}, {told}\n"
    )


def _plain(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def markdown(table: Table) -> str:
    """A table in Markdown whose columns stand one below the other."""
    lines = [table.columns, *table.rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(table.columns))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    text = []
    for line in (table.columns, rule, *table.rows):
        cells = [
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text)


def write_json(file: Path, reports: Sequence[Report], machine: Mapping[str, Any]) -> None:
    """Write reports for programs: one object, with a list of `benchmarks`."""
    value = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": ["python", "-m", "tests.benchmarks", *sys.argv[1:]],
        "machine": machine,
        "benchmarks": [dataclasses.asdict(report) for report in reports],
    }
    file.write_text(json.dumps(value, indent=1, default=str) + "\n")
