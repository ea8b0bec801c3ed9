"""Clocks that jump, stand still, are a year off, or are put back in autumn."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import apsw
import pytest

from sqlitekeeper.backup.result import BackupResult, BackupRun
from sqlitekeeper.backup.run import BackupOptions, back_up
from sqlitekeeper.config.settings import Database
from sqlitekeeper.destination.catalog import DatabaseCatalog, Subject, read_catalog
from sqlitekeeper.destination.choose import choose
from sqlitekeeper.destination.destination import list_destination
from sqlitekeeper.destination.layout import parse_object
from sqlitekeeper.destination.prune import kept_by, plan_prune
from sqlitekeeper.destination.retention import Policy
from sqlitekeeper.destination.status import Limits, StatusEntry, database_status
from sqlitekeeper.events import Event, Note
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.listing import RemoteObject
from sqlitekeeper.rclone.program import find_rclone
from tests.conftest import BackupConfig, Keeper, MakeDatabase, count_rows
from tests.faults.surroundings import manifests_that_lie, snapshots_of

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
YEAR = timedelta(days=365)
TOKEN = "k3f9q"
DAILY = Policy(keep_last=1, keep_daily=7)


@dataclass
class Host:
    """A host with one database and one local destination, whose clock says what a test says."""

    database: Path
    to: Path
    staging: Path
    state: Path
    policy: Policy | None = None
    said: list[str] = field(default_factory=list)

    def back_up(self, at: datetime, *, changed: bool = True) -> BackupResult:
        """One run at a time by its clock, after a change of the database."""
        if changed:
            connection = apsw.Connection(str(self.database))
            connection.execute("INSERT INTO t (body) VALUES (randomblob(9))").fetchall()
            connection.close()
        (result,) = self.run(at).databases
        assert result.exit_code == 0, result.reason
        return result

    def run(self, at: datetime) -> BackupRun:
        options = BackupOptions(
            to=(str(self.to),),
            rclone=Rclone(find_rclone(None)),
            state=self.state,
            host="web1",
            keeper_version="0.1.0",
            clock=lambda: at,
            staging=self.staging,
            policy=self.policy,
            token=lambda: TOKEN,
        )
        self.said.clear()
        return back_up([Database("app", self.database)], options, self.on_event)

    def on_event(self, event: Event) -> None:
        if isinstance(event, Note):
            self.said.append(event.text)

    def shelf(self) -> DatabaseCatalog:
        listing = Rclone(find_rclone(None)).list_objects(str(self.to)) or {}
        return read_catalog(str(self.to), listing.values())["app"]

    def status(self, at: datetime) -> StatusEntry:
        """What `keeper status` with a limit of 26 hours says."""
        rclone = Rclone(find_rclone(None))
        destinations = [list_destination(rclone, str(self.to))]
        limits = Limits(at, 26 * 3600)
        (entry,) = database_status(
            [Subject("app", self.database)], destinations, rclone, limits, {}
        )
        return entry


@pytest.fixture
def host(make_database: MakeDatabase, tmp_path: Path, staging: Path) -> Host:
    return Host(make_database(rows=5), tmp_path / "to", staging, tmp_path / "state")


def object_at(moment: datetime) -> str:
    return f"app/app-{moment:%Y%m%dT%H%M%SZ}-{TOKEN}.sqlite3"


# Names: unique, and in the order in which they were taken


@pytest.mark.parametrize(
    "jump",
    [timedelta(seconds=-1), timedelta(minutes=-59)],
    ids=["one second back", "59 minutes back"],
)
@pytest.mark.parametrize("remembers", [True, False], ids=["same host", "state lost"])
def test_clock_that_was_set_back_does_not_change_the_order(
    host: Host, tmp_path: Path, jump: timedelta, remembers: bool
) -> None:
    """What was taken later sorts later, is the latest, and has the newest row."""
    first = host.back_up(NOW)
    if not remembers:
        host.state = tmp_path / "another-state"

    second = host.back_up(NOW + jump)

    objects = [one.shipped[0].object for one in (first, second)]
    assert objects == [object_at(NOW), object_at(NOW + timedelta(seconds=1))]
    newest = host.shelf().newest
    assert newest
    assert newest.object == objects[1]
    assert choose(host.shelf().snapshots, "latest", NOW + jump) == newest
    assert second.tables == {"t": 7}
    assert manifests_that_lie(host.to) == []


def test_three_runs_in_one_second_have_three_names(host: Host) -> None:
    """And each is a whole snapshot."""
    for _ in range(3):
        host.back_up(NOW)

    assert snapshots_of(host.to) == [
        f"app-20261123T03000{second}Z-{TOKEN}.sqlite3" for second in range(3)
    ]
    assert manifests_that_lie(host.to) == []


def test_two_hosts_in_one_second_do_not_overwrite_each_other(host: Host, tmp_path: Path) -> None:
    """Neither knows of the other but through the destination."""
    host.back_up(NOW)
    host.state = tmp_path / "another-state"
    host.back_up(NOW)

    assert len(snapshots_of(host.to)) == 2
    assert manifests_that_lie(host.to) == []


def test_hour_that_comes_twice_in_autumn_has_two_names(host: Host) -> None:
    """02:30 in Berlin, before and after the clocks are put back: an hour apart, in UTC."""
    berlin = ZoneInfo("Europe/Berlin")
    for fold in (0, 1):
        host.back_up(datetime(2026, 10, 25, 2, 30, tzinfo=berlin, fold=fold))

    assert snapshots_of(host.to) == [
        f"app-20261025T003000Z-{TOKEN}.sqlite3",
        f"app-20261025T013000Z-{TOKEN}.sqlite3",
    ]


def test_time_zone_of_the_host_is_never_seen(
    keeper: Keeper, host: Host, backup_config: BackupConfig
) -> None:
    """Names, log lines and JSON are UTC wherever the host is."""
    backup_config(host.database, to=host.to)
    before = datetime.now(UTC).replace(microsecond=0)

    run = keeper("backup", env={"TZ": "Pacific/Kiritimati"})

    after = datetime.now(UTC)
    (name,) = snapshots_of(host.to)
    known = parse_object(f"app/{name}")
    assert known
    taken_at = known.taken_at
    assert before <= taken_at <= after
    times = re.findall(r"^\S+T\S+", run.out + run.err, re.M)
    assert times
    assert all(before <= datetime.fromisoformat(time) <= after for time in times)
    assert all(time.endswith("+00:00") for time in times)


# A clock that was a year ahead, and was corrected


@pytest.fixture
def corrected(host: Host) -> Host:
    """Yesterday's clock was a year ahead; since then nothing was backed up."""
    host.back_up(NOW - timedelta(days=2))
    host.back_up(NOW - timedelta(days=1) + YEAR)
    return host


