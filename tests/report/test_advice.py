"""What a report advises, and the command that each piece names."""

from dataclasses import replace
from pathlib import Path

import pytest

from sqlitekeeper.database.measure import Measurement
from sqlitekeeper.report.advice import Circumstances, advise
from sqlitekeeper.report.growth import Drain, Growth

PATH = Path("/srv/app.db")
MEBIBYTE = 2**20
FOUND = Measurement(MEBIBYTE, 4096, 256, 0, 0, "wal", "incremental")
CALM = Circumstances()


def texts(
    found: Measurement, known: Circumstances = CALM, *, name: str = "app", path: Path = PATH
) -> list[str]:
    return [one.text for one in advise(name, path, found, known)]


def test_free_list_is_no_fault() -> None:
    """Steady databases reuse their free pages."""
    assert texts(replace(FOUND, free_pages=250), Circumstances(growth=Growth(0.0, 0.0, 0.0))) == []


def test_file_that_cannot_shrink_is_advised_to_convert() -> None:
    """With the command that does it."""
    assert texts(replace(FOUND, auto_vacuum="none")) == [
        "the file can never shrink: keeper convert /srv/app.db"
    ]


def test_empty_file_is_not_advised_to_convert() -> None:
    """There is nothing to convert in it."""
    assert texts(replace(FOUND, bytes=0, pages=0, auto_vacuum="none")) == []


def test_wal_larger_than_the_database_is_advised_to_be_truncated() -> None:
    """A WAL only grows so far when something keeps it from being checkpointed."""
    assert texts(replace(FOUND, wal_bytes=17 * MEBIBYTE)) == [
        "the WAL is larger than the database: keeper vacuum /srv/app.db"
    ]


def test_small_wal_is_no_fault() -> None:
    """A few pages of WAL are larger than a small database, and mean nothing."""
    assert texts(replace(FOUND, wal_bytes=4 * MEBIBYTE)) == []


def test_pinned_wal_is_told_once() -> None:
    """The reader is the cause, the size of the WAL only what comes of it."""
    (text,) = texts(replace(FOUND, wal_bytes=17 * MEBIBYTE), Circumstances(pinned_runs=3))

    assert "pinned the WAL on 3 runs in a row; who it is: keeper vacuum /srv/app.db" in text


def test_two_runs_are_not_yet_a_pinned_wal() -> None:
    """A long query may well last from one run to the next."""
    assert texts(FOUND, Circumstances(pinned_runs=2)) == []


def test_deletes_that_outpace_the_vacuum_want_more_pages() -> None:
    """With what is set now, and the command for once."""
    (text,) = texts(FOUND, Circumstances(drain=Drain(None, outpaced=True), vacuum_pages=1000))

    assert "higher than 1,000" in text
    assert "keeper vacuum --all /srv/app.db" in text


def test_file_that_grows_without_its_data_is_told() -> None:
    """Its free pages are neither reused nor given back."""
    known = Circumstances(growth=Growth(MEBIBYTE, 0.0, MEBIBYTE))

    (text,) = texts(replace(FOUND, free_pages=100), known)

    assert "grows by 1.0 MiB a day although its data does not" in text
    assert "keeper vacuum --all /srv/app.db" in text


def test_disk_that_is_full_soon_comes_first() -> None:
    """Before anything else, with what to look at."""
    known = Circumstances(growth=Growth(MEBIBYTE, MEBIBYTE, 0.0), days_to_full=12.4)

    first, _ = texts(replace(FOUND, auto_vacuum="none"), known)

    assert first == (
        "at this growth the disk is full in 12 days; what takes the space:"
        " keeper report --tables /srv/app.db"
    )


def test_database_that_does_not_fill_the_disk_is_not_blamed() -> None:
    """Only those that grow are told about it."""
    assert texts(FOUND, Circumstances(growth=Growth(0.0, 0.0, 0.0), days_to_full=3)) == []


def test_rollback_journal_with_writers_is_advised_to_use_wal() -> None:
    """With the command that sets it."""
    (text,) = texts(replace(FOUND, journal_mode="delete"), Circumstances(written_lately=True))

    assert "sqlite3 /srv/app.db 'PRAGMA journal_mode = wal'" in text


def test_rollback_journal_that_nobody_writes_is_well() -> None:
    """An archive needs no WAL."""
    assert texts(replace(FOUND, journal_mode="delete")) == []


@pytest.mark.parametrize("name", ["production_cache", "queue", "cable-2", "app.queue"])
def test_fleeting_database_that_is_backed_up_is_told(name: str) -> None:
    """Rails' caches, queues and cables can mostly be lost."""
    (text,) = texts(FOUND, Circumstances(configured_backup=True), name=name)

    assert "backup = false" in text
    assert "keeper config show" in text


@pytest.mark.parametrize("name", ["production", "cached", "queues", "unqueue"])
def test_other_names_are_not_fleeting(name: str) -> None:
    """A name only counts as a word of its own."""
    assert texts(FOUND, Circumstances(configured_backup=True), name=name) == []


def test_paths_can_be_pasted_into_a_shell() -> None:
    """Quoted where they need it."""
    (text,) = texts(replace(FOUND, auto_vacuum="none"), path=Path("/srv/my app.db"))

    assert text.endswith("keeper convert '/srv/my app.db'")
