"""One line for each database, in the words of a log."""

import re
from pathlib import Path

import pytest

from sqlitekeeper.database.maintain.convert import ConvertResult
from sqlitekeeper.database.maintain.create import InitResult
from sqlitekeeper.database.maintain.vacuum import VacuumResult
from sqlitekeeper.output.maintenance import show_convert, show_init, show_vacuum
from sqlitekeeper.output.terminal import Console

PATH = Path("/srv/app.db")


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was printed, without the times."""
    return [re.sub(r"^\S+ ", "", line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def console() -> Console:
    """A console off a terminal, as cron has it."""
    return Console(quiet=False, verbose=False)


def test_created_database(console: Console, capsys: pytest.CaptureFixture[str]) -> None:
    """With the settings that were read back."""
    show_init(console, [InitResult("app", PATH, "created", None, "incremental", "wal", 4096)])

    assert lines(capsys) == [
        "/srv/app.db: created, auto_vacuum incremental, journal_mode wal, page_size 4096"
    ]


def test_failed_creation_is_left_to_the_errors(
    console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    """Failures are said on standard error, once."""
    show_init(console, [InitResult("app", PATH, "failed", "no", exit_code=1)])

    assert lines(capsys) == []


def test_conversion(console: Console, capsys: pytest.CaptureFixture[str]) -> None:
    """Modes, sizes, time, and the proof."""
    result = ConvertResult(
        "app", PATH, "converted", None, "none", "incremental", 2**20, 2**19, 1.25
    )
    show_convert(console, [result])

    assert lines(capsys) == [
        (
            "app: auto_vacuum none -> incremental, 1.0 MiB -> 512.0 KiB in 1.2 s,"
            " integrity ok, rows compared"
        )
    ]


def test_conversion_that_was_not_needed(
    console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing was done, and that is said."""
    show_convert(console, [ConvertResult("app", PATH, "already", None, "full", "full", 1, 1)])

    assert lines(capsys) == ["app: auto_vacuum is full already, nothing to do"]


def test_vacuum_with_a_remark(console: Console, capsys: pytest.CaptureFixture[str]) -> None:
    """The numbers first, the remark below."""
    result = VacuumResult(
        "app", PATH, "done", "a reader holds it", 1, 4096, 1234, 8192, 4096, 100, 0, None, 3.21
    )
    show_vacuum(console, [result])

    assert lines(capsys) == [
        (
            "app: freed 1 page (4.0 KiB), 1,234 left; size 8.0 KiB -> 4.0 KiB,"
            " WAL 100 Bytes -> 0 Bytes, longest lock 3.2 ms"
        ),
        "app: a reader holds it",
    ]


def test_skipped_vacuum(console: Console, capsys: pytest.CaptureFixture[str]) -> None:
    """One line with the reason."""
    show_vacuum(console, [VacuumResult("app", PATH, "skipped", "the file is read-only")])

    assert lines(capsys) == ["app: skipped: the file is read-only"]
