"""Freeing pages: exactly as many as asked, in short transactions, beside everything."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlitekeeper.database.check import integrity_problems
from sqlitekeeper.database.maintain.free_pages import LEAST_BATCH_PAGES, LOCK_TARGET, next_batch
from sqlitekeeper.database.maintain.vacuum import VacuumOptions, vacuum
from sqlitekeeper.errors import BusyError, KeeperError
from sqlitekeeper.events import Event, Level, Note, Tick
from tests.conftest import Companion, MakeDatabase, contents, count_rows, pragma

Beside = Callable[[str, Path], Companion]


def query(path: Path, sql: str) -> object:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute(sql).get
    finally:
        connection.close()


def assert_sound(path: Path) -> None:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        assert integrity_problems(connection, "integrity") == []
    finally:
        connection.close()


def wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def is_batch(event: Event) -> bool:
    return isinstance(event, Note) and event.level == Level.DETAIL and "freed" in event.text


# What SQLite itself does.


def test_cursor_left_alone_frees_one_page(make_database: MakeDatabase) -> None:
    """SQLite itself: incremental_vacuum frees a page for each step of its cursor."""
    connection = apsw.Connection(str(make_database(deleted=300)))
    before = connection.pragma("freelist_count")

    connection.execute("PRAGMA incremental_vacuum(50)").close()

    assert connection.pragma("freelist_count") == before - 1
    connection.close()


def test_interrupted_statement_rolls_everything_back(make_database: MakeDatabase) -> None:
    """SQLite itself: an interrupt gives up what was freed, so keeper closes the cursor instead."""
    connection = apsw.Connection(str(make_database(deleted=300)))
    before = connection.pragma("freelist_count")
    cursor = connection.execute("PRAGMA incremental_vacuum(50)")
    for _ in range(10):
        next(cursor)
    connection.interrupt()

    with pytest.raises(apsw.InterruptError):
        next(cursor)

    assert connection.pragma("freelist_count") == before
    connection.close()


# How many pages.


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
@pytest.mark.parametrize("pages", [1, 50, 70])
def test_exactly_the_limit_is_freed(
    make_database: MakeDatabase, pages: int, journal_mode: str
) -> None:
    """The free list is shorter by the limit, no more and no less."""
    path = make_database(deleted=390, journal_mode=journal_mode)
    before = pragma(path, "freelist_count")
    assert before > 70

    result = vacuum(path, VacuumOptions(pages=pages))

    assert pragma(path, "freelist_count") == before - pages
    assert (result.freed_pages, result.free_pages_left) == (pages, before - pages)
    assert result.freed_bytes == pages * 4096


def test_everything_is_freed_when_asked(make_database: MakeDatabase) -> None:
    """A limit of 0 drains the free list, in more than one transaction."""
    path = make_database(deleted=390)
    events: list[Event] = []

    vacuum(path, VacuumOptions(pages=0), on_event=events.append)

    assert pragma(path, "freelist_count") == 0
    assert sum(map(is_batch, events)) > 1


def test_some_free_pages_are_kept(make_database: MakeDatabase) -> None:
    """The application gets the slack that it was promised."""
    path = make_database(deleted=390)

    vacuum(path, VacuumOptions(pages=0, keep_free_pages=17))

    assert pragma(path, "freelist_count") == 17


def test_less_than_the_slack_is_left_alone(make_database: MakeDatabase) -> None:
    """Fewer free pages than are to be kept means nothing to do."""
    path = make_database(deleted=40)

    assert vacuum(path, VacuumOptions(keep_free_pages=1000)).freed_pages == 0


def test_spent_budget_starts_no_batch(make_database: MakeDatabase) -> None:
    """With no time at all, nothing is freed, and the WAL is truncated all the same."""
    path = make_database(deleted=390)

    result = vacuum(path, VacuumOptions(pages=0, budget_seconds=0))

    assert (result.outcome, result.freed_pages) == ("done", 0)
    assert result.checkpoint is not None


def test_budget_ends_a_long_run(make_database: MakeDatabase) -> None:
    """Once the time is over no further batch starts; what was freed stays freed."""
    path = make_database(rows=2000, deleted=1990)
    before = pragma(path, "freelist_count")

    result = vacuum(path, VacuumOptions(pages=0, max_lock_ms=1, budget_seconds=0.06))

    assert 0 < result.freed_pages < before
    assert pragma(path, "freelist_count") == before - result.freed_pages


def test_short_locks_mean_many_transactions(make_database: MakeDatabase) -> None:
    """A lower limit for the lock divides the same work into more transactions."""
    counts = []
    for milliseconds in (1, 1000):
        path = make_database(f"{milliseconds}.sqlite3", rows=2400, deleted=2390)
        events: list[Event] = []
        options = VacuumOptions(pages=0, max_lock_ms=milliseconds, budget_seconds=3)
        vacuum(path, options, on_event=events.append)
        counts.append(sum(map(is_batch, events)))

    assert counts[0] > counts[1]


def test_batch_is_cut_short_by_the_clock(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that turns out too large ends when its time is over, and keeps what it freed."""
    monkeypatch.setattr("sqlitekeeper.database.maintain.vacuum.FIRST_BATCH_PAGES", 10**6)
    path = make_database(rows=2400, deleted=2390)
    freed: list[Event] = []

    vacuum(
        path,
        VacuumOptions(pages=0, max_lock_ms=1, budget_seconds=3),
        on_event=lambda event: freed.append(event) if is_batch(event) else None,
    )

    assert len(freed) > 1


