"""What a listing says about the snapshots at a destination."""

from datetime import UTC, datetime

import pytest

from sqlitekeeper.destination.catalog import DatabaseCatalog, read_catalog
from sqlitekeeper.rclone.listing import RemoteObject

DAY1 = "app/app-20261101T030000Z"
DAY2 = "app/app-20261102T030000Z"


def shelf(*paths: str) -> DatabaseCatalog:
    """What a destination with these objects holds of the database `app`."""
    return read_catalog("to", [RemoteObject(path, 7) for path in paths])["app"]


def test_a_snapshot_is_what_has_a_manifest() -> None:
    """With its size, its time and the destination."""
    (found,) = shelf(f"{DAY1}.sqlite3", f"{DAY1}.json").snapshots
    assert (found.object, found.bytes, found.to) == (f"{DAY1}.sqlite3", 7, "to")
    assert found.taken_at == datetime(2026, 11, 1, 3, tzinfo=UTC)


def test_snapshots_are_newest_first() -> None:
    """Whatever the order of the listing."""
    found = shelf(f"{DAY1}.sqlite3", f"{DAY2}.json", f"{DAY1}.json", f"{DAY2}.sqlite3")
    assert [one.object for one in found.snapshots] == [f"{DAY2}.sqlite3", f"{DAY1}.sqlite3"]
    assert found.newest == found.snapshots[0]


@pytest.mark.parametrize("kind", ["sqlite3", "json", "proven.json", "failed.json"])
def test_a_part_alone_is_an_orphan(kind: str) -> None:
    """It is nothing that could be restored by the rules."""
    found = shelf(f"{DAY1}.{kind}")
    assert found.snapshots == ()
    assert [orphan.path for orphan in found.orphans] == [f"{DAY1}.{kind}"]


@pytest.mark.parametrize(
    ("records", "outcome"),
    [([], None), (["proven"], "proven"), (["failed"], "failed"), (["proven", "failed"], "failed")],
)
def test_the_record_of_a_drill_is_seen(records: list[str], outcome: str | None) -> None:
    """Of two that contradict each other the worse one counts."""
    paths = [f"{DAY1}.{one}.json" for one in records]
    (found,) = shelf(f"{DAY1}.sqlite3", f"{DAY1}.json", *paths).snapshots
    assert found.drill_outcome == outcome
    assert [paper.path for paper in found.metadata] == [f"{DAY1}.json", *paths]


def test_the_newest_snapshot_is_told_of_by_its_manifest_and_latest_json() -> None:
    """As far as they are there."""
    pair = (f"{DAY1}.sqlite3", f"{DAY1}.json")
    latest = RemoteObject("app/latest.json", 7)
    own = RemoteObject(f"{DAY1}.json", 7)
    assert shelf(*pair, "app/latest.json").newest_metadata == (own, latest)
    assert shelf(*pair).newest_metadata == (own,)
    assert shelf(f"{DAY1}.sqlite3").newest_metadata == ()


def test_two_of_one_second_are_two_snapshots() -> None:
    """Each with its own metadata, by name, and with those of old, which have no token."""
    stems = [DAY1, f"{DAY1}-z9z9z", f"{DAY1}-k3f9q"]
    found = shelf(
        *(f"{stem}.{kind}" for stem in stems for kind in ("sqlite3", "json")),
        f"{DAY1}-k3f9q.proven.json",
        f"{DAY1}-b2b2b.sqlite3",
    )
    assert [one.object.removesuffix(".sqlite3") for one in found.snapshots] == stems
    assert [one.drill_outcome for one in found.snapshots] == [None, None, "proven"]
    assert [one.path for one in found.orphans] == [f"{DAY1}-b2b2b.sqlite3"]
