"""The order in which databases pass the steps of a backup run: real snapshots, a real rclone."""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sqlitekeeper.backup import batch as batch_module
from sqlitekeeper.backup import pipeline
from sqlitekeeper.backup.batch import Batch, Queues
from sqlitekeeper.backup.result import BackupRun
from sqlitekeeper.backup.run import BackupOptions, back_up
from sqlitekeeper.config.settings import Database
from sqlitekeeper.database.snapshot import snapshot
from sqlitekeeper.events import Event, Listener, ignore
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.program import find_rclone
from sqlitekeeper.state.locks import database_lock
from tests.conftest import S3, Beside, MakeDatabase, WrapRclone, wait_until

NOW = datetime(2026, 11, 23, 3, 0, 0, tzinfo=UTC)
SMALL, LARGE = 1, 200
BATCH_BYTES = 150_000

BackUp = Callable[..., BackupRun]
# Makes databases of so many rows, by name.
Make = Callable[..., list[Database]]


@pytest.fixture
def make(make_database: MakeDatabase) -> Make:
    """Small ones of 16 kB, large ones of 200 kB."""

    def make(**rows: int) -> list[Database]:
        return [Database(n, make_database(f"{n}.sqlite3", rows=size)) for n, size in rows.items()]

    return make


@pytest.fixture
def uploads() -> list[list[str]]:
    """The names of the databases in each batch that was uploaded."""
    return []


@pytest.fixture
def back_up_all(
    tmp_path: Path, staging: Path, monkeypatch: pytest.MonkeyPatch, uploads: list[list[str]]
) -> BackUp:
    """Really backs databases up, as if those of 150 kB were large."""

    monkeypatch.setenv("RCLONE_CONFIG_DISK_TYPE", "local")
    monkeypatch.setattr(pipeline, "BATCH_BYTES", BATCH_BYTES)

    def note(command: str) -> None:
        if " copy " in command and "sqlite3 " in command:
            uploads.append(re.findall(r"(\w+)/\1-\S+\.sqlite3", command))

    def run(
        databases: list[Database],
        on_event: Listener = ignore,
        and_to: Sequence[str] = (),
        jobs: int = 2,
    ) -> BackupRun:
        to = str(tmp_path / "to") if and_to else f"disk:{tmp_path}/to"
        options = BackupOptions(
            to=(to, *and_to),
            rclone=Rclone(find_rclone(None), (), note),
            state=tmp_path / "state",
            host="web1",
            keeper_version="0.1.0",
            clock=lambda: NOW,
            staging=staging,
            jobs=jobs,
        )
        return back_up(databases, options, on_event)

    return run


def outcomes(run: BackupRun) -> list[str]:
    return [one.outcome for one in run.databases]


def test_small_databases_share_a_batch_and_large_ones_go_alone(
    make: Make, back_up_all: BackUp, uploads: list[list[str]]
) -> None:
    """In the order of the configuration."""
    databases = make(a=SMALL, b=SMALL, c=LARGE, d=LARGE, e=SMALL)

    run = back_up_all(databases)

    assert outcomes(run) == ["shipped"] * 5
    assert uploads == [["a", "b"], ["c"], ["d"], ["e"]]


