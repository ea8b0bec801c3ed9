"""How long it takes until anything happens: keeper beside Python itself."""

from tests.benchmarks.bench import MEBIBYTE, Bench, new_keeper
from tests.benchmarks.databases import make_databases
from tests.benchmarks.processes import run
from tests.benchmarks.report import Report, Table
from tests.benchmarks.rounds import ratio, spread

NAME = "startup"
PYTHON = "python -c pass"
NOTES = """
keeper is started as `python -m sqlitekeeper`, by the same Python
"""


def measure(bench: Bench, *, rounds: int) -> Report:
    """Start each in turn, `rounds` times."""
    databases = bench.folder / "databases"
    make_databases(databases, 1, MEBIBYTE)
    keeper = new_keeper(bench, "keeper", databases, bench.destination("local").to)
    commands = {
        PYTHON: [keeper.command()[0], "-c", "pass"],
        "keeper --version": keeper.command("--version"),
        "keeper vacuum, nothing to do": keeper.command("vacuum"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    # The first round only fills caches.
    for number in range(rounds + 1):
        for name, command in commands.items():
            cost = run(command, keeper.environment(), keeper.home, watch=False)
            if number:
                seconds[name].append(cost.wall_seconds)
    ratios = {
        f"{name} / {PYTHON}": ratio(values, seconds[PYTHON])
        for name, values in seconds.items()
        if name != PYTHON
    }
    rows = [
        (
            name,
            spread([1000 * value for value in values], 0),
            str(ratios.get(f"{name} / {PYTHON}", "")),
        )
        for name, values in seconds.items()
    ]
    table = Table("Start-up", ("", "milliseconds", f"ratio to {PYTHON}"), rows)
    notes = [*NOTES.strip().splitlines(), *bench.notes]
    return Report(NAME, {"--rounds": rounds}, [table], ratios, {"seconds": seconds}, notes)
