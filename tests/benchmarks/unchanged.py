"""A day on which nothing has changed: keeper beside the script."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from tests.benchmarks.bench import MEBIBYTE, TARGETS, Bench, new_keeper
from tests.benchmarks.databases import make_databases
from tests.benchmarks.peers import find_sqlite3, script
from tests.benchmarks.processes import Cost, run
from tests.benchmarks.report import Report, Table
from tests.benchmarks.rounds import Ratio, ratio, spread
from tests.benchmarks.s3_calls import COLUMNS, Calls, calls_since

NAME = "unchanged"
SYNC = "script"
CHECKSUM = "script, sync --checksum"
NOTES = """
each has backed the same databases up before, which is not measured; nothing has been written since
script: makes the snapshots again and syncs them; --checksum compares content, not times
keeper's ratio: its wall time to that of the row, of medians (least to most of single rounds); \
JSON has that of CPU seconds too, which depends less on what else the machine does
calls are those of one day, as the S3 server logged them; uploaded: bytes of all objects sent
"""


def measure(bench: Bench, *, count: int, size: int, rounds: int) -> Report:
    """Back up what has not changed, once in each round."""
    bench.tell(f"{NAME}: making {count} databases of {size} MiB")
    databases = bench.folder / "databases"
    bench.grow_old(make_databases(databases, count, size * MEBIBYTE))
    costs: dict[tuple[str, str], list[Cost]] = {}
    calls: dict[str, list[Calls]] = {}
    for target in TARGETS:
        days = _days(bench, target)
        for name, day in days.items():
            bench.tell(f"{NAME}: the day before: {name} to {target}")
            day()
        for number in range(rounds):
            names = list(days)
            shift = number % len(names)
            for name in names[shift:] + names[:shift]:
                bench.tell(f"{NAME}: round {number + 1} of {rounds}: {name} to {target}")
                bench.settle()
                bench.s3.forget_calls()
                costs.setdefault((target, name), []).append(days[name]())
                if target == "s3":
                    calls.setdefault(name, []).append(calls_since(bench.s3))
    options = {"--count": count, "--size": size, "--rounds": rounds}
    return _report(costs, calls, options, [*NOTES.strip().splitlines(), *bench.notes])


def _days(bench: Bench, target: str) -> dict[str, Callable[[], Cost]]:
    """What each does every day, by name, each with a destination of its own."""
    databases = bench.folder / "databases"
    keeper = new_keeper(bench, "keeper", databases, bench.destination(target).to)
    days: dict[str, Callable[[], Cost]] = {"keeper": lambda: keeper.run("backup", "--quiet")}

    def script_day(name: str, *options: str) -> None:
        to = bench.destination(target).to
        snapshots = bench.fresh(f"snapshots-{len(days)}")
        command = script(databases, snapshots, to, *options)
        days[name] = lambda: run(command, bench.environment, bench.folder, staging=snapshots)

    if bench.has(find_sqlite3()):
        script_day(SYNC)
        script_day(CHECKSUM, "--checksum")
    return days


def _report(
    costs: dict[tuple[str, str], list[Cost]],
    calls: dict[str, list[Calls]],
    options: dict[str, Any],
    notes: Sequence[str],
) -> Report:
    ratios: dict[str, Ratio] = {}
    rows = []
    for (target, name), runs in sorted(costs.items(), reverse=True):
        walls = [cost.wall_seconds for cost in runs]
        key = f"{target}: keeper / {name}"
        if name != "keeper":
            ours = [cost.wall_seconds for cost in costs[target, "keeper"]]
            ratios[key] = ratio(ours, walls)
            ours = [cost.cpu_seconds for cost in costs[target, "keeper"]]
            theirs = [cost.cpu_seconds for cost in runs]
            ratios[f"{target}: CPU: keeper / {name}"] = ratio(ours, theirs)
        days = calls.get(name, []) if target == "s3" else []
        rows.append(
            (
                f"{name} to {target}",
                spread(walls),
                str(ratios.get(key, "")),
                f"{median(cost.cpu_seconds for cost in runs):.2f}",
                str(max(day.uploaded_bytes for day in days)) if days else "",
                *(days[-1].cells() if days else [""] * len(COLUMNS)),
            )
        )
    columns = ("", "seconds", "keeper's ratio", "CPU s", "uploaded bytes", *COLUMNS)
    title = f"{options['--count']} databases of {options['--size']} MiB, nothing changed"
    figures = {
        "runs": [
            {"target": target, "peer": name, "round": number} | cost.figures()
            for (target, name), runs in costs.items()
            for number, cost in enumerate(runs, 1)
        ],
        "calls": {name: [asdict(day) for day in days] for name, days in calls.items()},
    }
    return Report(NAME, options, [Table(title, columns, rows)], ratios, figures, notes)
