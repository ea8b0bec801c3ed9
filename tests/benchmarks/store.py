"""A week of dailies: what each way to store them takes, in bytes and time, beside the peers."""

import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import apsw

from tests.benchmarks.bench import MEBIBYTE, Bench, Keeper, new_keeper
from tests.benchmarks.litestream import configure
from tests.benchmarks.peers import Program, find_litestream, find_sqlite3
from tests.benchmarks.processes import Cost, folder_bytes, run
from tests.benchmarks.report import Report, Table
from tests.benchmarks.rounds import Ratio
from tests.benchmarks.workloads import BATCH, WORKLOADS

NAME = "store"
DAYS = 7
STORES = ("plain", "zstd", "delta")
SETTLED_SECONDS = 3.0
NOTES = """
one database, its first day and the changed ones after it: on each, `share` of the rows of an \
application with text, events, orders with random keys and pictures
script: VACUUM INTO and rclone copyto a dated name; restic, borg: on the same VACUUM INTO copy, \
in a local repository; Litestream: running while the rows are written, to a local folder
stored: all files of the destination after the week; uploaded: what the destination grew by, on \
the changed days together
a changed day: the median; to S3 on the loopback interface, to a local folder for restic and borg, \
whose snapshots are taken before that
"""
# $1 is the database, $2 the copy, $3 where to, $4 options of rclone.
DATED = """\
set -eu
rm -f "$2"
sqlite3 "$1" "VACUUM INTO '$2'"
"$RCLONE" copyto "$2" "$3" $4
"""


@dataclass
class Week:
    """What one way took: seconds of each day, the destination's size after each, and restoring."""

    seconds: list[float] = field(default_factory=list)
    stored: list[int] = field(default_factory=list)
    resident: int = 0
    restore_seconds: float | None = None
    slow_seconds: float | None = None

    @property
    def uploaded(self) -> int:
        """Bytes of the changed days together."""
        return self.stored[DAYS - 1] - self.stored[0]


@dataclass(frozen=True)
class Way:
    """How a day is backed up, and where that grows; `restore` brings the last one back."""

    day: Callable[[int, str], Cost | None]
    folder: Path
    restore: Callable[[], Cost] | None = None


