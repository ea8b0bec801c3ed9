"""The order in which databases pass the stations of a backup run."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sqlitekeeper.backup import pipeline
from sqlitekeeper.backup import publish as finishing
from sqlitekeeper.backup.model import Delivered, Taken
from sqlitekeeper.backup.pipeline import Job, run_pipeline
from sqlitekeeper.backup.result import BackupRun
from sqlitekeeper.backup.run import BackupOptions, back_up
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.errors import KeeperError, LockedError, NoRoomError
from sqlitekeeper.events import Event, Listener, ignore
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.program import find_rclone
from sqlitekeeper.workers import Place
from tests.conftest import S3, MakeDatabase, WrapRclone, wait_until

NOW = datetime(2026, 11, 23, 3, 0, 0, tzinfo=UTC)
SMALL, LARGE = 2**20, 2**30


class Stations:
    """A run's stations that note who was there; sizes are given by name."""

    def __init__(self, **sizes: int) -> None:
        self.sizes = sizes
        self.log: list[str] = []
        self.gathered: list[int] = []
        self.locked_elsewhere: set[str] = set()
        self.room = 2**40
        self.staged: dict[str, int] = {}
        self.taken = {name: threading.Event() for name in sizes}
        self.most_staged = 0
        self.held: set[str] = set()
        self.under_way: set[str] = set()
        self.failures: dict[str, KeeperError] = {}
        self.before_delivery: Callable[[list[str]], None] = lambda names: None
        self.upload: Callable[[list[str]], None] = lambda names: None
        self.after_upload: Callable[[list[str]], None] = lambda names: None
        self.after_delivery: Callable[[list[str]], None] = lambda names: None
        self.before_announcement: Callable[[list[str]], None] = lambda names: None
        self._lock = threading.Lock()

    @property
    def jobs(self) -> deque[Job]:
        return deque(Job(name, Path(f"/{name}")) for name in self.sizes)

    def expected_bytes(self, job: Job) -> int:
        return self.sizes[job.name]

    def has_room(self, size: int) -> bool:
        with self._lock:
            return sum(self.staged.values()) + size <= self.room

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

    def take(self, job: Job, on_event: Listener) -> Taken:
        size = self.sizes[job.name]
        with self._lock:
            if sum(self.staged.values()) + size > self.room:
                raise NoRoomError("no room")
            self.staged[job.name] = size
            self.taken[job.name].set()
            self.under_way.add(job.name)
            self.most_staged = max(self.most_staged, sum(self.staged.values()))
        return Taken(job.name, job.path, NOW, job.name, "", size, {}, None, 0.0, None)

    def deliver(self, batch: list[Taken], place: Place) -> Delivered:
        names = [taken.name for taken in batch]
        self.before_delivery(names)
        place.wait()
        self.upload(names)
        place.leave()
        self.after_upload(names)
        with self._lock:
            for name in names:
                del self.staged[name]
        self.after_delivery(names)
        return Delivered(batch, [], {}, "", Destination("lab:x", {}), Future(), 0.0)

    def finish(self, batches: Sequence[Delivered]) -> None:
        self.gathered.append(len(batches))
        for delivered in batches:
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


