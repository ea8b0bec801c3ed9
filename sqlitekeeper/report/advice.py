"""Advice on a database, each piece with the command that does it."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from sqlitekeeper.config.names import solid_kind
from sqlitekeeper.database.measure import Measurement
from sqlitekeeper.report.growth import (
    UNKNOWN_DRAIN,
    UNKNOWN_GROWTH,
    Drain,
    Growth,
    is_notable,
    trend,
)
from sqlitekeeper.wording import size

FULL_SOON_DAYS = 30
# A WAL of a few pages is larger than a small database, and means nothing.
LARGE_WAL_BYTES = 16 * 2**20
PINNED_RUNS = 3


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known of a database beside its counters.

    `vacuum_pages` is `pages` of keeper.toml; `configured_backup` that keeper.toml
    names this database and lets it be backed up; `written_lately` that its
    size changed between measurements, or its file within a day.
    """

    growth: Growth = UNKNOWN_GROWTH
    drain: Drain = UNKNOWN_DRAIN
    days_to_full: float | None = None
    pinned_runs: int = 0
    vacuum_pages: int = 1000
    configured_backup: bool = False
    written_lately: bool = False


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do; `attention` is higher for what is more pressing."""

    attention: int
    text: str


def advise(name: str, path: Path, found: Measurement, known: Circumstances) -> list[Advice]:
    """What to do about a database, the most pressing first.

    A free list alone is no fault: steady databases reuse it. Free pages that
    nothing can ever give back are, and so is a WAL larger than its database.
    """
    file = shlex.quote(str(path))
    advice = [
        *_disk(file, found, known),
        *_wal(file, found, known),
        *_free_list(file, found, known),
    ]
    if found.journal_mode == "delete" and known.written_lately:
        text = (
            "journal_mode is delete, so readers and writers wait for each other;"
            " to have WAL: stop the application, then:"
            f" sqlite3 {file} 'PRAGMA journal_mode = wal'"
        )
        advice.append(Advice(1, text))
    if known.configured_backup and (kind := solid_kind(name) or solid_kind(path.stem)):
        text = (
            f"looks like a {kind}, and is backed up; if it can be lost,"
            " set backup = false for it (keeper config show names the file)"
        )
        advice.append(Advice(1, text))
    return sorted(advice, key=lambda one: -one.attention)


def _disk(file: str, found: Measurement, known: Circumstances) -> list[Advice]:
    growing = known.growth.file is not None and is_notable(known.growth.file, found.bytes)
    if known.days_to_full is None or known.days_to_full > FULL_SOON_DAYS or not growing:
        return []
    text = f"at this growth the disk is full in {known.days_to_full:.0f} days"
    return [Advice(5, f"{text}; what takes the space: keeper report --tables {file}")]


def _wal(file: str, found: Measurement, known: Circumstances) -> list[Advice]:
    if known.pinned_runs >= PINNED_RUNS:
        runs = known.pinned_runs
        text = f"a reader has pinned the WAL on {runs} runs in a row; who it is: keeper vacuum"
        return [Advice(4, f"{text} {file}")]
    if found.wal_bytes > max(found.bytes, LARGE_WAL_BYTES):
        return [Advice(3, f"the WAL is larger than the database: keeper vacuum {file}")]
    return []


def _free_list(file: str, found: Measurement, known: Circumstances) -> list[Advice]:
    if found.auto_vacuum == "none":
        text = f"the file can never shrink: keeper convert {file}"
        return [Advice(2, text)] if found.pages else []
    if found.auto_vacuum == "full":
        return []
    if known.drain.outpaced:
        text = (
            f"deletes outpace the vacuum: set pages in [vacuum] higher than {known.vacuum_pages:,}"
            f" for keeper vacuum, or once: keeper vacuum --all {file}"
        )
        return [Advice(3, text)]
    if trend(known.growth, found.bytes) == "bloating" and found.free_pages:
        grown = size(round(known.growth.file or 0))
        text = f"the file grows by {grown} a day although its data does not"
        return [Advice(2, f"{text}: keeper vacuum --all {file}, and keeper vacuum hourly")]
    return []
