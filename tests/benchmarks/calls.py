"""The API calls of each kind of day, how providers bill them, and what a month costs."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.benchmarks.bench import MEBIBYTE, Bench, Keeper, new_keeper
from tests.benchmarks.databases import change, make_databases
from tests.benchmarks.peers import find_sqlite3, script
from tests.benchmarks.prices import PROVIDERS
from tests.benchmarks.processes import run
from tests.benchmarks.report import Report, Table
from tests.benchmarks.rounds import Ratio
from tests.benchmarks.s3_calls import COLUMNS, Calls, calls_since

NAME = "calls"
KEEPER, SCRIPT = "keeper", "script"
FIRST, UNCHANGED, CHANGED, PRUNE = "first day", "unchanged day", "changed day", "day with prune"
STATUS, DRILL = "status", "drill"
# A month of a cron job whose databases change every day.
MONTH = {KEEPER: {PRUNE: 30, STATUS: 30, DRILL: 4}, SCRIPT: {CHANGED: 30}}
# On the day with prune there is one snapshot of each database too many.
KEEP_TWO = "keep_last = 2\nkeep_daily = 0\nkeep_weekly = 0\nkeep_monthly = 0\n"
NOTES = """
counted in the log of rclone serve s3; rclone uploads what is larger than 200 MiB in parts of \
5 MiB, each of them one more PUT, so try --size-kb 300000 too
changed day: every database has changed; day with prune: so too, and one snapshot of each goes; \
script: the two shell lines (VACUUM INTO, rclone sync), which keep one copy and no other day's
B2's classes are an inference: what its S3-compatible API bills under these names; rclone's own \
b2 backend makes other calls, such as one b2_authorize_account (class C) whenever rclone starts
a month: of keeper 30 days with prune, 30 times status and 4 drills; of the script 30 changed \
days; list prices without what comes free; storage: --stored-gb for keeper's snapshots, \
--database-gb for the script's one copy; downloads: --database-gb for each drill
"""

Key = tuple[int, str, str]
# Dollars by provider and by what for.
Month = dict[str, dict[str, float]]


def measure(
    bench: Bench, *, counts: Sequence[int], size_kb: int, stored_gb: float, database_gb: float
) -> Report:
    """Live through each kind of day with each number of databases of `size_kb` kB."""
    seen: dict[Key, Calls] = {}
    for count in counts:
        bench.tell(f"{NAME}: making {count} databases of {size_kb} kB")
        databases = bench.folder / f"databases-{count}"
        paths = make_databases(databases, count, size_kb * 1000)
        for (day, who), live in _days(bench, databases, paths).items():
            bench.tell(f"{NAME}: {count} databases: {day}: {who}")
            bench.s3.forget_calls()
            live()
            seen[count, day, who] = calls_since(bench.s3)
        bench.drop(databases.name)
    options = {
        "--count": list(counts),
        "--size-kb": size_kb,
        "--stored-gb": stored_gb,
        "--database-gb": database_gb,
    }
    return _report(seen, options, [*NOTES.strip().splitlines(), *bench.notes])


def _days(
    bench: Bench, databases: Path, paths: Sequence[Path]
) -> dict[tuple[str, str], Callable[[], object]]:
    """Every kind of day in an order that makes sense, by name and by who lives it."""
    to = bench.destination("s3").to
    keeper = new_keeper(bench, "keeper", databases, to)
    shell = script(databases, bench.fresh("snapshots"), bench.destination("s3").to)

    def by_shell() -> None:
        run(shell, bench.environment, bench.folder, watch=False)

    def by_keeper(command: str) -> Callable[[], None]:
        return lambda: _run(keeper, command)

    def changed(live: Callable[[], None]) -> Callable[[], None]:
        def day() -> None:
            for path in paths:
                change(path)
            live()

        return day

    def prune_day() -> None:
        with (keeper.home / "keeper.toml").open("a") as config:
            config.write(KEEP_TWO)
        changed(by_keeper("backup"))()

    days: dict[tuple[str, str], Callable[[], object]] = {
        (FIRST, SCRIPT): by_shell,
        (FIRST, KEEPER): by_keeper("backup"),
        (UNCHANGED, SCRIPT): by_shell,
        (UNCHANGED, KEEPER): by_keeper("backup"),
        (CHANGED, SCRIPT): changed(by_shell),
        (CHANGED, KEEPER): changed(by_keeper("backup")),
        (PRUNE, KEEPER): prune_day,
        (STATUS, KEEPER): by_keeper("status"),
        (DRILL, KEEPER): by_keeper("drill"),
    }
    if bench.has(find_sqlite3()):
        return days
    return {key: live for key, live in days.items() if key[1] == KEEPER}


def _run(keeper: Keeper, command: str) -> None:
    keeper.run(command, "--quiet", watch=False)


def _report(seen: Mapping[Key, Calls], options: dict[str, Any], notes: Sequence[str]) -> Report:
    ratios: dict[str, Ratio] = {}
    tables = []
    months: dict[str, dict[str, Month]] = {}
    for count in dict.fromkeys(count for count, _, _ in seen):
        its = {(day, who): calls for (its, day, who), calls in seen.items() if its == count}
        for day, who in its:
            if who == KEEPER and (day, SCRIPT) in its:
                ours = sum(its[day, KEEPER].operations.values())
                theirs = sum(its[day, SCRIPT].operations.values())
                one = ours / theirs
                ratios[f"{count} databases: {day}: calls: keeper / script"] = Ratio(one, one, one)
        months[str(count)] = {
            who: _month(its, who, options) for who in dict.fromkeys(who for _, who in its)
        }
        tables += _tables(count, its, months[str(count)])
    figures = {
        "days": [
            {"count": count, "day": day, "who": who} | asdict(calls)
            for (count, day, who), calls in seen.items()
        ],
        "dollars_a_month": months,
        "prices": [asdict(provider) for provider in PROVIDERS],
    }
    compared = [(name, str(value)) for name, value in ratios.items()]
    tables += [Table("All calls of a day", ("", "ratio"), compared), _prices()]
    return Report(NAME, options, tables, ratios, figures, notes)


def _month(its: Mapping[tuple[str, str], Calls], who: str, options: Mapping[str, float]) -> Month:
    """What a month costs."""
    operations: Counter[str] = Counter()
    for day, times in MONTH[who].items():
        for name, number in its[day, who].operations.items():
            operations[name] += times * number
    stored = options["--stored-gb"] if who == KEEPER else options["--database-gb"]
    downloaded = MONTH[who].get(DRILL, 0) * options["--database-gb"]
    return {
        provider.name: {
            "calls": provider.cost(operations),
            "storage": provider.storage * stored,
            "downloads": provider.download * downloaded,
        }
        for provider in PROVIDERS
    }


def _tables(
    count: int,
    its: Mapping[tuple[str, str], Calls],
    months: Mapping[str, Month],
) -> list[Table]:
    # The last provider differs from the one before by its prices, not by its classes.
    providers = PROVIDERS[:-1]
    classes = [
        f"{provider.name.split()[-1] if provider.name[0] != 'S' else 'S3'} {kind}"
        for provider in providers
        for kind in provider.classes
    ]
    rows = [
        (
            f"{day}: {who}",
            *calls.cells(),
            f"{calls.uploaded_bytes / MEBIBYTE:.1f}",
            *(
                str(number)
                for provider in providers
                for number in provider.billed(calls.operations).values()
            ),
        )
        for (day, who), calls in its.items()
    ]
    columns = ("", *COLUMNS, "uploaded MiB", *classes)
    dollars = [
        (
            f"{who}: {provider}",
            *(f"{amount:.4f}" for amount in costs.values()),
            f"{sum(costs.values()):.2f}",
        )
        for who, month in months.items()
        for provider, costs in month.items()
    ]
    return [
        Table(f"{count:,} databases: calls, and how they are billed", columns, rows),
        Table(
            f"{count:,} databases: dollars a month",
            ("", "calls", "storage", "downloads", "sum"),
            dollars,
        ),
    ]


def _prices() -> Table:
    rows = [
        (
            provider.name,
            "; ".join(f"{kind}: {price:g}" for kind, price in provider.per_thousand.items()),
            f"{provider.storage:g}",
            f"{provider.download:g}",
            provider.free,
            provider.source,
            provider.read,
        )
        for provider in PROVIDERS
    ]
    columns = ("", "1,000 calls", "GB stored", "GB downloaded", "comes free", "source", "read")
    return Table("Prices in dollars", columns, rows)