@pytest.mark.parametrize(("jobs", "at_once"), [(1, 1), (2, 2), (8, 2)])
def test_first_two_large_databases_are_read_at_once(
    monkeypatch: pytest.MonkeyPatch, jobs: int, at_once: int
) -> None:
    """Nothing else goes on then; but no more than --jobs."""
    stations = Stations(a=LARGE, b=LARGE, c=LARGE)
    take, reading, most = stations.take, set[str](), 0

    def take_slowly(job: Job, on_event: Listener) -> Taken:
        nonlocal most
        reading.add(job.name)
        if job.name in "ab":
            others = {"a", "b"} - {job.name}
            wait_until(lambda: others <= reading or at_once == 1)
        most = max(most, len(reading))
        taken = take(job, on_event)
        # Here they meet again, so that neither has left before the other has looked.
        if job.name in "ab" and at_once > 1:
            both.wait(30)
        reading.discard(job.name)
        return taken

    both = threading.Barrier(2)
    monkeypatch.setattr(stations, "take", take_slowly)
    run_pipeline(stations, stations.jobs, jobs, ignore)

    assert most == at_once
    assert stations.log == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("sizes", "room"),
    [
        pytest.param({"a": LARGE, "b": LARGE}, 2 * LARGE - 1, id="no room for both"),
        pytest.param({"a": LARGE, "b": 2 * LARGE}, 2**40, id="the next is larger"),
        pytest.param({"a": SMALL, "b": LARGE}, 2**40, id="the first is small"),
        pytest.param({"a": LARGE, "b": SMALL}, 2**40, id="the next is small"),
    ],
)
def test_others_are_read_one_by_one(sizes: dict[str, int], room: int) -> None:
    """So that the first one is on its way as soon as it can be."""
    stations = Stations(**sizes)
    stations.room = room
    stations.upload = lambda names: wait_for(begun, names == ["a"])
    take, begun, order = stations.take, threading.Event(), list[str]()

    def take_in_order(job: Job, on_event: Listener) -> Taken:
        order.append(job.name)
        if job.name == "b":
            begun.set()
        return take(job, on_event)

    stations.before_delivery = order.extend
    stations.take = take_in_order  # type: ignore[method-assign]
    if room < 2 * LARGE:
        begun.set()
    run(stations)

    assert order[:2] == ["a", "a"]
    assert stations.log == ["a", "b"]


def test_batch_is_uploaded_when_all_of_the_one_before_was_sent() -> None:
    """What the destination then does with it, the next one need not wait for."""
    stations = Stations(a=LARGE, b=LARGE)
    waiting, begun, order = threading.Event(), threading.Event(), list[str]()
    stations.before_delivery = lambda names: waiting.set() if names == ["b"] else None

    def upload(names: list[str]) -> None:
        order.append(f"{names[0]} begins")
        if names == ["a"]:
            wait_for(waiting)
            order.append("a is sent")
        else:
            begun.set()

    stations.upload = upload
    stations.after_upload = lambda names: wait_for(begun)
    run(stations)

    assert order == ["a begins", "a is sent", "b begins"]
    assert stations.log == ["a", "b"]


def test_batches_are_finished_in_their_order() -> None:
    """Also when a later one is delivered first."""
    stations = Stations(a=LARGE, b=LARGE)
    gone = threading.Event()
    stations.after_upload = lambda names: wait_for(gone, names == ["a"])
    stations.after_delivery = lambda names: gone.set() if names == ["b"] else None

    run(stations)

    assert stations.log == ["a", "b"]


def test_batches_that_come_soon_after_one_another_are_finished_in_one_go() -> None:
    """Of five that are delivered within a moment, no more wait than are gathered."""
    stations = Stations(a=LARGE, b=LARGE, c=LARGE, d=LARGE, e=LARGE)

    run(stations)

    assert stations.log == ["a", "b", "c", "d", "e"]
    assert sum(stations.gathered) == 5
    assert max(stations.gathered) >= 2


def test_batch_does_not_wait_long_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is uploaded for hours does not keep another from being announced."""
    monkeypatch.setattr(finishing, "GATHER_SECONDS", 0.1)
    stations = Stations(a=LARGE, b=LARGE)
    announced = threading.Event()
    stations.before_announcement = lambda names: announced.set()
    stations.upload = lambda names: wait_for(announced, names == ["b"])

    run(stations)

    assert stations.gathered == [1, 1]


def test_batch_that_is_the_last_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do many small databases."""
    monkeypatch.setattr(finishing, "GATHER_SECONDS", 60)
    began = time.monotonic()

    run(Stations(a=LARGE))

    assert time.monotonic() - began < 30


def test_next_batch_is_delivered_while_one_is_announced() -> None:
    """Manifests take a while at a far destination."""
    stations = Stations(a=LARGE, b=LARGE)
    delivered = threading.Event()
    stations.upload = lambda names: delivered.set() if names == ["b"] else None
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

    def take_and_tell(job: Job, on_event: Listener) -> Taken:
        try:
            return take(job, on_event)
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


BackUpEach = Callable[..., BackupRun]