def test_other_process_writes_between_the_batches(make_database: MakeDatabase) -> None:
    """The write lock is free whenever a batch has been reported."""
    path = make_database(rows=1200, deleted=1190)
    application = apsw.Connection(str(path))
    written = 0

    def write(event: Event) -> None:
        nonlocal written
        if is_batch(event):
            written += 1
            application.execute("INSERT INTO t (body) VALUES (1)").fetchall()

    vacuum(path, VacuumOptions(pages=0, max_lock_ms=1, budget_seconds=3), on_event=write)

    application.close()
    assert count_rows(path) == 10 + written > 11


@given(
    batch=st.integers(LEAST_BATCH_PAGES, 10**6),
    freed=st.integers(1, 10**6),
    seconds=st.floats(0, 100),
    max_lock=st.floats(0.001, 10),
)
def test_next_batch_stays_within_its_bounds(
    batch: int, freed: int, seconds: float, max_lock: float
) -> None:
    """At most four times as many, never more than the lock affords, bar the least."""
    pages = next_batch(batch, freed, seconds, max_lock)

    assert LEAST_BATCH_PAGES <= pages <= 4 * batch
    assert (
        pages == LEAST_BATCH_PAGES or pages * seconds <= freed * max_lock * LOCK_TARGET * 1.000001
    )


@given(freed=st.integers(1000, 10**5), max_lock=st.floats(0.01, 10))
def test_next_batch_shrinks_at_once(freed: int, max_lock: float) -> None:
    """A batch that took ten times the limit is followed by one of less than a tenth."""
    assert next_batch(freed, freed, 10 * max_lock, max_lock) < freed / 10


def test_progress_is_told_to_the_end(make_database: MakeDatabase) -> None:
    """The last tick says that all of the target is done."""
    path = make_database(deleted=390)
    events: list[Event] = []

    vacuum(path, VacuumOptions(pages=70), name="shop", on_event=events.append)

    assert [event for event in events if isinstance(event, Tick)][-1] == Tick(
        "shop", "vacuum", 70, 70, "pages"
    )


# What cannot be vacuumed.


def test_database_without_auto_vacuum_is_told_what_helps(make_database: MakeDatabase) -> None:
    """SQLite would do nothing and say nothing; keeper says `keeper convert`."""
    path = make_database(deleted=300, auto_vacuum="none")

    result = vacuum(path)

    assert (result.exit_code, result.freed_pages) == (0, 0)
    assert f"keeper convert {path}" in (result.reason or "")


def test_nothing_to_do_is_skipped(make_database: MakeDatabase) -> None:
    """Neither pages to free nor a WAL to truncate: skipped."""
    path = make_database(auto_vacuum="none", journal_mode="delete")

    assert vacuum(path).outcome == "skipped"


def test_full_auto_vacuum_needs_no_pages_freed(make_database: MakeDatabase) -> None:
    """In full mode SQLite frees pages itself; the checkpoint is still worth doing."""
    result = vacuum(make_database(deleted=300, auto_vacuum="full"))

    assert (result.outcome, result.freed_pages, result.reason) == ("done", 0, None)


def test_read_only_file_is_skipped(make_database: MakeDatabase) -> None:
    """Also for root, whom the permissions would not stop."""
    path = make_database("data/app.sqlite3", deleted=300)
    path.chmod(0o444)
    before = contents(path.parent)

    result = vacuum(path)

    assert (result.outcome, result.reason) == ("skipped", "the file is read-only")
    assert contents(path.parent) == before


def test_empty_file_is_skipped(tmp_path: Path) -> None:
    """A file that nothing was ever written to stays empty."""
    path = tmp_path / "empty.sqlite3"
    path.touch()

    assert vacuum(path).outcome == "skipped"
    assert path.stat().st_size == 0


def test_dry_run_changes_nothing(make_database: MakeDatabase) -> None:
    """It tells what would be freed, and leaves every byte."""
    path = make_database("data/app.sqlite3", deleted=300)
    before = contents(path.parent)

    result = vacuum(path, VacuumOptions(pages=7, dry_run=True))

    assert (result.outcome, result.reason) == ("skipped", "dry run: would free 7 pages")
    assert contents(path.parent) == before