def test_snapshot_from_the_future_is_not_fresh(corrected: Host) -> None:
    """Or no missing backup would be noticed for a year."""
    entry = corrected.status(NOW)

    assert entry.outcome == "stale"
    assert "dated in the future" in str(entry.reason)


@pytest.mark.parametrize("changed", [True, False], ids=["changed", "unchanged"])
def test_next_run_makes_it_fresh_again(corrected: Host, changed: bool) -> None:
    """By the right time, also where the content is that of the snapshot from the future."""
    result = corrected.back_up(NOW, changed=changed)

    assert result.outcome == "shipped"
    assert result.shipped[0].object == object_at(NOW)
    assert corrected.status(NOW + timedelta(hours=1)).outcome == "fresh"
    assert corrected.status(NOW + timedelta(days=3)).outcome == "stale"
    latest = choose(corrected.shelf().snapshots, "latest", NOW)
    assert latest.object == object_at(NOW)


def test_run_after_that_is_unchanged(corrected: Host) -> None:
    """It is shipped again once, not each time."""
    corrected.back_up(NOW, changed=False)

    assert corrected.back_up(NOW + timedelta(hours=1), changed=False).outcome == "unchanged"


def test_nothing_is_pruned_unasked_beside_a_snapshot_from_the_future(corrected: Host) -> None:
    """It may be the clock of now that is wrong. keeper prune goes by the others."""
    corrected.policy = Policy(keep_last=1)
    for day in range(2):
        corrected.back_up(NOW + timedelta(days=day))

    assert len(snapshots_of(corrected.to)) == 4
    assert any("keeper prune goes by the others" in text for text in corrected.said)
    plan = plan_prune(corrected.shelf(), "lab:x", corrected.policy, NOW + timedelta(days=1))
    assert [snapshot.object for snapshot, _ in plan.kept] == [
        object_at(NOW - timedelta(days=1) + YEAR),
        object_at(NOW + timedelta(days=1)),
    ]