@pytest.fixture
def back_up_each(tmp_path: Path, staging: Path, monkeypatch: pytest.MonkeyPatch) -> BackUpEach:
    """Really backs databases up, each as a batch of its own."""

    monkeypatch.setenv("RCLONE_CONFIG_DISK_TYPE", "local")

    def run(jobs: list[Job], on_event: Listener = ignore, and_to: Sequence[str] = ()) -> BackupRun:
        monkeypatch.setattr(pipeline, "BATCH_BYTES", 2**12)
        to = str(tmp_path / "to") if and_to else f"disk:{tmp_path}/to"
        options = BackupOptions(
            to=(to, *and_to),
            rclone=Rclone(find_rclone(None)),
            state=tmp_path / "state",
            host="web1",
            keeper_version="0.1.0",
            clock=lambda: NOW,
            staging=staging,
        )
        return back_up(jobs, options, on_event)

    return run


def test_destination_that_does_not_answer_holds_up_no_other(
    make_database: MakeDatabase,
    back_up_each: BackUpEach,
    wrap_rclone: WrapRclone,
    s3: S3,
    tmp_path: Path,
) -> None:
    """Each database has its manifest at the first before the second says what has arrived."""
    answer = tmp_path / "answer"
    wait = f'while [ ! -e "{answer}" ]; do sleep 0.05; done'
    wrap_rclone(stat=wait)
    jobs = [Job(name, make_database(f"{name}.sqlite3")) for name in "ab"]
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(back_up_each, jobs, and_to=[s3.to])
        try:
            wait_until(lambda: len(list((tmp_path / "to").glob("*/*Z-?????.json"))) == 2)
            assert "latest.json" not in "".join(s3.created())
        finally:
            answer.touch()

        assert [one.outcome for one in running.result().databases] == ["shipped", "shipped"]


def test_staging_folder_never_holds_more_than_two_batches(
    make_database: MakeDatabase, staging: Path, back_up_each: BackUpEach
) -> None:
    """Seen from outside, with real snapshots and a real rclone."""
    jobs = [Job(f"db{n}", make_database(f"db{n}.sqlite3", rows=1000)) for n in range(5)]
    most = 0

    def look(event: Event) -> None:
        nonlocal most
        sizes = [path.stat().st_size for path in staging.rglob("*.sqlite3")]
        most = max(most, len([size for size in sizes if size]))

    result = back_up_each(jobs, look)

    assert [one.outcome for one in result.databases] == ["shipped"] * 5
    assert 1 <= most <= 2


# An upload of the first that has sent all, and ends when that of the second has begun.
LINGERS = """
case "$from" in
    */a/*.sqlite3)
        n=0
        until [ -e "BEGUN" ]; do sleep 0.05; n=$((n + 1)); [ $n -lt 600 ] || exit 7; done ;;
    */b/*.sqlite3) touch "BEGUN" ;;
esac
"""


def test_next_upload_begins_when_rclone_has_read_all_of_the_one_before(
    make_database: MakeDatabase, back_up_each: BackUpEach, wrap_rclone: WrapRclone, tmp_path: Path
) -> None:
    """It need not end for that: an S3 server first puts the parts together."""
    wrap_rclone(
        copy=LINGERS.replace("BEGUN", f"{tmp_path}/begun"),
        stats="""echo '{"bytes": 1000000000}'; exit 0""",
    )

    result = back_up_each([Job(name, make_database(f"{name}.sqlite3")) for name in "ab"])

    assert [one.outcome for one in result.databases] == ["shipped"] * 2


def test_databases_that_take_the_room_from_one_another_are_taken_one_by_one() -> None:
    """Two that fit one after the other can both run out of room when they are read at once."""
    stations, both = Stations(a=SMALL, b=SMALL), threading.Barrier(2)
    stations.room, tried = SMALL, set[str]()
    take = stations.take

    def crowd(job: Job, on_event: Listener) -> Taken:
        if job.name not in tried:
            tried.add(job.name)
            both.wait(30)
            raise NoRoomError("no room")
        return take(job, on_event)

    stations.take = crowd  # type: ignore[method-assign]
    run_pipeline(stations, stations.jobs, 2, ignore)

    assert (stations.log, stations.failures) == (["a", "b"], {})
