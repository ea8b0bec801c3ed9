"""What a writer notices: its slowest commits while keeper or something else works beside it."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import copyfile
from statistics import median, quantiles
from typing import Any

import click

from sqlitekeeper.database.files import size_of
from tests.benchmarks.bench import MEBIBYTE, Bench, new_keeper
from tests.benchmarks.databases import free_pages, make_database
from tests.benchmarks.peers import Program, find_rsync, find_sqlite3
from tests.benchmarks.processes import Cost, run
from tests.benchmarks.report import Report, Table
from tests.benchmarks.rounds import Ratio, ratio, spread
from tests.benchmarks.writer import writing

NAME = "writers"
NOTHING = "nothing"
BUSY = "busy processors"
NOT_FINISHED = 124  # of coreutils' timeout
LOCKED = (1, 5)  # of keeper and of SQLite's shell
SAMPLE_SECONDS = 0.005
NOTES = """
each row: a fresh copy of the database, one writer on it, and the action beside it
the writer: BEGIN IMMEDIATE, one row, COMMIT; WAL, synchronous normal, SQLite's own automatic \
checkpoints; it tries again every millisecond while the database is locked, since SQLite's own \
busy timeout sleeps for up to 100 ms and would add that to each wait
p99 and longest: from before BEGIN to after COMMIT; medians of rounds (least to most); p99 of the \
commits during the action, longest of all from its beginning for at least --seconds, so that each \
row has the writer's own checkpoints in it, and what an action leaves to be done by the next commit
busy processors: a process for each core that only counts, for --seconds: what a writer notices \
of anything that computes
not finished: ended after --limit seconds; busy: gave up because others held the database
reader open: another process is inside a read transaction all the time; keeper backup and \
sqlite3_rsync write to a local folder
"""
WRITERS = {"full speed": 0, "200 a second": 200}
# Which of keeper's works does what the others do.
INSTEAD = {
    "keeper backup": (BUSY, "sqlite3 .backup", "sqlite3_rsync"),
    "keeper vacuum --all": ("sqlite3 VACUUM", "sqlite3 incremental_vacuum, all"),
    "keeper TRUNCATE, reader open": ("sqlite3 TRUNCATE for 5 s, reader open",),
}


@dataclass(frozen=True)
class Action:
    """Something to do beside a writer: a command line, and whether a reader is there too."""

    command: Sequence[str | Path]
    environment: Mapping[str, str]
    program: Program | None = None
    reader: bool = False


@dataclass(frozen=True)
class Seen:
    """What a writer noticed of one action, and the longest lock that keeper says it held."""

    outcome: str
    seconds: float
    commits: int
    p99_seconds: float
    longest_seconds: float
    largest_wal_bytes: int
    said_lock_ms: float | None


def measure(
    bench: Bench,
    *,
    size: int,
    free: int,
    seconds: float,
    limit: float,
    rounds: int,
    only: Sequence[str] = (),
) -> Report:
    """Do each action beside each writer, on `size` MiB of data with `free` MiB of free pages.

    With `only`, the actions of these names, and the one called nothing.
    """
    names = list(_actions(bench, bench.folder, limit, seconds))
    if unknown := set(only) - set(names):
        raise click.UsageError(f"--only: {', '.join(unknown)}; there are: {'; '.join(names)}")
    names = [name for name in names if not only or name in {NOTHING, *only}]
    bench.tell(f"{NAME}: making a database of {size} MiB with {free} MiB of free pages")
    original = bench.folder / "original.sqlite3"
    make_database(original, (size + free) * MEBIBYTE)
    free_pages(original, free * MEBIBYTE)
    seen: dict[tuple[str, str], list[Seen]] = {}
    for number in range(rounds):
        for kind, per_second in WRITERS.items():
            shift = number % len(names)
            for name in names[shift:] + names[:shift]:
                bench.tell(f"{NAME}: round {number + 1} of {rounds}: {kind}: {name}")
                database = bench.fresh("writers") / "app.sqlite3"
                copyfile(original, database)
                bench.settle()
                action = _actions(bench, database, limit, seconds)[name]
                one = _beside(bench, database, action, per_second, seconds)
                seen.setdefault((kind, name), []).append(one)
    options = {
        "--size": size,
        "--free-mb": free,
        "--seconds": seconds,
        "--limit": limit,
        "--rounds": rounds,
    }
    return _report(seen, options, [*NOTES.strip().splitlines(), *bench.notes])


def _actions(bench: Bench, database: Path, limit: float, seconds: float) -> dict[str, Action]:
    """All that is done beside a writer, by name; without the programs that are not there."""
    folder = database.parent
    keeper = new_keeper(bench, "keeper", folder, folder / "destination")
    sqlite3, rsync = find_sqlite3(), find_rsync()
    bounded = ["timeout", "--kill-after=5", str(limit)]

    def by_keeper(*arguments: str, reader: bool = False) -> Action:
        command = [*bounded, *keeper.command(*arguments, "--json", "--quiet")]
        return Action(command, keeper.environment(), reader=reader)

    def by_shell(sql: str, *, wait_ms: int, reader: bool = False) -> Action:
        wait = ["-cmd", f".timeout {wait_ms}"]
        command: list[str | Path] = [*bounded, sqlite3.path or "", *wait, database, sql]
        return Action(command, bench.environment, sqlite3, reader)

    def by_counting() -> Action:
        one = f"timeout {seconds} sh -c 'while :; do :; done' & "
        return Action(["sh", "-c", f"{one * (os.cpu_count() or 1)} wait"], bench.environment)

    patient = int(limit * 1000)
    actions = {
        NOTHING: Action([], bench.environment),
        BUSY: by_counting(),
        "keeper backup": by_keeper("backup"),
        "keeper vacuum": by_keeper("vacuum"),
        "keeper vacuum --all": by_keeper("vacuum", "--all"),
        "keeper TRUNCATE, reader open": by_keeper(
            *["vacuum", "--keep-free-pages", "1000000000"], reader=True
        ),
        "sqlite3 VACUUM": by_shell("VACUUM", wait_ms=patient),
        "sqlite3 incremental_vacuum, all": by_shell("PRAGMA incremental_vacuum", wait_ms=patient),
        "sqlite3 TRUNCATE for 5 s, reader open": by_shell(
            "PRAGMA wal_checkpoint(TRUNCATE)", wait_ms=5000, reader=True
        ),
        "sqlite3 .backup": by_shell(f".backup '{folder}/copy.db'", wait_ms=patient),
        "sqlite3_rsync": Action(
            [*bounded, rsync.path or "", database, folder / "copy.db"], bench.environment, rsync
        ),
    }
    return {
        name: action
        for name, action in actions.items()
        if action.program is None or bench.has(action.program)
    }


def _beside(bench: Bench, database: Path, action: Action, per_second: int, seconds: float) -> Seen:
    outcome, said_lock_ms = "done", None
    with (
        writing(database, per_second, bench.environment) as writer,
        _reading(database, bench.environment) if action.reader else nullcontext(),
        _wal_watch(database) as wal,
    ):
        began = time.monotonic()
        if action.command:
            cost = run(
                action.command,
                action.environment,
                database.parent,
                watch=False,
                allowed=(0, NOT_FINISHED, *LOCKED),
            )
            outcome, said_lock_ms = _outcome(cost), _said_lock_ms(cost)
            ended = time.monotonic()
        else:
            ended = began + seconds
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        looked = time.monotonic()
        commits = writer.end()
    latencies = commits.during(began, ended)
    return Seen(
        outcome,
        ended - began,
        len(latencies),
        quantiles(latencies, n=100, method="inclusive")[98] if len(latencies) > 1 else latencies[0],
        max(commits.during(began, looked)),
        max(wal),
        said_lock_ms,
    )


def _outcome(cost: Cost) -> str:
    if cost.status == NOT_FINISHED:
        return "not finished"
    # PRAGMA wal_checkpoint says whether it was held up in the first of three columns.
    if cost.status in LOCKED or re.fullmatch(r"1\|-?\d+\|-?\d+\n", cost.output):
        if not re.search("locked|busy|1\\|", cost.output):
            raise click.ClickException(cost.output)
        return "busy"
    return "done"


def _said_lock_ms(cost: Cost) -> float | None:
    """The longest lock of the run, as keeper vacuum reports it."""
    if not cost.output.startswith("{"):
        return None
    (entry,) = json.loads(cost.output)["databases"]
    lock_ms: float | None = entry.get("longest_lock_ms")
    return lock_ms


@contextmanager
def _reading(database: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """A process that is inside a read transaction."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.processes", "read", database],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", "the reader did not start"
        yield
    finally:
        process.communicate()


