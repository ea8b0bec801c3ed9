"""Freshness as a pure question: what a listing and the metadata in it amount to."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlitekeeper.destination.catalog import DatabaseCatalog, Subject, read_catalog
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.drill_records import DrillRecord, last_drills
from sqlitekeeper.destination.fleet import fleet_status
from sqlitekeeper.destination.layout import (
    drill_record_object,
    latest_object,
    manifest_object,
    snapshot_object,
)
from sqlitekeeper.destination.manifest import Manifest, ManifestError, timestamp
from sqlitekeeper.destination.status import Evidence, Limits, StatusEntry, excused, judge
from sqlitekeeper.errors import CheckError
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.listing import RemoteObject

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LIMITS = Limits(NOW, 26 * 3600)
SUBJECT = Subject("app")


def hours_ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


def snapshot(hours: float) -> str:
    return snapshot_object("app", hours_ago(hours))


def shelf(*ages: float, marks: Sequence[str] = ()) -> DatabaseCatalog:
    """A destination's catalog with snapshots of 100 bytes, that many hours old."""
    paths = [path for age in ages for path in (snapshot(age), manifest_object(snapshot(age)))]
    objects = [RemoteObject(path, 100) for path in [*paths, latest_object("app"), *marks]]
    return read_catalog("lab:x", objects)["app"]


def latest(hours: float, confirmed: float | None = None, **more: Any) -> Manifest:
    manifest = Manifest(
        database="app",
        host="web1",
        taken_at=hours_ago(hours),
        confirmed_at=None if confirmed is None else hours_ago(confirmed),
        object=snapshot(hours),
        bytes=100,
        sha256="ab" * 32,
        journal_mode="wal",
        mode=0o600,
        acl=None,
        tables={},
        foreign_key_violations=0,
        raw={},
    )
    return replace(manifest, **more)


def judged(
    there: DatabaseCatalog,
    paper: Manifest | ManifestError | None,
    drills: dict[str, DrillRecord] | None = None,
) -> StatusEntry:
    return judge(SUBJECT, "lab:x", there, Evidence(paper, drills or {}), LIMITS)


def test_young_snapshot_is_fresh() -> None:
    """Nothing is remarked on, and every number is there."""
    entry = judged(shelf(2, 30), latest(2, confirmed=2))
    assert (entry.outcome, entry.reason, entry.exit_code) == ("fresh", None, 0)
    assert (entry.age_seconds, entry.bytes) == (7200, 100)
    assert entry.last_snapshot_at == entry.last_confirmed_at == timestamp(hours_ago(2))


def test_confirmation_keeps_an_old_snapshot_fresh() -> None:
    """What has not changed is not uploaded again; that it was seen counts."""
    entry = judged(shelf(100), latest(100, confirmed=1))
    assert (entry.outcome, entry.age_seconds) == ("fresh", 3600)


def test_old_snapshot_is_stale() -> None:
    """It ends with 12, and says how old and how old it may be."""
    entry = judged(shelf(50), latest(50, confirmed=49))
    assert (entry.outcome, entry.exit_code) == ("stale", 12)
    assert entry.reason == "2.0 days old at lab:x, the limit is 26.0 hours"


def test_limit_itself_is_fresh() -> None:
    """Older than the limit is stale."""
    assert judged(shelf(26), latest(26)).outcome == "fresh"
    assert judged(shelf(26.001), latest(26.001)).outcome == "stale"


def test_nothing_there_is_missing() -> None:
    """A database that was never backed up."""
    entry = judge(
        SUBJECT, "lab:x", DatabaseCatalog("app", (), (), None), Evidence(None, {}), LIMITS
    )
    assert (entry.outcome, entry.reason, entry.exit_code) == ("missing", "no snapshot at lab:x", 12)


def test_latest_alone_is_no_snapshot() -> None:
    """A latest.json that outlived all snapshots."""
    entry = judged(shelf(), latest(1, confirmed=1))
    assert (entry.outcome, entry.exit_code) == ("missing", 12)
    assert "which is not there" in str(entry.reason)


