"""Each benchmark at a tiny size: that it runs and says what it measured, never how fast."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import calls, codec, many, startup, store, unchanged, whole, writers
from tests.benchmarks.bench import Bench, new_bench
from tests.benchmarks.machine import machine_facts
from tests.benchmarks.report import Report, show, write_json
from tests.conftest import REPOSITORY

TINY: dict[str, tuple[Callable[[Bench], Report], set[str]]] = {
    "whole": (
        partial(whole.measure, count=2, size=1, rounds=1),
        {"s3: keeper / script", "local: keeper / script", "local: keeper / cp"},
    ),
    "unchanged": (
        partial(unchanged.measure, count=1, size=1, rounds=1),
        {"s3: keeper / script", "s3: keeper / script, sync --checksum"},
    ),
    "writers": (
        partial(
            writers.measure,
            size=1,
            free=1,
            seconds=0.1,
            limit=10.0,
            rounds=1,
            only=("keeper vacuum --all", "sqlite3 VACUUM"),
        ),
        {
            "full speed: longest commit: keeper vacuum --all / nothing",
            "200 a second: longest commit: keeper vacuum --all / sqlite3 VACUUM",
        },
    ),
    "many": (
        partial(many.measure, counts=(1, 2), rounds=1),
        {"2: vacuum: keeper / script", "report: keeper: for each database, 2 / 1"},
    ),
    "calls": (
        partial(calls.measure, counts=(1,), size_kb=100, stored_gb=1.0, database_gb=1.0),
        {"1 databases: unchanged day: calls: keeper / script"},
    ),
    "codec": (
        partial(codec.measure, size=1, rounds=1, only=("updates", "full text")),
        {"updates: delta / plain", "full text: zstd / plain"},
    ),
    "store": (
        partial(store.measure, size=2, share=0.01, bwlimit=""),
        {"stored: delta / keeper, plain", "restore: delta / plain", "changed day: delta / plain"},
    ),
    "startup": (
        partial(startup.measure, rounds=1),
        {"keeper --version / python -c pass", "keeper vacuum, nothing to do / python -c pass"},
    ),
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One bench for all: an S3 server, and a keeper that is warm."""
    with new_bench(tmp_path_factory.mktemp("benchmarks")) as one:
        yield one


@pytest.mark.parametrize("name", TINY)
def test_prints_a_table_and_writes_the_ratios(
    name: str, bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table is Markdown; JSON has every ratio, and what stands behind it."""
    measure, expected = TINY[name]
    report = measure(bench)
    bench.clear()
    machine = machine_facts(bench.folder)
    show(report, machine)
    write_json(tmp_path / "figures.json", [report], machine)

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"## {name}: ")
    rules = [line for line in lines if line.startswith("| -")]
    assert len(rules) == len(report.tables)
    value: dict[str, Any] = json.loads((tmp_path / "figures.json").read_text())
    assert {"cores", "kernel", "file_system", "versions"} <= value["machine"].keys()
    (one,) = value["benchmarks"]
    if shutil.which("sqlite3") is None:
        expected = {ratio for ratio in expected if not re.search("script|sqlite3", ratio)}
    assert expected <= one["ratios"].keys()
    assert all(0 < r["least"] <= r["median"] <= r["most"] for r in one["ratios"].values())
    assert one["figures"]


def test_from_the_command_line_nothing_is_left_behind(tmp_path: Path) -> None:
    """As anyone runs it from a clone."""
    work = tmp_path / "work"
    work.mkdir()
    file = tmp_path / "figures.json"
    done = subprocess.run(
        [
            *[sys.executable, "-m", "tests.benchmarks", "startup", "--rounds", "1"],
            *["--folder", str(work), "--json", str(file)],
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "| keeper --version" in done.stdout
    assert json.loads(file.read_text())["command"][-2:] == ["--json", str(file)]
    assert list(work.iterdir()) == []


def test_a_peer_that_is_missing_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the rest is measured."""
    monkeypatch.setenv("PATH", str(bench.folder))
    monkeypatch.delenv("LITESTREAM", raising=False)
    report = whole.measure(bench, count=1, size=1, rounds=1)
    bench.clear()
    assert [note.split(":")[0] for note in report.notes[-2:]] == ["sqlite3", "litestream"]
    assert {run["peer"] for run in report.figures["runs"]} == {"keeper", "cp"}
    assert list(report.ratios) == ["local: keeper / cp", "local: CPU: keeper / cp"]
