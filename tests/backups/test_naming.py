"""Names at a destination."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlitekeeper.backups.naming import (
    latest_object,
    manifest_object,
    parse_object,
    snapshot_object,
)

MOMENTS = st.datetimes(
    min_value=datetime(1971, 1, 2), max_value=datetime(2199, 1, 1), timezones=st.just(UTC)
)
NAMES = st.text(st.characters(exclude_categories=["C"], exclude_characters="/\\"), min_size=1)


def test_names_are_those_of_the_design() -> None:
    """A folder for each database, the time in UTC, the manifest beside the snapshot."""
    moment = datetime(2026, 11, 23, 3, 0, 0, tzinfo=UTC)

    snapshot = snapshot_object("production", moment)

    assert snapshot == "production/production-20261123T030000Z.sqlite3"
    assert manifest_object(snapshot) == "production/production-20261123T030000Z.json"
    assert latest_object("production") == "production/latest.json"


@given(MOMENTS, st.integers(-14 * 60, 14 * 60))
def test_time_zone_of_the_clock_does_not_matter(moment: datetime, minutes: int) -> None:
    """The same moment gives the same name, whatever zone it is told in."""
    elsewhere = moment.astimezone(timezone(timedelta(minutes=minutes)))

    assert snapshot_object("app", elsewhere) == snapshot_object("app", moment)


@given(NAMES, MOMENTS, MOMENTS)
def test_names_sort_like_their_times(name: str, one: datetime, other: datetime) -> None:
    """The alphabetical order of a listing is the order in time, to the second."""
    earlier, later = sorted(moment.replace(microsecond=0) for moment in (one, other))

    first, second = snapshot_object(name, earlier), snapshot_object(name, later)

    assert (first < second) == (earlier < later)


@given(NAMES, MOMENTS)
def test_manifest_is_never_mistaken_for_latest(name: str, moment: datetime) -> None:
    """A snapshot, its manifest and latest.json are three names in the database's folder."""
    snapshot = snapshot_object(name, moment)

    names = {snapshot, manifest_object(snapshot), latest_object(name)}

    assert len(names) == 3
    assert {one.split("/")[0] for one in names} == {name}
    assert all(one.count("/") == 1 for one in names)


@given(MOMENTS)
def test_time_is_read_out_of_a_name(moment: datetime) -> None:
    """To the second, in UTC."""
    found = parse_object(snapshot_object("app", moment))

    assert found
    assert found.taken_at == moment.replace(microsecond=0)
    assert found.taken_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("stamp", ["20261123T240000Z", "20261323T030000Z", "20260230T030000Z"])
def test_what_is_no_time_is_no_object_of_keepers(stamp: str) -> None:
    """Its name could not be made out of a time."""
    assert parse_object(f"app/app-{stamp}.sqlite3") is None
