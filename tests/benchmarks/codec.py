"""What storing a day costs: the snapshot compressed, and as a delta against the day before."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import humanize

from sqlitekeeper.store.base import BaseFile
from sqlitekeeper.store.delta import make_delta
from sqlitekeeper.store.frames import compress
from sqlitekeeper.store.restore import restore_delta
from tests.benchmarks.bench import MEBIBYTE, Bench
from tests.benchmarks.report import Report, Table
from tests.benchmarks.rounds import ratio
from tests.benchmarks.workloads import WORKLOADS, snapshots

Result = TypeVar("Result")

NAME = "codec"
NOTES = """
times are CPU seconds of keeper's process, by which the load of other programs counts little
each day touches 1 % of the rows; "migration" drops, adds, renames and alters tables besides
"""


def measure(bench: Bench, *, size: int, rounds: int, only: Sequence[str] = ()) -> Report:
    """Store and restore each kind of day, `rounds` times."""
    folder = bench.folder / "codec"
    rows, ratios, figures = [], {}, {}
    for name in WORKLOADS:
        if only and name not in only:
            continue
        folder.mkdir(exist_ok=True)
        before, after = snapshots(name, folder, size * MEBIBYTE)
        runs = [_day(before, after, folder) for _ in range(rounds)]
        figures[name] = runs
        for what in ("zstd", "delta"):
            stored = [run[f"{what}_bytes"] for run in runs]
            ratios[f"{name}: {what} / plain"] = ratio(stored, [run["plain_bytes"] for run in runs])
        least = {key: min(run[key] for run in runs) for key in runs[0]}
        sizes = [least[f"{key}_bytes"] for key in ("plain", "zstd", "delta")]
        seconds = [least[f"{key}_seconds"] for key in ("zstd", "delta", "restore")]
        rows.append(
            (name, *map(humanize.naturalsize, sizes), *(f"{value:.2f}" for value in seconds))
        )
        for file in folder.iterdir():
            file.unlink()
    columns = ("", "plain", "zstd", "delta", "s: zstd", "s: delta", "s: restored from delta")
    table = Table("A day of each kind", columns, rows)
    options = {"--size": size, "--rounds": rounds}
    return Report(NAME, options, [table], ratios, figures, NOTES.strip().splitlines())


def _day(before: Path, after: Path, folder: Path) -> dict[str, float]:
    """Sizes and CPU seconds of one day, stored in each way."""
    files = [folder / name for name in ("base", "whole", "delta", "restored")]
    for file in files:
        file.unlink(missing_ok=True)
    base_file, whole_file, delta_file, restored_file = files
    compress(before, base_file)
    whole, zstd_seconds = _timed(lambda: compress(after, whole_file))
    with BaseFile(base_file) as base:
        delta, delta_seconds = _timed(lambda: make_delta(after, base, delta_file))
        assert delta is not None
    with BaseFile(base_file) as base:
        restored, restore_seconds = _timed(
            lambda: restore_delta(delta_file, base, delta.pieces, restored_file)
        )
    assert restored.sha256 == delta.sha256 == whole.sha256
    return {
        "plain_bytes": whole.bytes,
        "zstd_bytes": whole.stored_bytes,
        "delta_bytes": delta.stored_bytes,
        "zstd_seconds": zstd_seconds,
        "delta_seconds": delta_seconds,
        "restore_seconds": restore_seconds,
    }


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    began = time.process_time()
    return work(), time.process_time() - began
