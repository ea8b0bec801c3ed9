"""Names at a destination."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlitekeeper.destination.layout import (
    drill_record_object,
    latest_object,
    manifest_object,
    parse_object,
    random_token,
    snapshot_object,
)

MOMENTS = st.datetimes(
    min_value=datetime(1971, 1, 2), max_value=datetime(2199, 1, 1), timezones=st.just(UTC)
)
TOKENS = st.one_of(
    st.just(""), st.from_regex(r"\A([bcdfghjkmnpqrstvwxyz][2-9]){2}[bcdfghjkmnpqrstvwxyz]\Z")
)
NAMES = st.text(st.characters(exclude_categories=["C"], exclude_characters="/\\"), min_size=1)


def test_names_are_those_of_the_design() -> None:
    """A folder for each database, the time in UTC, the manifest beside the snapshot."""
    moment = datetime(2026, 11, 23, 3, 0, 0, tzinfo=UTC)

    snapshot = snapshot_object("production", moment, "k3f9q")

    assert snapshot == "production/production-20261123T030000Z-k3f9q.sqlite3"
    assert manifest_object(snapshot) == "production/production-20261123T030000Z-k3f9q.json"
    assert drill_record_object(snapshot, "proven").endswith(
        "/production-20261123T030000Z-k3f9q.proven.json"
    )
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


@given(NAMES.filter(lambda name: name[0] not in ".-"), MOMENTS, TOKENS)
def test_every_paper_of_a_snapshot_leads_to_it(name: str, moment: datetime, token: str) -> None:
    """With a token or, as of old, without one."""
    snapshot = snapshot_object(name, moment, token)
    metadata = [manifest_object(snapshot), drill_record_object(snapshot, "failed")]

    for path in (snapshot, f"{snapshot}.0123abcd.partial", *metadata):
        found = parse_object(path)
        assert found
        assert (found.database, found.snapshot) == (name, snapshot)
        assert found.taken_at == moment.replace(microsecond=0)


@pytest.mark.parametrize("name", ["app-20261123T030000Z", "app-20261123T030000Z-k3f9q"])
def test_name_that_ends_like_a_snapshots_is_a_name(name: str) -> None:
    """Its folder tells where it ends."""
    for token in ("", "b2b2b"):
        found = parse_object(snapshot_object(name, datetime(2026, 1, 1, tzinfo=UTC), token))
        assert found
        assert found.database == name
    assert parse_object(f"app/{name}-20260101T000000Z.sqlite3") is None


@pytest.mark.parametrize(
    "token", ["k3f9", "k3f9qq", "K3F9Q", "k3f0q", "k3flq", "k3f-q", "", "saved", "test2", "debug"]
)
def test_what_is_no_token_is_no_object_of_keepers(token: str) -> None:
    """Neither too short or long, nor with a letter that looks like another, nor any word."""
    assert parse_object(f"app/app-20261123T030000Z-{token}.sqlite3") is None


def test_tokens_are_of_their_letters_and_differ() -> None:
    """Of a thousand hardly any two are the same."""
    tokens = {random_token() for _ in range(1000)}

    assert len(tokens) > 990
    assert all(parse_object(f"app/app-20261123T030000Z-{one}.json") for one in tokens)
