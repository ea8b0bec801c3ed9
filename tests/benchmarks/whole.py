"""A whole first backup: keeper with its checks, beside the script that checks nothing."""

from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import click

from tests.benchmarks.bench import MEBIBYTE, TARGETS, Bench, Destination, new_keeper
from tests.benchmarks.databases import make_databases
from tests.benchmarks.litestream import litestream_for_once, replicate_once
from tests.benchmarks.peers import copy, find_sqlite3, script
from tests.benchmarks.processes import Cost, folder_bytes, run
from tests.benchmarks.report import Report, Table
from tests.benchmarks.rounds import Ratio, ratio, spread

NAME = "whole"
NOTES = """
keeper: VACUUM INTO, integrity_check, foreign keys, sha256, row counts, upload, manifest, and what \
confirms it; script: sqlite3 VACUUM INTO and rclone sync, unchecked; cp: cp and fsync, no snapshot
keeper's ratio: its wall time to that of the row, of medians (least to most of single rounds); \
JSON has that of CPU seconds too, which depends less on what else the machine does
the S3 server runs on the same cores; its time is not among the CPU seconds
resident: ru_maxrss of the largest process but rclone, mapped files included; anonymous: what the \
kernel cannot take back; both, and the bytes in staging, are the most that was seen every 10 ms
the databases are in the page cache, as on a server that uses them
"""

Peer = Callable[[Destination], Cost]


def measure(bench: Bench, *, count: int, size: int, rounds: int) -> Report:
    """Back up `count` databases of `size` MiB each, for the first time, in each round."""
    bench.tell(f"{NAME}: making {count} databases of {size} MiB")
    databases = bench.folder / "databases"
    paths = make_databases(databases, count, size * MEBIBYTE)
    total = folder_bytes(databases)
    largest = max(path.stat().st_size for path in paths)
    costs: dict[tuple[str, str], list[Cost]] = {}
    for number in range(rounds):
        for target in TARGETS:
            peers = _peers(bench, databases, target)
            # Nobody is always the first.
            names = list(peers)
            shift = number % len(names)
            for name in names[shift:] + names[:shift]:
                bench.tell(f"{NAME}: round {number + 1} of {rounds}: {name} to {target}")
                to = bench.destination(target)
                bench.settle()
                costs.setdefault((target, name), []).append(peers[name](to))
                bench.drop(to.name, "snapshots", "keeper")
    options = {"--count": count, "--size": size, "--rounds": rounds}
    return _report(bench, costs, options, largest, total)


def _peers(bench: Bench, databases: Path, target: str) -> dict[str, Peer]:
    """What is measured to a target, by name."""
    count = len(list(databases.glob("*.sqlite3")))

    def shipped(to: Destination, cost: Cost) -> Cost:
        found = len(list(to.folder.rglob("*.sqlite3")))
        if found != count:
            raise click.ClickException(
                f"{found} of {count} databases are at {to.to}\n{cost.output}"
            )
        return cost

    def keeper(to: Destination) -> Cost:
        one = new_keeper(bench, "keeper", databases, to.to)
        return shipped(to, one.run("backup", "--quiet"))

    def shell(to: Destination) -> Cost:
        snapshots = bench.fresh("snapshots")
        command = script(databases, snapshots, to.to)
        return shipped(to, run(command, bench.environment, bench.folder, staging=snapshots))

    def floor(to: Destination) -> Cost:
        to.folder.mkdir()
        return shipped(to, run(copy(databases, to.folder), bench.environment, bench.folder))

    def litestream(to: Destination) -> Cost:
        return replicate_once(bench, databases, to)

    peers: dict[str, Peer] = {"keeper": keeper}
    if bench.has(find_sqlite3()):
        peers["script"] = shell
    if target == "local":
        peers["cp"] = floor
    if bench.has(litestream_for_once()):
        peers["litestream"] = litestream
    return peers


def _report(
    bench: Bench,
    costs: dict[tuple[str, str], list[Cost]],
    options: dict[str, Any],
    largest: int,
    total: int,
) -> Report:
    ratios: dict[str, Ratio] = {}
    for (target, name), runs in costs.items():
        if name != "keeper":
            ours = [cost.wall_seconds for cost in costs[target, "keeper"]]
            theirs = [cost.wall_seconds for cost in runs]
            ratios[f"{target}: keeper / {name}"] = ratio(ours, theirs)
            ours = [cost.cpu_seconds for cost in costs[target, "keeper"]]
            theirs = [cost.cpu_seconds for cost in runs]
            ratios[f"{target}: CPU: keeper / {name}"] = ratio(ours, theirs)
    columns = (
        *("", "seconds", "keeper's ratio", "CPU s", "resident MiB", "anonymous MiB"),
        *("rclone MiB", "staged / largest"),
    )
    rows = [
        (
            f"{name} to {target}",
            spread([cost.wall_seconds for cost in runs]),
            str(ratios.get(f"{target}: keeper / {name}", "")),
            f"{median(cost.cpu_seconds for cost in runs):.2f}",
            _mebibytes(cost.peak_resident_bytes for cost in runs),
            _mebibytes(cost.peak_anonymous_bytes for cost in runs),
            _mebibytes(cost.rclone_resident_bytes for cost in runs),
            f"{max(cost.most_staged_bytes for cost in runs) / largest:.2f}",
        )
        for (target, name), runs in sorted(costs.items(), reverse=True)
    ]
    title = f"{options['--count']} databases of {options['--size']} MiB, first backup"
    figures = {
        "largest_bytes": largest,
        "total_bytes": total,
        "runs": [
            {"target": target, "peer": name, "round": number} | cost.figures()
            for (target, name), runs in costs.items()
            for number, cost in enumerate(runs, 1)
        ],
    }
    notes = [*NOTES.strip().splitlines(), *bench.notes]
    return Report(NAME, options, [Table(title, columns, rows)], ratios, figures, notes)


def _mebibytes(values: Iterable[int]) -> str:
    return f"{max(values) / MEBIBYTE:.0f}"