def test_something_else_is_refused(tmp_path: Path) -> None:
    """What is no database is an error, not a skip."""
    (tmp_path / "x.db").write_bytes(b"certainly no database" * 100)

    with pytest.raises(KeeperError, match="is not an SQLite database"):
        vacuum(tmp_path / "x.db")


# The WAL.


def test_wal_beside_the_application_is_truncated(
    make_database: MakeDatabase, beside: Beside
) -> None:
    """With the application's connection open, the WAL is a file of 0 bytes afterwards."""
    path = make_database(deleted=300)
    beside("idle", path)

    result = vacuum(path, VacuumOptions(pages=20))

    assert wal(path).stat().st_size == 0
    assert (result.wal_bytes_after, result.checkpoint and result.checkpoint.busy) == (0, False)


def test_file_shrinks_with_the_checkpoint_only(make_database: MakeDatabase, beside: Beside) -> None:
    """In WAL mode freed pages leave the main file when the WAL is copied into it."""
    path = make_database(deleted=300)
    size = path.stat().st_size
    beside("idle", path)

    without = vacuum(path, VacuumOptions(pages=20, checkpoint=False))
    assert (without.freed_pages, path.stat().st_size) == (20, size)

    vacuum(path, VacuumOptions(pages=0))
    assert path.stat().st_size < size - 20 * 4096


def test_without_checkpoint_the_wal_stays(make_database: MakeDatabase) -> None:
    """Also where keeper's connection is the last to close, which SQLite takes for a reason."""
    path = make_database(deleted=300)
    size = path.stat().st_size

    result = vacuum(path, VacuumOptions(pages=20, checkpoint=False))

    assert result.checkpoint is None
    assert path.stat().st_size == size
    assert wal(path).stat().st_size == result.wal_bytes_after > 0


@pytest.mark.parametrize("companion", [None, "idle"])
def test_litestream_keeps_its_wal(
    make_database: MakeDatabase, beside: Beside, companion: str | None
) -> None:
    """Beside Litestream there is no checkpoint, not even on closing, and that is said."""
    path = make_database(deleted=300)
    path.with_name(f".{path.name}-litestream").mkdir()
    if companion:
        beside(companion, path)

    result = vacuum(path, VacuumOptions(pages=20))

    assert (result.freed_pages, result.checkpoint) == (20, None)
    assert "Litestream" in (result.reason or "")
    assert wal(path).stat().st_size > 0


def test_reader_that_pins_the_wal_is_named(make_database: MakeDatabase, beside: Beside) -> None:
    """Pages are freed beside it; the WAL waits, and the culprit's process id is told."""
    path = make_database(deleted=300)
    reader = beside("read", path)

    result = vacuum(path, VacuumOptions(pages=20))

    assert (result.outcome, result.freed_pages) == ("done", 20)
    assert result.checkpoint is not None
    assert result.checkpoint.busy
    if Path("/proc/locks").exists():
        assert f"pid {reader.pid}" in (result.reason or "")


def test_rollback_journal_has_no_checkpoint(make_database: MakeDatabase) -> None:
    """Outside WAL mode `checkpoint` is None, and the file shrinks at once."""
    path = make_database(deleted=300, journal_mode="delete")
    size = path.stat().st_size

    result = vacuum(path, VacuumOptions(pages=20))

    assert result.checkpoint is None
    assert path.stat().st_size == size - 20 * 4096


def test_wal_is_kept_small_while_draining(make_database: MakeDatabase, beside: Beside) -> None:
    """A long run copies the WAL after each batch, so that it starts over instead of growing."""
    sizes = []
    for number, checkpoint in enumerate((True, False)):
        path = make_database(f"{number}.sqlite3", rows=4000, deleted=3990)
        beside("idle", path)
        largest = 0

        def look(event: Event, path: Path = path) -> None:
            nonlocal largest
            largest = max(largest, wal(path).stat().st_size)

        options = VacuumOptions(pages=0, max_lock_ms=1, budget_seconds=3, checkpoint=checkpoint)
        vacuum(path, options, on_event=look)
        sizes.append(largest)

    assert sizes[0] < sizes[1] / 2


# Stops, locks and other processes.


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_stop_in_the_middle_keeps_what_was_freed(
    make_database: MakeDatabase, journal_mode: str
) -> None:
    """Each batch is committed, so an end between two of them loses nothing."""
    path = make_database(rows=1200, deleted=1190, journal_mode=journal_mode)
    before = pragma(path, "freelist_count")

    def stop(event: Event) -> None:
        if is_batch(event):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vacuum(path, VacuumOptions(pages=0), on_event=stop)

    assert 0 < pragma(path, "freelist_count") < before
    assert_sound(path)


