"""The order in which databases pass the stations of a backup run."""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sqlitekeeper.backups import pipeline
from sqlitekeeper.backups.destination import Destination
from sqlitekeeper.backups.dispatch import Delivered
from sqlitekeeper.backups.pipeline import Job, run_pipeline
from sqlitekeeper.backups.rclone import Rclone
from sqlitekeeper.backups.rclone_program import find_rclone
from sqlitekeeper.backups.run import BackupOptions, back_up
from sqlitekeeper.backups.stage import Taken
from sqlitekeeper.errors import KeeperError, LockedError, NoRoomError
from sqlitekeeper.events import Event, Listener, ignore
from tests.conftest import MakeDatabase

NOW = datetime(2026, 11, 23, 3, 0, 0, tzinfo=UTC)
SMALL, LARGE = 2**20, 2**30


class Stations:
    """A run's stations that note who was there; sizes are given by name."""

    def __init__(self, **sizes: int) -> None:
        self.sizes = sizes
        self.log: list[str] = []
        self.locked_elsewhere: set[str] = set()
        self.room = 2**40
        self.staged: dict[str, int] = {}
        self.taken = {name: threading.Event() for name in sizes}
        self.most_staged = 0
        self.held: set[str] = set()
        self.under_way: set[str] = set()
        self.failures: dict[str, KeeperError] = {}
        self.before_delivery: Callable[[list[str]], None] = lambda names: None
        self.after_delivery: Callable[[list[str]], None] = lambda names: None
        self.before_announcement: Callable[[list[str]], None] = lambda names: None
        self._lock = threading.Lock()

    @property
    def jobs(self) -> deque[Job]:
        return deque(Job(name, Path(f"/{name}")) for name in self.sizes)

    def expected_bytes(self, job: Job) -> int:
        return self.sizes[job.name]

    def lock(self, job: Job, *, wait: bool) -> ExitStack:
        if job.name in self.locked_elsewhere:
            if not wait:
                raise LockedError("locked")
            assert not self.held - self.under_way, "others are kept waiting"
            self.locked_elsewhere.discard(job.name)
        stack = ExitStack()
        self.held.add(job.name)
        stack.callback(self.held.discard, job.name)
        return stack

    def prepare(self, jobs: list[Job]) -> None:
        pass

    def take(self, job: Job, listen: Listener) -> Taken:
        size = self.sizes[job.name]
        with self._lock:
            if sum(self.staged.values()) + size > self.room:
                raise NoRoomError("no room")
            self.staged[job.name] = size
            self.taken[job.name].set()
            self.under_way.add(job.name)
            self.most_staged = max(self.most_staged, sum(self.staged.values()))
        return Taken(job.name, job.path, NOW, job.name, "", size, {}, None, 0.0, None)

    def deliver(self, batch: list[Taken]) -> Delivered:
        names = [taken.name for taken in batch]
        self.before_delivery(names)
        with self._lock:
            for name in names:
                del self.staged[name]
        self.after_delivery(names)
        return Delivered(batch, [], {}, "", Destination("lab:x", {}), 0.0)

    def finish(self, delivered: Delivered) -> None:
        names = [taken.name for taken in delivered.batch]
        self.before_announcement(names)
        self.log.append(" ".join(names))
        self.under_way.difference_update(names)

    def fail(self, job: Job, error: KeeperError) -> None:
        self.failures[job.name] = error


def wait_for(event: threading.Event, needed: bool = True) -> None:
    assert not needed or event.wait(30)


def run(stations: Stations) -> None:
    run_pipeline(stations, stations.jobs, 2, ignore)
    assert stations.held == set()


def test_small_databases_share_a_batch_and_large_ones_go_alone() -> None:
    """In the order of the configuration."""
    stations = Stations(a=SMALL, b=SMALL, c=LARGE, d=LARGE, e=SMALL)

    run(stations)

    assert stations.log == ["a b", "c", "d", "e"]


