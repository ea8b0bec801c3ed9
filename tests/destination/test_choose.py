"""Which snapshot is meant."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlitekeeper.destination.catalog import Snapshot, read_catalog
from sqlitekeeper.destination.choose import (
    choose,
    instead_of,
    longest_undrilled,
    promised_snapshots,
)
from sqlitekeeper.destination.layout import snapshot_object
from sqlitekeeper.errors import ConfigError, KeeperError
from sqlitekeeper.rclone.listing import RemoteObject

FIRST = datetime(2026, 11, 21, 3, tzinfo=UTC)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def snapshot(taken_at: datetime, to: str = "lab:x") -> Snapshot:
    return Snapshot("app", to, snapshot_object("app", taken_at), taken_at, 100)


DAYS = [snapshot(FIRST + timedelta(days=day)) for day in (2, 1, 0)]
NEWEST, MIDDLE, OLDEST = DAYS


@pytest.mark.parametrize(
    ("at", "meant"),
    [
        ("latest", NEWEST),
        ("2026-11-22T03:00:00Z", MIDDLE),
        ("2026-11-22T02:59:59Z", OLDEST),
        ("2026-11-22T03:00", MIDDLE),
        ("20261122T030000Z", MIDDLE),
        ("2026-11-22T04:30+02:00", OLDEST),
        ("2026-11-22 12:00", MIDDLE),
        ("2099-01-01", NEWEST),
        (MIDDLE.object, MIDDLE),
        (" app-20261121T030000Z.sqlite3 ", OLDEST),
    ],
)
def test_what_is_meant(at: str, meant: Snapshot) -> None:
    """latest, a time (UTC unless it says otherwise), a path, a file name: each means one."""
    assert choose(DAYS, at, NOW) == meant


def test_bare_date_includes_the_whole_day() -> None:
    """Who names a day wants what that day ended with."""
    evening = snapshot(datetime(2026, 11, 22, 23, 59, 59, tzinfo=UTC))
    assert choose([*DAYS, evening], "2026-11-22", NOW) == evening


@given(st.permutations(DAYS), st.datetimes(FIRST.replace(tzinfo=None), datetime(2027, 1, 1)))
def test_time_means_the_newest_not_after_it(snapshots: list[Snapshot], moment: datetime) -> None:
    """Whatever the order they come in."""
    at = moment.replace(tzinfo=UTC)
    expected = next(one for one in DAYS if one.taken_at <= at)
    assert choose(snapshots, at.isoformat(), NOW) == expected


def test_first_of_two_copies_is_meant() -> None:
    """With the same snapshot at two destinations, the one that is given first."""
    copy = snapshot(NEWEST.taken_at, "lab:y")
    assert choose([copy, *DAYS], "latest", NOW) == copy


@pytest.mark.parametrize("at", ["2026-11-20", "2026-11-21T02:59Z", "app-20990101T000000Z.sqlite3"])
def test_error_names_the_oldest_and_the_newest(at: str) -> None:
    """Who asked for what is not there learns what is."""
    with pytest.raises(KeeperError) as caught:
        choose(DAYS, at, NOW)
    assert caught.value.hint is not None
    assert OLDEST.object in caught.value.hint
    assert NEWEST.object in caught.value.hint


@pytest.mark.parametrize("at", ["yesterday", "", "2026-13-01", "0001-01-01T00:00+14:00"])
def test_what_is_no_time_is_a_usage_error(at: str) -> None:
    """Such a mistake is not "no snapshot"."""
    with pytest.raises(ConfigError, match="neither latest, nor a time"):
        choose(DAYS, at, NOW)


def test_nothing_to_choose_from() -> None:
    """There is not always an oldest and a newest."""
    with pytest.raises(KeeperError, match=r"there is no snapshot$"):
        choose([], "latest", NOW)


@pytest.mark.parametrize(
    ("damaged", "others", "instead"),
    [
        (NEWEST, [MIDDLE, OLDEST], MIDDLE),
        (NEWEST, [replace(MIDDLE, drill_outcome="failed"), OLDEST], OLDEST),
        (OLDEST, [NEWEST, MIDDLE], MIDDLE),
        (MIDDLE, [replace(OLDEST, drill_outcome="failed"), NEWEST], NEWEST),
        (NEWEST, [replace(OLDEST, drill_outcome="failed")], None),
        (NEWEST, [replace(NEWEST, to="other:x")], None),
    ],
)
def test_instead_of_a_damaged_one_comes_the_next_before_it(
    damaged: Snapshot, others: list[Snapshot], instead: Snapshot | None
) -> None:
    """Or the next after it, where there is none; what a drill found damaged is not offered."""
    assert instead_of(damaged, [damaged, *others]) == instead


def test_never_drilled_come_first_the_oldest_of_them() -> None:
    """Rotation leaves no snapshot out."""
    drilled = {MIDDLE.object: FIRST}
    assert longest_undrilled(DAYS, drilled) == OLDEST


def test_then_the_longest_undrilled() -> None:
    """Its age does not matter, only when it was drilled."""
    drilled = {
        OLDEST.object: FIRST + timedelta(days=9),
        MIDDLE.object: FIRST + timedelta(days=8),
        NEWEST.object: FIRST + timedelta(days=7),
    }
    assert longest_undrilled(DAYS, drilled) == NEWEST


def test_manifest_promises_a_snapshot_that_is_gone() -> None:
    """A lost snapshot is one to look for; a mark alone, or a snapshot without manifest, is none."""
    stem = "app/app-20261123T030000Z"
    others = ("app/app-20261122T030000Z.proven.json", "app/app-20261121T030000Z.sqlite3")
    objects = [RemoteObject(path, 5) for path in (f"{stem}.json", f"{stem}.failed.json", *others)]
    (found,) = promised_snapshots("lab:x", read_catalog("lab:x", objects)["app"])
    assert (found.object, found.bytes) == (f"{stem}.sqlite3", 0)
    assert [paper.path for paper in found.metadata] == [f"{stem}.json", f"{stem}.failed.json"]


def test_of_one_second_the_last_by_name_is_meant() -> None:
    """As a listing shows them, whichever destination is asked first; each can be named."""
    one, other = (
        replace(NEWEST, object=snapshot_object("app", NEWEST.taken_at, token), to=to)
        for token, to in (("b2b2b", "lab:x"), ("z9z9z", "lab:y"))
    )
    for at in ("latest", "2026-11-23T03:00:00Z"):
        assert choose([one, *DAYS[1:], other], at, NOW) == other
    assert choose([one, other], "app-20261123T030000Z-b2b2b.sqlite3", NOW) == one
    assert instead_of(other, [*DAYS[1:], one, other]) == one


def test_manifest_with_a_token_promises_its_own_snapshot() -> None:
    """And not the other one of its second."""
    stem = "app/app-20261123T030000Z"
    paths = (f"{stem}-k3f9q.json", f"{stem}.sqlite3", f"{stem}.json")
    objects = [RemoteObject(path, 5) for path in paths]
    found = promised_snapshots("lab:x", read_catalog("lab:x", objects)["app"])
    assert {one.object: one.bytes for one in found} == {
        f"{stem}.sqlite3": 5,
        f"{stem}-k3f9q.sqlite3": 0,
    }