@contextmanager
def _wal_watch(database: Path) -> Iterator[list[int]]:
    """The sizes that the WAL has while this lasts."""
    sizes = [0]
    ended = threading.Event()
    wal = database.with_name(f"{database.name}-wal")

    def look() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            sizes.append(size_of(wal))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield sizes
    finally:
        ended.set()
        thread.join()


def _report(
    seen: dict[tuple[str, str], list[Seen]], options: dict[str, Any], notes: Sequence[str]
) -> Report:
    rows = []
    ratios: dict[str, Ratio] = {}

    def compare(kind: str, name: str, other: str) -> None:
        if (kind, other) in seen:
            ours = [one.longest_seconds for one in seen[kind, name]]
            theirs = [one.longest_seconds for one in seen[kind, other]]
            ratios[f"{kind}: longest commit: {name} / {other}"] = ratio(ours, theirs)

    for (kind, name), runs in seen.items():
        if name.startswith("keeper"):
            compare(kind, name, NOTHING)
        for other in INSTEAD.get(name, ()):
            compare(kind, name, other)
        rows.append(
            (
                f"{kind}: {name}",
                ", ".join(dict.fromkeys(one.outcome for one in runs)),
                f"{median(one.seconds for one in runs):.1f}",
                f"{median(one.commits for one in runs):.0f}",
                spread([1000 * one.p99_seconds for one in runs], 1),
                spread([1000 * one.longest_seconds for one in runs], 1),
                f"{max(one.largest_wal_bytes for one in runs) / MEBIBYTE:.1f}",
                ", ".join(f"{one.said_lock_ms:.0f}" for one in runs if one.said_lock_ms),
            )
        )
    columns = (
        *("", "outcome", "seconds", "commits", "p99 ms", "longest ms", "largest WAL MiB"),
        "lock ms, says keeper",
    )
    title = f"Commits beside it, {options['--size']} MiB and {options['--free-mb']} MiB free"
    against = [(name, str(value)) for name, value in ratios.items()]
    figures = {
        "runs": [
            {"writer": kind, "action": name, "round": number} | asdict(one)
            for (kind, name), runs in seen.items()
            for number, one in enumerate(runs, 1)
        ]
    }
    tables = [Table(title, columns, rows), Table("Ratios", ("", "ratio"), against)]
    return Report(NAME, options, tables, ratios, figures, notes)