def measure(bench: Bench, *, size: int, share: float, bwlimit: str) -> Report:
    """Back up a database of `size` MiB for a week, of whose rows `share` change a day.

    With `bwlimit`, as rclone takes it, an eighth day is shipped over an uplink of that.
    """
    databases = bench.fresh("databases")
    live, weeks = databases / "app.sqlite3", dict[str, Week]()
    bench.tell(f"{NAME}: making a database of {size} MiB")
    rows = _fill(live, size * MEBIBYTE)
    changes = max(1, int(rows * share) // 10)
    ways = _ways(bench, databases)
    for number in range(DAYS + bool(bwlimit)):
        _write(live, number, changes if number else 0)
        for name, way in ways.items():
            week, limit = weeks.setdefault(name, Week()), bwlimit if number == DAYS else ""
            bench.tell(f"{NAME}: day {number + 1}: {name}")
            bench.settle()
            cost = None if limit and name in ("restic", "borg") else way.day(number, limit)
            if limit:
                week.slow_seconds = cost.wall_seconds if cost else None
            elif cost:
                week.seconds.append(cost.wall_seconds)
                week.resident = max(week.resident, cost.peak_resident_bytes)
                week.stored.append(folder_bytes(way.folder))
    for name, way in ways.items():
        if way.restore:
            weeks[name].restore_seconds = way.restore().wall_seconds
    if bench.has(find_litestream()):
        weeks["Litestream"] = _litestream(bench, size * MEBIBYTE, changes)
    return _report(bench, weeks, {"--size": size, "--share": share, "--bwlimit": bwlimit or "none"})


def _fill(live: Path, size_bytes: int) -> int:
    schema, fill, _ = WORKLOADS["application"]
    connection = apsw.Connection(str(live))
    connection.execute(
        "PRAGMA auto_vacuum = incremental; PRAGMA journal_mode = wal; PRAGMA synchronous = off"
    ).fetchall()
    connection.execute(schema).fetchall()
    source, rows = random.Random(1), 0
    while live.stat().st_size < size_bytes:
        with connection:
            fill(connection, source, rows)
        rows += BATCH
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    return rows


def _write(live: Path, number: int, changes: int) -> None:
    """One day's transactions, the same ones for all who back it up."""
    connection = apsw.Connection(str(live))
    connection.set_busy_timeout(10_000)
    # Litestream would not see what a checkpoint on closing does while it is not looking.
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    source = random.Random(number)
    for _ in range(changes):
        with connection:
            WORKLOADS["application"][2](connection, source)
    connection.close()


def _ways(bench: Bench, databases: Path) -> dict[str, Way]:
    ways = {f"keeper, {store}": _keeper(bench, databases, store) for store in STORES}
    if bench.has(find_sqlite3()):
        ways["script, dated copies"] = _script(bench, databases)
        restic = Program("restic", shutil.which("restic"), "restic: not found; apt-get install it")
        borg = Program("borg", shutil.which("borg"), "borg: not found; apt-get install borgbackup")
        if bench.has(restic):
            ways["restic"] = _repository(bench, databases, "restic", _RESTIC)
        if bench.has(borg):
            ways["borg"] = _repository(bench, databases, "borg", _BORG)
    return ways


def _keeper(bench: Bench, databases: Path, store: str) -> Way:
    to = bench.destination("s3")
    keeper = new_keeper(bench, f"keeper-{store}", databases, to.to)
    config = keeper.home / "keeper.toml"
    text = f'{config.read_text()}keep_last = 20\nstore = "{store}"\n'

    def day(number: int, limit: str) -> Cost:
        limited = f'rclone_args = ["--bwlimit", "{limit}"]\n' if limit else ""
        config.write_text(text + limited)
        return keeper.run("backup", "--quiet")

    def restore() -> Cost:
        config.write_text(text)
        return _restored(keeper)

    return Way(day, to.folder, restore)


def _restored(keeper: Keeper) -> Cost:
    target = keeper.home / "restored.sqlite3"
    cost = keeper.run("restore", "app", "--to", target, "--quiet")
    target.unlink()
    return cost


def _script(bench: Bench, databases: Path) -> Way:
    to = bench.destination("s3")
    copy = bench.fresh("dated") / "app.sqlite3"

    def day(number: int, limit: str) -> Cost:
        options = f"--bwlimit {limit}" if limit else ""
        arguments = [str(databases / "app.sqlite3"), str(copy), f"{to.to}/app-{number}.sqlite3"]
        command = ["sh", "-c", DATED, "dated", *arguments, options]
        return run(command, bench.environment, bench.folder)

    return Way(day, to.folder)


_RESTIC = (
    ["restic", "init", "--quiet"],
    ["restic", "backup", "--quiet", "--compression", "max"],
)
_BORG = (
    ["borg", "init", "--encryption", "none"],
    ["borg", "create", "--compression", "zstd,3", "::{number}"],
)


def _repository(
    bench: Bench, databases: Path, name: str, commands: tuple[list[str], list[str]]
) -> Way:
    folder, copies = bench.fresh(f"{name}-repository"), bench.fresh(f"{name}-copy")
    environment = bench.environment | {
        "RESTIC_REPOSITORY": str(folder),
        "RESTIC_PASSWORD": "benchmark",
        "BORG_REPO": str(folder),
    }
    init, create = commands
    run(init, environment, bench.folder)

    def day(number: int, limit: str) -> Cost:
        copy = copies / "app.sqlite3"
        copy.unlink(missing_ok=True)
        connection = apsw.Connection(str(databases / "app.sqlite3"))
        connection.execute("VACUUM INTO ?", (str(copy),)).fetchall()
        connection.close()
        words = [word.format(number=number) for word in create]
        return run([*words, str(copy)], environment, bench.folder)

    return Way(day, folder)


def _litestream(bench: Bench, size_bytes: int, changes: int) -> Week:
    """The same days on a database of its own, since it leaves tables and a folder there."""
    folder = bench.fresh("litestream")
    live, to = folder / "app.sqlite3", bench.destination("local")
    _fill(live, size_bytes)
    week = Week()
    with _replicating(bench, live, to.folder, configure(bench, [live], to)):
        for number in range(DAYS):
            bench.tell(f"{NAME}: day {number + 1}: Litestream")
            _write(live, number, changes if number else 0)
            week.stored.append(_settled(to.folder))
    return week


@contextmanager
def _replicating(bench: Bench, live: Path, folder: Path, config: Path) -> Iterator[None]:
    program = find_litestream().path
    assert program
    with (bench.folder / "litestream.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "replicate", "-config", str(config)],
            env=bench.environment,
            stdout=log,
            stderr=log,
        )
        try:
            while not folder_bytes(folder):
                time.sleep(0.1)
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


def _settled(folder: Path) -> int:
    """The size of a folder that has not grown for a while."""
    size, since = folder_bytes(folder), time.monotonic()
    while time.monotonic() - since < SETTLED_SECONDS:
        time.sleep(0.2)
        if (now := folder_bytes(folder)) != size:
            size, since = now, time.monotonic()
    return size


def _report(bench: Bench, weeks: dict[str, Week], options: dict[str, object]) -> Report:
    rows = [(name, *_row(week)) for name, week in weeks.items()]
    columns = ("", "stored MB", "uploaded MB", "first day s", "changed day s", "slow line s")
    table = Table("a week of dailies", (*columns, "restore s", "resident MB"), rows)
    delta, ratios = weeks["keeper, delta"], dict[str, Ratio]()
    for name, week in weeks.items():
        if week is not delta:
            ratios[f"stored: delta / {name}"] = _ratio(delta.stored[DAYS - 1], week.stored[-1])
            ratios[f"uploaded: delta / {name}"] = _ratio(delta.uploaded, week.uploaded)
        if week.slow_seconds and delta.slow_seconds and week is not delta:
            ratios[f"slow line: delta / {name}"] = _ratio(delta.slow_seconds, week.slow_seconds)
    plain = weeks["keeper, plain"]
    ratios["changed day: delta / plain"] = _ratio(
        median(delta.seconds[1:]), median(plain.seconds[1:])
    )
    assert delta.restore_seconds
    assert plain.restore_seconds
    ratios["restore: delta / plain"] = _ratio(delta.restore_seconds, plain.restore_seconds)
    told = Table("ratios", ("", "ratio"), [(name, str(one)) for name, one in ratios.items()])
    notes = [*filter(None, NOTES.splitlines()), *bench.notes]
    figures = {name: vars(week) for name, week in weeks.items()}
    return Report(NAME, options, [table, told], ratios, figures, notes)


def _ratio(ours: float, theirs: float) -> Ratio:
    value = ours / max(theirs, 1e-9)
    return Ratio(value, value, value)


def _row(week: Week) -> tuple[str, ...]:
    def seconds(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    changed = week.seconds[1:DAYS]
    return (
        f"{week.stored[DAYS - 1] / 1e6:.1f}",
        f"{week.uploaded / 1e6:.1f}",
        seconds(week.seconds[0] if week.seconds else None),
        seconds(median(changed) if changed else None),
        seconds(week.slow_seconds),
        seconds(week.restore_seconds),
        f"{week.resident / 1e6:.0f}" if week.resident else "",
    )
