"""Who holds a database."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sqlitekeeper.database.processes import Process, openers, parse_locks, wal_readers
from tests.conftest import Companion, MakeDatabase

LOCKS = """\
1: POSIX  ADVISORY  READ 9647 fe:00:2146314 123 123
1: -> POSIX  ADVISORY  WRITE 9999 fe:00:2146314 123 123
2: POSIX  ADVISORY  READ 9647 fe:00:2146314 128 128
3: POSIX  ADVISORY  WRITE 77 fe:01:2146314 0 EOF
4: FLOCK  ADVISORY  WRITE 78 fe:00:2146314 0 EOF
5: OFDLCK ADVISORY  READ -1 fe:00:99 1 2
"""
needs_proc = pytest.mark.skipif(not Path("/proc/locks").exists(), reason="needs /proc/locks")


def test_locks_of_one_file_are_told_by_process() -> None:
    """Ranges of other files, and of those that only wait, are left out."""
    held = parse_locks(LOCKS, os.makedev(0xFE, 0), 2146314)

    assert held == {9647: [range(123, 124), range(128, 129)], 78: [range(2**63 + 1)]}


def test_locks_to_the_end_of_the_file() -> None:
    """EOF stands for the largest offset."""
    held = parse_locks(LOCKS, os.makedev(0xFE, 1), 2146314)

    assert held == {77: [range(2**63 + 1)]}


@needs_proc
def test_reader_is_named(
    make_database: MakeDatabase, beside: Callable[[str, Path], Companion]
) -> None:
    """A process inside a read transaction is found, with its program's name."""
    path = make_database(rows=1)
    reader = beside("read", path)

    (found,) = wal_readers(path)

    assert found.pid == reader.pid
    assert found.program.startswith("python")


@needs_proc
def test_idle_connection_is_no_reader(
    make_database: MakeDatabase, beside: Callable[[str, Path], Companion]
) -> None:
    """Having a database open holds nothing up."""
    path = make_database(rows=1)
    beside("idle", path)

    assert wal_readers(path) == []


@needs_proc
def test_deleted_file_has_its_openers(
    make_database: MakeDatabase, beside: Callable[[str, Path], Companion]
) -> None:
    """Under the name that it had: nothing else tells of them."""
    path = make_database(rows=1, journal_mode="delete")
    companion = beside("idle", path)
    path.unlink()

    assert [process.pid for process in openers([path])] == [companion.pid]


@needs_proc
def test_file_that_was_replaced_has_its_openers(
    make_database: MakeDatabase, beside: Callable[[str, Path], Companion]
) -> None:
    """They would write their journal beside the file that has the name now."""
    path = make_database(rows=1, journal_mode="delete")
    companion = beside("idle", path)
    make_database("new", rows=2).rename(path)

    assert [process.pid for process in openers([path])] == [companion.pid]


@needs_proc
def test_file_whose_name_says_deleted_is_not(
    make_database: MakeDatabase, beside: Callable[[str, Path], Companion]
) -> None:
    """The system writes it behind the name of a deleted one; anybody may."""
    beside("idle", make_database("app.sqlite3 (deleted)", rows=1))

    assert openers([make_database(rows=1)]) == []


def test_nobody_reads_without_an_index(make_database: MakeDatabase) -> None:
    """Without -shm there are no readers."""
    assert wal_readers(make_database(rows=1)) == []


def test_process_of_another_namespace_is_said_to_be_outside() -> None:
    """The kernel shows processes outside a container as 0 or less."""
    assert str(Process(0, "")) == "a process outside this container"


def test_process_without_a_name_is_its_number() -> None:
    """The program's name may be hidden."""
    assert str(Process(7, "")) == "pid 7"