def test_many_small_databases_make_several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each holds locks open."""
    monkeypatch.setattr(pipeline, "BATCH_DATABASES", 2)
    stations = Stations(a=SMALL, b=SMALL, c=SMALL)

    run(stations)

    assert stations.log == ["a b", "c"]


def test_next_database_is_read_while_one_is_shipped() -> None:
    """That is what the pipeline is for."""
    stations = Stations(a=LARGE, b=LARGE)
    stations.before_delivery = lambda names: wait_for(stations.taken["b"], names == ["a"])

    run(stations)

    assert stations.log == ["a", "b"]


def test_two_batches_are_delivered_at_once() -> None:
    """One may be at its end, where little goes on, when the other begins; their order stays."""
    stations = Stations(a=LARGE, b=LARGE)
    begun = threading.Event()

    def deliver(names: list[str]) -> None:
        if names == ["b"]:
            begun.set()
        wait_for(begun)

    stations.before_delivery = deliver
    run(stations)

    assert stations.log == ["a", "b"]


def test_batches_are_finished_in_their_order() -> None:
    """Also when a later one is delivered first."""
    stations = Stations(a=LARGE, b=LARGE)
    gone = threading.Event()
    stations.before_delivery = lambda names: wait_for(gone, names == ["a"])
    stations.after_delivery = lambda names: gone.set() if names == ["b"] else None

    run(stations)

    assert stations.log == ["a", "b"]


def test_next_batch_is_delivered_while_one_is_announced() -> None:
    """Manifests take a while at a far destination."""
    stations = Stations(a=LARGE, b=LARGE)
    delivered = threading.Event()
    stations.before_delivery = lambda names: delivered.set() if names == ["b"] else None
    stations.before_announcement = lambda names: wait_for(delivered, names == ["a"])

    run(stations)

    assert stations.log == ["a", "b"]


def test_staging_holds_two_large_databases_at_the_most() -> None:
    """However many there are."""
    stations = Stations(a=LARGE, b=LARGE, c=LARGE, d=LARGE)

    run(stations)

    assert stations.most_staged <= 2 * LARGE


def test_database_without_room_waits_for_those_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where two do not fit, they go one after the other."""
    stations = Stations(a=LARGE, b=LARGE, c=LARGE)
    stations.room = LARGE
    tried = threading.Semaphore(0)
    take = stations.take

    def take_and_tell(job: Job, listen: Listener) -> Taken:
        try:
            return take(job, listen)
        except NoRoomError:
            tried.release()
            raise

    monkeypatch.setattr(stations, "take", take_and_tell)

    def wait_until_tried(names: list[str]) -> None:
        assert names == ["c"] or tried.acquire(timeout=30)

    stations.before_delivery = wait_until_tried
    run(stations)

    assert stations.log == ["a", "b", "c"]
    assert stations.failures == {}


def test_database_that_never_fits_fails_alone() -> None:
    """The others are shipped."""
    stations = Stations(a=SMALL, b=LARGE, c=SMALL)
    stations.room = 2 * SMALL

    run(stations)

    assert stations.log == ["a", "c"]
    assert list(stations.failures) == ["b"]


def test_locked_database_ends_the_batch() -> None:
    """It is waited for when nothing else is held up by that."""
    stations = Stations(a=SMALL, b=SMALL, c=SMALL)
    stations.locked_elsewhere = {"b"}

    run(stations)

    assert stations.log == ["a", "b c"]


def test_what_the_background_raises_ends_the_run() -> None:
    """And no lock stays."""
    stations = Stations(a=LARGE, b=LARGE, c=LARGE)

    def explode(names: list[str]) -> None:
        raise ZeroDivisionError

    stations.before_delivery = explode
    with pytest.raises(ZeroDivisionError):
        run_pipeline(stations, stations.jobs, 2, ignore)

    assert stations.held == set()


def test_staging_folder_never_holds_more_than_two_batches(
    make_database: MakeDatabase, tmp_path: Path, staging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen from outside, with real snapshots and a real rclone."""
    monkeypatch.setattr(pipeline, "BATCH_BYTES", 2**16)
    jobs = [Job(f"db{n}", make_database(f"db{n}.sqlite3", rows=1000)) for n in range(5)]
    most = 0

    def look(event: Event) -> None:
        nonlocal most
        sizes = [path.stat().st_size for path in staging.rglob("*.sqlite3")]
        most = max(most, len([size for size in sizes if size]))

    options = BackupOptions(
        to=(str(tmp_path / "to"),),
        rclone=Rclone(find_rclone(None)),
        state=tmp_path / "state",
        host="web1",
        keeper_version="0.1.0",
        clock=lambda: NOW,
        staging=staging,
    )
    result = back_up(jobs, options, look)

    assert [one.outcome for one in result.databases] == ["shipped"] * 5
    assert 1 <= most <= 2


def test_databases_that_take_the_room_from_one_another_are_taken_one_by_one() -> None:
    """Two that fit one after the other can both run out of room when they are read at once."""
    stations, both = Stations(a=SMALL, b=SMALL), threading.Barrier(2)
    stations.room, tried = SMALL, set[str]()
    take = stations.take

    def crowd(job: Job, listen: Listener) -> Taken:
        if job.name not in tried:
            tried.add(job.name)
            both.wait(30)
            raise NoRoomError("no room")
        return take(job, listen)

    stations.take = crowd  # type: ignore[method-assign]
    run_pipeline(stations, stations.jobs, 2, ignore)

    assert (stations.log, stations.failures) == (["a", "b"], {})
