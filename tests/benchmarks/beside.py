"""This keeper beside another installed version of it, and the shell script, in turn."""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks.bench import MEBIBYTE, Bench, Destination, new_keeper
from tests.benchmarks.databases import make_databases
from tests.benchmarks.peers import find_sqlite3, script
from tests.benchmarks.processes import Cost, run
from tests.benchmarks.report import Report, Table
from tests.benchmarks.rounds import Ratio, ratio, spread
from tests.benchmarks.slow_line import slow_line

NAME = "beside"
NEW, OLD, SCRIPT = "this", "other", "script"
SLOW_SECONDS = 0.1
NOTES = """
this: the keeper of this folder; other: the one that --other names; script: the two shell lines
each round runs all in turn, the order changes; to rclone serve s3 on the loopback interface
slow: behind a proxy that adds 100 ms to each connection and each request
ratio: of the median wall times (least to most of single rounds); memory: the most of all rounds
"""


@dataclass(frozen=True)
class Case:
    """What is measured: so many databases of a size, on their first day or on one like it."""

    count: int
    size_bytes: int
    unchanged: bool = False
    slow: bool = False
    most_rounds: int = 99


CASES = {
    "unchanged day, 3 x 5 MiB": Case(3, 5 * MEBIBYTE, unchanged=True),
    "unchanged day, 3 x 5 MiB, slow": Case(3, 5 * MEBIBYTE, unchanged=True, slow=True),
    "first backup, 3 x 5 MiB": Case(3, 5 * MEBIBYTE),
    "first backup, 3 x 200 MiB": Case(3, 200 * MEBIBYTE, most_rounds=3),
    "first backup, 1,000 x 100 kB": Case(1000, 100_000, most_rounds=2),
}
Day = Callable[[], Cost]


def measure(bench: Bench, *, other: Path, rounds: int, only: Sequence[str] = ()) -> Report:
    """Run all cases, or `only` those whose names have one of these words in them."""
    chosen = {
        name: case for name, case in CASES.items() if not only or any(word in name for word in only)
    }
    costs: dict[tuple[str, str], list[Cost]] = {}
    for name, case in chosen.items():
        bench.tell(f"{NAME}: {name}: making {case.count} databases")
        databases = bench.folder / "databases"
        bench.grow_old(make_databases(databases, case.count, case.size_bytes))
        with ExitStack() as stack:
            if case.slow:
                port = int(bench.s3.environment["RCLONE_CONFIG_LAB_ENDPOINT"].rpartition(":")[2])
                slow = stack.enter_context(slow_line(port, SLOW_SECONDS))
                bench.environment["RCLONE_CONFIG_LAB_ENDPOINT"] = f"http://127.0.0.1:{slow}"
            days = _days(bench, case, other)
            for number in range(min(rounds, case.most_rounds)):
                names = list(days)
                shift = number % len(names)
                for who in names[shift:] + names[:shift]:
                    bench.tell(f"{NAME}: {name}: round {number + 1}: {who}")
                    bench.settle()
                    costs.setdefault((name, who), []).append(days[who]())
        bench.environment.update(bench.s3.environment)
        bench.drop(databases.name)
    return _report(bench, costs, {"--other": str(other), "--rounds": rounds})


def _days(bench: Bench, case: Case, other: Path) -> dict[str, Day]:
    """What each does in a round, by name."""
    is_python = "python" in other.name
    commands = {
        NEW: ([sys.executable, "-m", "sqlitekeeper"], bench.environment),
        OLD: (
            [str(other), "-m", "sqlitekeeper"] if is_python else [str(other)],
            {name: text for name, text in bench.environment.items() if name != "PYTHONPATH"},
        ),
    }
    databases = bench.folder / "databases"
    days: dict[str, Day] = {}
    for who, (command, environment) in commands.items():

        def live(
            to: Destination, who: str = who, command: list[str] = command, env: object = environment
        ) -> Cost:
            keeper = new_keeper(bench, who, databases, to.to)
            return again(keeper.home, command, env)

        def again(home: Path, command: list[str] = command, env: object = environment) -> Cost:
            assert isinstance(env, dict)
            own = {"KEEPER_CONFIG": str(home / "keeper.toml"), "KEEPER_STATE": str(home / "state")}
            return run([*command, "backup", "--quiet"], env | own, home)

        if case.unchanged:
            live(bench.destination("s3"))
            days[who] = lambda who=who, again=again: again(bench.folder / who)  # type: ignore[misc]
        else:
            days[who] = lambda live=live: _first(bench, live)  # type: ignore[misc]
    if not case.unchanged and bench.has(find_sqlite3()):
        days[SCRIPT] = lambda: _first(
            bench,
            lambda to: run(
                script(databases, bench.fresh("snapshots"), to.to), bench.environment, bench.folder
            ),
        )
    return days


def _first(bench: Bench, live: Callable[[Destination], Cost]) -> Cost:
    """A first backup, to a place that is gone afterwards."""
    to = bench.destination("s3")
    try:
        return live(to)
    finally:
        bench.drop(to.name)


def _report(
    bench: Bench, costs: dict[tuple[str, str], list[Cost]], options: dict[str, object]
) -> Report:
    ratios: dict[str, Ratio] = {}
    rows = []
    for (name, who), runs in costs.items():
        walls = [cost.wall_seconds for cost in runs]
        ours = [cost.wall_seconds for cost in costs[name, NEW]]
        if who != NEW:
            ratios[f"{name}: {NEW} / {who}"] = ratio(ours, walls)
        rows.append(
            (
                f"{name}: {who}",
                spread(walls),
                str(ratios.get(f"{name}: {NEW} / {who}", "")),
                f"{median(cost.cpu_seconds for cost in runs):.2f}",
                f"{max(cost.peak_resident_bytes for cost in runs) / MEBIBYTE:.0f}",
                f"{max(cost.rclone_resident_bytes for cost in runs) / MEBIBYTE:.0f}",
                str(max(cost.rclone_processes for cost in runs)),
            )
        )
    columns = ("", "seconds", f"{NEW} / it", "CPU s", "MiB", "rclone MiB", "rclones")
    figures = {
        "runs": [
            {"case": name, "peer": who, "round": number} | cost.figures()
            for (name, who), runs in costs.items()
            for number, cost in enumerate(runs, 1)
        ]
    }
    table = Table("Two versions of keeper, and the script", columns, rows)
    return Report(
        NAME, options, [table], ratios, figures, [*NOTES.strip().splitlines(), *bench.notes]
    )