def test_locked_database_is_busy(
    make_database: MakeDatabase, beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write lock that is not given back ends the run without a page freed."""
    monkeypatch.setattr("sqlitekeeper.database.maintain.vacuum.WAIT_SECONDS", 0.2)
    path = make_database(deleted=300)
    beside("lock", path)

    with pytest.raises(BusyError, match="database is locked"):
        vacuum(path)


def test_lock_in_the_middle_keeps_the_count(
    make_database: MakeDatabase, beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that gets locked after some batches is busy, and tells what was freed before."""
    monkeypatch.setattr("sqlitekeeper.database.maintain.vacuum.WAIT_SECONDS", 0.2)
    path = make_database(rows=1200, deleted=1190)
    before = pragma(path, "freelist_count")
    holders: list[Companion] = []

    def lock(event: Event) -> None:
        if is_batch(event) and not holders:
            holders.append(beside("lock", path))

    result = vacuum(path, VacuumOptions(pages=0), on_event=lock)

    holders[0].end()
    assert (result.outcome, result.exit_code) == ("busy", 1)
    assert result.freed_pages == before - pragma(path, "freelist_count") > 0
    assert f"freed {result.freed_pages} pages" in (result.reason or "")


def test_lock_at_the_end_is_waited_for(make_database: MakeDatabase, beside: Beside) -> None:
    """Counting what is left waits for the application, rather than losing the result."""
    path = make_database(deleted=300, journal_mode="delete")
    timers: list[threading.Timer] = []

    def lock(event: Event) -> None:
        if is_batch(event):
            timers.append(threading.Timer(0.5, beside("lock", path).end))
            timers[0].start()

    result = vacuum(path, VacuumOptions(pages=20, max_lock_ms=10_000), on_event=lock)

    timers[0].join()
    assert (result.outcome, result.freed_pages) == ("done", 20)


def test_reader_of_a_rollback_database_is_not_waited_for(
    make_database: MakeDatabase, beside: Beside
) -> None:
    """Its shared lock keeps the commit out: given up after a part of the limit, nothing lost."""
    path = make_database(deleted=300, journal_mode="delete")
    free = pragma(path, "freelist_count")
    beside("read", path)

    began = time.monotonic()
    with pytest.raises(BusyError):
        vacuum(path, VacuumOptions(pages=20))

    assert time.monotonic() - began < 4
    assert (pragma(path, "freelist_count"), count_rows(path)) == (free, 100)


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_writer_beside_loses_nothing(
    make_database: MakeDatabase, beside: Beside, journal_mode: str
) -> None:
    """Draining beside a writer that never rests: all that it committed is there, and sound."""
    path = make_database(rows=1200, deleted=1190, journal_mode=journal_mode)
    before = pragma(path, "freelist_count")
    writer = beside("write", path)

    vacuum(path, VacuumOptions(pages=0, max_lock_ms=20))

    committed = int(writer.end())
    assert count_rows(path, "ledger") == 2 * committed
    assert query(path, "SELECT total(amount) FROM ledger") == 0
    assert pragma(path, "freelist_count") < before
    assert_sound(path)


# The rest.


def grown_since_analyze(path: Path) -> None:
    """Statistics for 50 rows in a table that has 20,000."""
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE s (a); CREATE INDEX i ON s (a)").fetchall()
    numbers = "WITH n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT {})"
    insert = f"{numbers} INSERT INTO s SELECT x % 7 FROM n"
    connection.execute(f"{insert.format(50)}; ANALYZE; {insert.format(20_000)}").fetchall()
    connection.close()


@pytest.mark.parametrize(("optimize", "fresh"), [(True, True), (False, False)])
def test_statistics_are_refreshed_when_asked(
    make_database: MakeDatabase, optimize: bool, fresh: bool
) -> None:
    """Plain PRAGMA optimize looks only at tables that its own connection has queried: none."""
    path = make_database(rows=1)
    grown_since_analyze(path)
    before = query(path, "SELECT stat FROM sqlite_stat1 WHERE tbl = 's'")

    vacuum(path, VacuumOptions(optimize=optimize))

    after = query(path, "SELECT stat FROM sqlite_stat1 WHERE tbl = 's'")
    assert (after != before) is fresh


def test_linked_database_is_vacuumed_like_any_other(
    make_database: MakeDatabase, beside: Beside, tmp_path: Path
) -> None:
    """Through a symlink the WAL's sizes are the real ones."""
    path = make_database("data/app.sqlite3", deleted=300)
    link = tmp_path / "link.sqlite3"
    link.symlink_to(path)
    beside("idle", path)

    result = vacuum(link, VacuumOptions(pages=20, checkpoint=False))

    assert result.wal_bytes_after == wal(path).stat().st_size > 0