def shelf_of(moments: list[datetime]) -> DatabaseCatalog:
    paths = [object_at(moment) for moment in moments]
    metadata = [path.replace(".sqlite3", ".json") for path in paths]
    objects = [RemoteObject(path, 9) for path in (*paths, *metadata)]
    return read_catalog("lab:x", objects)["app"]


def test_retention_does_not_delete_good_snapshots_for_those_from_the_future() -> None:
    """Seven days of a clock a year ahead would have taken all seven places."""
    real = [NOW - timedelta(days=day) for day in range(7)]
    future = [moment + YEAR for moment in real]

    plan = plan_prune(shelf_of(real + future), "lab:x", DAILY, NOW)

    assert plan.gone == ()


@pytest.mark.parametrize("off", [-50 * YEAR, -YEAR, YEAR], ids=["1976", "a year back", "a year on"])
def test_clock_that_is_wrong_now_deletes_no_more_than_a_right_one(off: timedelta) -> None:
    """Whatever it says, all stay that would stay by the right time."""
    real = [NOW - timedelta(hours=6 * count) for count in range(60)]
    shelf = shelf_of([*real, NOW + off])

    def kept(now: datetime) -> set[str]:
        return {one.object for one, why in kept_by(shelf_of(real), DAILY, now).items() if why}

    stays = {one.object for one, why in kept_by(shelf, DAILY, NOW + off).items() if why}
    newest = {object_at(moment) for moment in (NOW, NOW + off)}
    assert newest <= stays
    # Dated ahead, the new one is a day of its own, as every day's first snapshot is.
    assert len(kept(NOW) - stays) <= (1 if off > timedelta(0) else 0)


def test_clock_that_is_a_year_back_ships_and_says_so(host: Host) -> None:
    """The snapshots before it stay, and status by the right clock is stale."""
    host.policy = Policy(keep_last=1)
    host.back_up(NOW)

    host.back_up(NOW - YEAR)

    assert len(snapshots_of(host.to)) == 2
    assert manifests_that_lie(host.to) == []
    assert host.status(NOW + timedelta(days=2)).outcome == "stale"
    host.back_up(NOW + timedelta(days=3))
    assert host.status(NOW + timedelta(days=3)).outcome == "fresh"


def test_what_was_shipped_by_a_clock_that_was_back_is_shipped_again(host: Host) -> None:
    """Or the latest snapshot would be one from before the last change, and be called fresh."""
    host.back_up(NOW - timedelta(hours=1))
    host.back_up(NOW - timedelta(days=2))

    again = host.back_up(NOW, changed=False)
    after = host.back_up(NOW + timedelta(hours=1), changed=False)

    assert (again.outcome, after.outcome) == ("shipped", "unchanged")
    latest = choose(host.shelf().snapshots, "latest", NOW)
    assert latest.object == object_at(NOW)
    assert count_rows(host.to / latest.object) == count_rows(host.database)


def test_two_that_ship_the_same_content_do_not_take_turns_for_ever(
    host: Host, tmp_path: Path
) -> None:
    """As root and another user do: once each knows what the newest is, it is unchanged."""
    states = [host.state, tmp_path / "another-state"]
    found = []
    for run in range(6):
        host.state = states[run % 2]
        found.append(host.back_up(NOW + timedelta(hours=run), changed=False).outcome)

    assert found[2:] == ["unchanged"] * 4