def test_latest_of_a_vanished_snapshot_is_not_believed() -> None:
    """The listing's own times count then."""
    entry = judged(shelf(30), latest(2, confirmed=1))
    assert (entry.outcome, entry.last_confirmed_at) == ("stale", None)
    assert "which is not there" in str(entry.reason)


def test_snapshot_of_another_size_than_confirmed_does_not_count() -> None:
    """It was cut short since, however young it is."""
    entry = judged(shelf(2), latest(2, confirmed=1, bytes=101))
    assert (entry.outcome, entry.last_confirmed_at) == ("missing", None)
    assert "100 bytes, unlike what latest.json says" in str(entry.reason)


def test_snapshot_before_the_one_that_was_cut_counts() -> None:
    """With its own age."""
    entry = judged(shelf(2, 30), latest(2, confirmed=1, bytes=101))
    assert (entry.outcome, entry.age_seconds) == ("stale", 30 * 3600)


def test_listing_alone_will_do_and_is_said() -> None:
    """Without a latest.json the times in the names count."""
    entry = judged(replace(shelf(2), latest=None), None)
    assert (entry.outcome, entry.reason) == ("fresh", "there is no latest.json")


@pytest.mark.parametrize("hours", [2, 20_000])
def test_confirmation_in_the_future_is_not_believed(hours: float) -> None:
    """It would keep the database fresh for as long."""
    entry = judged(shelf(30), latest(30, confirmed=-hours))
    assert (entry.outcome, entry.last_confirmed_at) == ("stale", None)
    assert "in the future" in str(entry.reason)


def test_clock_that_is_a_little_ahead_is_believed() -> None:
    """Clocks of two hosts never agree; an age is not less than nothing."""
    entry = judged(shelf(-0.5), latest(-0.5, confirmed=-0.9))
    assert (entry.outcome, entry.age_seconds) == ("fresh", 0)


def test_snapshot_from_the_future_does_not_count() -> None:
    """Its name is as untrusted as anything else there."""
    entry = judged(shelf(-2000, 30), latest(-2000, confirmed=-2000))
    assert (entry.outcome, entry.last_snapshot_at) == ("stale", timestamp(hours_ago(30)))


def test_unreadable_latest_is_a_failure() -> None:
    """Never fresh, whatever the listing says."""
    entry = judged(shelf(1), ManifestError("lab:x/app/latest.json: is not JSON"))
    assert (entry.outcome, entry.exit_code) == ("failed", 1)
    assert "is not JSON" in str(entry.reason)


def test_snapshot_that_failed_its_drill_does_not_count() -> None:
    """An older one that is sound does, with its own age."""
    drills = {snapshot(1): DrillRecord(snapshot(1), hours_ago(0.5), "failed")}
    entry = judged(shelf(1, 30), latest(1, confirmed=0.1), drills)
    assert (entry.outcome, entry.last_snapshot_at) == ("stale", timestamp(hours_ago(30)))
    assert "failed its last drill" in str(entry.reason)


def test_none_that_passed_is_missing() -> None:
    """There is nothing that is known to restore."""
    drills = {snapshot(h): DrillRecord(snapshot(h), hours_ago(0.5), "failed") for h in (1, 2)}
    entry = judged(shelf(1, 2), latest(1, confirmed=0.1), drills)
    assert (entry.outcome, entry.exit_code) == ("missing", 12)
    assert "1 older snapshot failed too" in str(entry.reason)


def test_last_proof_is_the_youngest_of_all() -> None:
    """Also that of an older snapshot."""
    drills = {
        snapshot(1): DrillRecord(snapshot(1), None, "proven"),
        snapshot(30): DrillRecord(snapshot(30), hours_ago(3), "proven"),
        snapshot(60): DrillRecord(snapshot(60), hours_ago(4), "proven"),
    }
    entry = judged(shelf(1, 30, 60), latest(1), drills)
    assert entry.last_proven_at == timestamp(hours_ago(3))


def test_loss_that_nobody_has_accepted_fails_the_check() -> None:
    """The database is fresh all the same, and what is fresh has lost rows."""
    hold = {"hold": {"since": timestamp(NOW), "tables": {"users": [1000, 3]}}}
    entry = judged(shelf(1), latest(1, raw=hold))
    assert (entry.outcome, entry.on_hold, entry.exit_code) == ("fresh", True, 12)
    assert "users fell from 1,000 rows to 3" in str(entry.reason)


