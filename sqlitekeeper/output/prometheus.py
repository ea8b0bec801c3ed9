"""Results in Prometheus' text exposition format, for node_exporter's textfile collector.

No metric is in two commands' files: the collector refuses a series that it
finds twice in its folder.
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Generic, TypeVar

from sqlitekeeper.result import Result

if TYPE_CHECKING:
    from sqlitekeeper.backup.result import BackupResult
    from sqlitekeeper.database.maintain.vacuum import VacuumResult
    from sqlitekeeper.report.report import ReportEntry


AnyResult = TypeVar("AnyResult", bound=Result)


@dataclass(frozen=True, slots=True)
class Gauge(Generic[AnyResult]):
    """A metric, and its value for one result; it has a sample for each result that was done."""

    name: str
    help: str
    value: Callable[[AnyResult], float]
    always: bool = False


def report_metrics(results: "Sequence[ReportEntry]", at: datetime) -> str:
    """Sizes, as `keeper report` found them at `at`."""
    gauges: list[Gauge[ReportEntry]] = [
        Gauge("keeper_database_size_bytes", "Size of the database file.", lambda r: r.bytes),
        Gauge(
            "keeper_database_free_bytes",
            "Free pages in the database file that the next rows reuse or a vacuum frees.",
            lambda r: r.reclaimable_bytes,
        ),
        Gauge("keeper_database_wal_bytes", "Size of the write-ahead log.", lambda r: r.wal_bytes),
        Gauge(
            "keeper_database_last_sample_timestamp_seconds",
            "When these sizes were measured.",
            lambda _: _seconds(at),
        ),
        *_run("report", at),
    ]
    return _exposition(gauges, results, {"done"})


def vacuum_metrics(results: "Sequence[VacuumResult]", at: datetime) -> str:
    """What `keeper vacuum` did in the run that ended at `at`."""
    gauges: list[Gauge[VacuumResult]] = [
        *_run("vacuum", at),
        Gauge("keeper_vacuum_duration_seconds", "How long the vacuum took.", lambda r: r.seconds),
        Gauge("keeper_vacuum_freed_bytes", "Free pages given back.", lambda r: r.freed_bytes),
        Gauge(
            "keeper_vacuum_longest_lock_seconds",
            "Longest time that the run held the write lock.",
            lambda r: r.longest_lock_ms / 1000,
        ),
    ]
    return _exposition(gauges, results, {"done"})


def backup_metrics(results: "Sequence[BackupResult]", at: datetime) -> str:
    """What `keeper backup` did in the run that ended at `at`."""
    gauges: list[Gauge[BackupResult]] = [
        *_run("backup", at),
        Gauge(
            "keeper_backup_duration_seconds",
            "How long the snapshot, its checks and its shipping took.",
            lambda r: r.seconds.snapshot + r.seconds.check + r.seconds.ship,
        ),
        Gauge("keeper_backup_snapshot_bytes", "Size of the snapshot.", lambda r: r.bytes),
        Gauge(
            "keeper_backup_uploaded_bytes",
            "Bytes of snapshots uploaded, to all destinations.",
            lambda r: sum(s.bytes for s in r.shipped if s.outcome == "uploaded"),
        ),
    ]
    return _exposition(gauges, results, {"shipped", "unchanged"})


def _run(command: str, at: datetime) -> list[Gauge[AnyResult]]:
    """When the last run was and whether it went well: known of failed databases too."""
    return [
        Gauge(
            f"keeper_{command}_last_run_timestamp_seconds",
            f"When the last run of keeper {command} ended.",
            lambda _: _seconds(at),
            always=True,
        ),
        Gauge(
            f"keeper_{command}_success",
            f"1 if the last run of keeper {command} went well (or skipped the database), else 0.",
            lambda r: int(r.exit_code == 0),
            always=True,
        ),
    ]


def _exposition(
    gauges: Iterable[Gauge[AnyResult]], results: Sequence[AnyResult], done: set[str]
) -> str:
    names = Counter(result.name for result in results)
    lines = []
    for gauge in gauges:
        samples = [
            # Of two databases of one name, the paths tell which is which.
            f'{gauge.name}{{database="{_escaped(r.name if names[r.name] == 1 else str(r.path))}"}}'
            f" {gauge.value(r)!r}"
            for r in results
            if gauge.always or r.outcome in done
        ]
        if samples:
            lines += [f"# HELP {gauge.name} {gauge.help}", f"# TYPE {gauge.name} gauge", *samples]
    return "".join(f"{line}\n" for line in lines)


def _escaped(label: str) -> str:
    # Bytes that are no UTF-8 would make the collector refuse the whole file.
    text = label.encode(errors="backslashreplace").decode()
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _seconds(at: datetime) -> float:
    return round(at.timestamp(), 3)
