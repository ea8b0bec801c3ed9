"""Thousands of small databases, one for each tenant: what each more of them costs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.bench import MEBIBYTE, Bench, new_keeper
from tests.benchmarks.databases import change, make_databases
from tests.benchmarks.peers import find_sqlite3, script, vacuum_script
from tests.benchmarks.processes import Cost, run
from tests.benchmarks.report import Report, Table
from tests.benchmarks.rounds import Ratio, ratio, spread
from tests.benchmarks.s3_calls import COLUMNS, Calls, calls_since

NAME = "many"
SIZE_BYTES = 100_000
KEEPER, SCRIPT = "keeper", "script"
VACUUM, FIRST, UNCHANGED = "vacuum", "first backup", "unchanged backup"
NOTES = """
databases of 100 kB; vacuum: each has one commit in its WAL; backups go to the S3 server
script: for vacuum, one sqlite3 for each database with incremental_vacuum and a TRUNCATE \
checkpoint; for backups, the two shell lines (VACUUM INTO, rclone sync), unchecked
keeper's ratio: its wall time to that of the script in the same line, of medians
memory without rclone's: anonymous is what the kernel cannot take back; descriptors: of keeper
processes and files are the most that was seen every 10 ms, calls what the S3 server logged
"""


def measure(bench: Bench, *, counts: Sequence[int], rounds: int) -> Report:
    """Work on each number of databases in turn, with a keeper that has no past in each round."""
    seen: dict[tuple[int, str, str], list[tuple[Cost, Calls]]] = {}
    for count in counts:
        bench.tell(f"{NAME}: making {count} databases")
        databases = bench.folder / f"databases-{count}"
        paths = make_databases(databases, count, SIZE_BYTES)
        for number in range(rounds):
            for (work, who), do in _works(bench, databases, paths).items():
                bench.tell(f"{NAME}: round {number + 1} of {rounds}: {count}: {work}: {who}")
                bench.settle()
                bench.s3.forget_calls()
                seen.setdefault((count, work, who), []).append((do(), calls_since(bench.s3)))
        bench.drop(databases.name)
    options = {"--count": list(counts), "--rounds": rounds}
    return _report(seen, options, [*NOTES.strip().splitlines(), *bench.notes])


def _works(
    bench: Bench, databases: Path, paths: Sequence[Path]
) -> dict[tuple[str, str], Callable[[], Cost]]:
    """What is done with the databases, in its order, by work and by who does it."""
    keeper = new_keeper(bench, "keeper", databases, bench.destination("s3").to)
    snapshots = bench.fresh("snapshots")
    to = bench.destination("s3").to

    def after_commits(do: Callable[[], Cost]) -> Callable[[], Cost]:
        def changed() -> Cost:
            for path in paths:
                change(path)
            return do()

        return changed

    def after_a_while(do: Callable[[], Cost]) -> Callable[[], Cost]:
        def old() -> Cost:
            bench.grow_old(paths)
            return do()

        return old

    def by_keeper(*arguments: str) -> Callable[[], Cost]:
        return lambda: keeper.run(*arguments)

    def by_shell(command: list[str]) -> Callable[[], Cost]:
        return lambda: run(command, bench.environment, bench.folder)

    hourly = after_commits(by_shell(vacuum_script(databases)))
    daily = by_shell(script(databases, snapshots, to))
    works = {
        (VACUUM, KEEPER): after_commits(by_keeper("vacuum", "--quiet")),
        (VACUUM, SCRIPT): hourly,
        ("report", KEEPER): by_keeper("report", "--json"),
        (FIRST, SCRIPT): daily,
        (FIRST, KEEPER): after_a_while(by_keeper("backup", "--quiet")),
        (UNCHANGED, KEEPER): by_keeper("backup", "--quiet"),
        (UNCHANGED, SCRIPT): daily,
    }
    if bench.has(find_sqlite3()):
        return works
    return {key: do for key, do in works.items() if key[1] == KEEPER}


def _report(
    seen: dict[tuple[int, str, str], list[tuple[Cost, Calls]]],
    options: dict[str, Any],
    notes: Sequence[str],
) -> Report:
    walls = {key: [cost.wall_seconds for cost, _ in runs] for key, runs in seen.items()}
    ratios: dict[str, Ratio] = {}
    for count, work, who in seen:
        if who == KEEPER and (count, work, SCRIPT) in seen:
            key = f"{count}: {work}: keeper / script"
            ratios[key] = ratio(walls[count, work, KEEPER], walls[count, work, SCRIPT])
    least, *larger = sorted({count for count, _, _ in seen})
    for count, work, who in seen:
        if count in larger:
            each = [seconds / count for seconds in walls[count, work, who]]
            before = [seconds / least for seconds in walls[least, work, who]]
            ratios[f"{work}: {who}: for each database, {count} / {least}"] = ratio(each, before)
    columns = (
        *("", "seconds", "for 1,000", "keeper's ratio", "resident MiB", "anonymous MiB"),
        *("descriptors", "rclone runs", *COLUMNS),
    )
    tables = []
    for count in [least, *larger]:
        rows = []
        for (its, work, who), runs in seen.items():
            if its != count:
                continue
            key = f"{count}: {work}: keeper / script"
            costs = [cost for cost, _ in runs]
            rows.append(
                (
                    f"{work}: {who}",
                    spread(walls[its, work, who]),
                    f"{1000 * median(walls[its, work, who]) / count:.2f}",
                    str(ratios.get(key, "")) if who == SCRIPT else "",
                    f"{max(cost.peak_resident_bytes for cost in costs) / MEBIBYTE:.0f}",
                    f"{max(cost.peak_anonymous_bytes for cost in costs) / MEBIBYTE:.0f}",
                    str(max(cost.most_descriptors for cost in costs)),
                    str(max(cost.rclone_processes for cost in costs)),
                    *runs[-1][1].cells(),
                )
            )
        tables.append(Table(f"{count:,} databases of 100 kB", columns, rows))
    linear = [(key, str(value)) for key, value in ratios.items() if "for each database" in key]
    if linear:
        tables.append(Table("Time for each database; 1 is linear", ("", "ratio"), linear))
    figures = {
        "runs": [
            {"count": count, "work": work, "who": who, "round": number}
            | cost.figures()
            | {"calls": calls.operations, "uploaded_bytes": calls.uploaded_bytes}
            for (count, work, who), runs in seen.items()
            for number, (cost, calls) in enumerate(runs, 1)
        ]
    }
    return Report(NAME, options, tables, ratios, figures, notes)