@given(
    st.lists(st.floats(0, 1000), min_size=1, max_size=5),
    st.floats(-1000, 1000),
    st.floats(-1000, 1000),
    st.integers(99, 101),
)
def test_never_younger_than_what_is_there(
    ages: list[float], taken: float, confirmed: float, size: int
) -> None:
    """Whatever latest.json says: fresh needs a snapshot in time, or one that it confirms."""
    entry = judged(shelf(*ages), latest(taken, confirmed, bytes=size))
    borne_out = snapshot(taken) in map(snapshot, ages) and size == 100 and confirmed >= -1
    if entry.outcome == "fresh" and not borne_out:
        assert min(ages) <= 26 + 1 / 3600
    assert entry.exit_code == (0 if entry.outcome == "fresh" else 12)


def drills_by(texts: dict[str, bytes]) -> dict[str, DrillRecord]:
    there = shelf(1, marks=list(texts))
    return last_drills(there.snapshots, texts, {}, NOW)


def drill_outcome(kind: Any, hours: float) -> bytes:
    return DrillRecord(snapshot(1), hours_ago(hours), kind).text("web1")


PROVEN, FAILED = (drill_record_object(snapshot(1), kind) for kind in ("proven", "failed"))


def test_younger_of_two_marks_counts() -> None:
    """Where a destination does not let the older one be deleted."""
    texts = {PROVEN: drill_outcome("proven", 0.1), FAILED: drill_outcome("failed", 0.2)}
    assert drills_by(texts)[snapshot(1)].outcome == "proven"
    texts = {PROVEN: drill_outcome("proven", 0.2), FAILED: drill_outcome("failed", 0.1)}
    assert drills_by(texts)[snapshot(1)].outcome == "failed"


@pytest.mark.parametrize(
    "text",
    [b"", b"\xff", b"[]", b"{}", b"[" * 50_000, b'{"at": 5}', drill_outcome("failed", 0.1)],
)
def test_unreadable_mark_proves_nothing(text: bytes) -> None:
    """And a failed mark beside it counts."""
    assert drills_by({PROVEN: text})[snapshot(1)].at is None
    both = {PROVEN: text, FAILED: drill_outcome("failed", 5)}
    assert drills_by(both)[snapshot(1)].outcome == "failed"


def test_mark_from_the_future_proves_nothing() -> None:
    """Nobody drilled it tomorrow."""
    assert drills_by({PROVEN: drill_outcome("proven", -24)})[snapshot(1)].at is None


def test_what_only_this_host_knows_counts_if_it_is_younger() -> None:
    """For destinations that take no drill records."""
    there = shelf(1, marks=[PROVEN])
    record = DrillRecord(snapshot(1), hours_ago(0.2), "failed")
    for marked, outcome in ((0.1, "proven"), (0.3, "failed")):
        texts = {PROVEN: drill_outcome("proven", marked)}
        found = last_drills(there.snapshots, texts, {snapshot(1): record}, NOW)
        assert found[snapshot(1)].outcome == outcome


def test_absent_optional_database_is_excused_from_age_alone() -> None:
    """Nothing new can be expected of it; that nothing can be told stays a failure."""
    stale, error = judged(shelf(50), latest(50)), judged(shelf(1), ManifestError("x"))
    assert (excused(stale).outcome, excused(stale).exit_code) == ("skipped", 0)
    assert excused(error) == error


@pytest.mark.parametrize(
    "path", ["../x/app", "web1/../../x/app", "/etc/app", "web1//app", "./app", "a\nb/app", "a/.."]
)
def test_fleet_does_not_go_where_a_listing_leads_outside(path: str, tmp_path: Path) -> None:
    """Nothing of such a folder is asked for; there is not even an rclone here to ask."""
    objects = {f"{path}/latest.json": RemoteObject(f"{path}/latest.json", 100)}
    nothing = Rclone(str(tmp_path / "no-such-rclone"))
    with pytest.raises(CheckError, match="there is no snapshot below it"):
        fleet_status(Destination("lab:x", objects), nothing, LIMITS)