def test_many_small_databases_make_several_batches(
    make: Make, back_up_all: BackUp, uploads: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each holds a lock file open."""
    monkeypatch.setattr(pipeline, "BATCH_DATABASES", 2)

    back_up_all(make(a=SMALL, b=SMALL, c=SMALL))

    assert uploads == [["a", "b"], ["c"]]


def test_next_database_is_read_while_one_is_uploaded(
    make: Make, back_up_all: BackUp, wrap_rclone: WrapRclone, staging: Path
) -> None:
    """That is what the pipeline is for."""
    wrap_rclone(
        copy=f"""
case "$to" in */a/*.sqlite3) n=0
    until ls {staging}/*/snapshots/b/b-*; do
        sleep 0.05; n=$((n + 1)); [ $n -lt 600 ] || exit 7
    done ;;
esac
"""
    )

    assert outcomes(back_up_all(make(a=LARGE, b=LARGE))) == ["shipped"] * 2


def test_next_batch_is_uploaded_while_one_is_published(
    make: Make, back_up_all: BackUp, wrap_rclone: WrapRclone, tmp_path: Path
) -> None:
    """Manifests take a while at a far destination."""
    wrap_rclone(
        copy=f"""
case "$to" in
    */a/*.json) n=0
        until [ -e {tmp_path}/begun ]; do
            sleep 0.05; n=$((n + 1)); [ $n -lt 600 ] || exit 7
        done ;;
    */b/*.sqlite3) touch {tmp_path}/begun ;;
esac
"""
    )

    assert outcomes(back_up_all(make(a=LARGE, b=LARGE))) == ["shipped"] * 2


def test_destination_that_does_not_answer_holds_up_no_other(
    make: Make, back_up_all: BackUp, wrap_rclone: WrapRclone, s3: S3, tmp_path: Path
) -> None:
    """Each database has its manifest at the first before the second says what has arrived."""
    answer = tmp_path / "answer"
    wait = f'while [ ! -e "{answer}" ]; do sleep 0.05; done'
    wrap_rclone(stat=wait)
    databases = make(a=LARGE, b=LARGE)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(back_up_all, databases, and_to=[s3.to])
        try:
            wait_until(lambda: len(list((tmp_path / "to").glob("*/*Z-?????.json"))) == 2)
            assert "latest.json" not in "".join(s3.created())
        finally:
            answer.touch()

        assert outcomes(running.result()) == ["shipped", "shipped"]


def test_staging_folder_never_holds_more_than_two_batches(
    make: Make, staging: Path, back_up_all: BackUp
) -> None:
    """Seen from outside."""
    databases = make(a=LARGE, b=LARGE, c=LARGE, d=LARGE, e=LARGE)
    most = 0

    def look(event: Event) -> None:
        nonlocal most
        sizes = [path.stat().st_size for path in staging.rglob("*.sqlite3")]
        most = max(most, len([size for size in sizes if size]))

    run = back_up_all(databases, look)

    assert outcomes(run) == ["shipped"] * 5
    assert 1 <= most <= 2


# Room


@pytest.fixture
def give_room(staging: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the staging folder have room for so many large databases."""

    def give(large: int) -> None:
        monkeypatch.setattr(snapshot, "SPARE_BYTES", 0)
        room = large * BATCH_BYTES * 2

        def free_bytes(folder: Path) -> int:
            return room - sum(path.stat().st_size for path in staging.rglob("*.sqlite3"))

        monkeypatch.setattr(snapshot, "free_bytes", free_bytes)

    return give


def test_database_without_room_waits_for_those_before(
    make: Make, back_up_all: BackUp, give_room: Callable[[int], None]
) -> None:
    """Where two do not fit, they go one after the other."""
    give_room(1)

    run = back_up_all(make(a=LARGE, b=LARGE, c=LARGE))

    assert [(one.outcome, one.reason) for one in run.databases] == [("shipped", None)] * 3


def test_database_that_never_fits_fails_alone(
    make: Make, back_up_all: BackUp, give_room: Callable[[int], None]
) -> None:
    """The others are shipped."""
    give_room(1)

    run = back_up_all(make(a=SMALL, b=3 * LARGE, c=SMALL))

    assert outcomes(run) == ["shipped", "failed", "shipped"]
    assert "its snapshot needs" in str(run.databases[1].reason)


def test_databases_that_take_the_room_from_one_another_are_taken_one_by_one(
    make: Make,
    back_up_all: BackUp,
    give_room: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two that fit one after the other can both run out of room when they are read at once."""
    asked: list[Path] = []

    def free_bytes(folder: Path) -> int:
        asked.append(folder)
        return 0 if len(asked) <= 4 else 10 * BATCH_BYTES

    give_room(1)
    monkeypatch.setattr(snapshot, "free_bytes", free_bytes)

    assert outcomes(back_up_all(make(a=SMALL, b=SMALL))) == ["shipped", "shipped"]


# Locks


def test_no_more_batches_than_a_few_hold_their_locks(
    make: Make, back_up_all: BackUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is an open file: a slow destination must not make them too many."""
    waiting = most = 0

    class Recorded(Future[None]):
        """Is done as soon as somebody waits for it."""

        def result(self, timeout: float | None = None) -> None:
            nonlocal waiting
            waiting -= 1

    add = Queues.add

    def add_and_count(queues: Queues, batch: Batch) -> tuple[Future[None], Future[None]]:
        nonlocal waiting, most
        left, recorded = add(queues, batch)
        recorded.result()
        waiting += 1
        most = max(most, waiting)
        future = Recorded()
        future.set_result(None)
        return left, future

    monkeypatch.setattr(Queues, "add", add_and_count)
    monkeypatch.setattr(pipeline, "MOST_BATCHES", 3)

    back_up_all(make(**dict.fromkeys("abcdef", LARGE)))

    assert (most, waiting) == (3, 0)


def test_what_the_background_raises_ends_the_run(
    make: Make, back_up_all: BackUp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And no lock stays."""

    def explode(*arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(batch_module, "publish", explode)
    databases = make(a=LARGE, b=LARGE, c=LARGE)
    with pytest.raises(ZeroDivisionError):
        back_up_all(databases)

    with ExitStack() as locks:
        for one in databases:
            locks.enter_context(database_lock(tmp_path / "state", one.path))


def test_the_wait_for_locks_is_spent_once(
    make: Make, back_up_all: BackUp, beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six that stay locked fail after the wait of one, and none of them is called damaged."""
    monkeypatch.setattr(pipeline, "WAIT_SECONDS", 2.0)
    databases = make(a=SMALL, b=SMALL, c=SMALL, d=SMALL, e=SMALL, f=SMALL, good=SMALL)
    held = {one.name: beside("exclusive", one.path) for one in databases[:-1]}

    run = back_up_all(databases)

    assert outcomes(run) == ["failed"] * 6 + ["shipped"]
    assert run.seconds < 8
    for one in run.databases[:-1]:
        assert (one.check, one.exit_code) == (None, 1)
        assert f"locked by pid {held[one.name].pid} (python)" in str(one.reason)
