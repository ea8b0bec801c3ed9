"""Bases of deltas: found in a listing, and never pruned from under a delta."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlitekeeper.destination.base import usable_base
from sqlitekeeper.destination.catalog import DatabaseCatalog, read_catalog
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.drill_records import DrillRecord
from sqlitekeeper.destination.layout import (
    base_of,
    drill_record_object,
    encoding_of,
    manifest_object,
    parse_object,
    random_token,
    snapshot_object,
    stored_object,
    token_of,
)
from sqlitekeeper.destination.manifest import (
    Manifest,
    ManifestError,
    NewerFormatError,
    encode,
)
from sqlitekeeper.destination.prune import (
    BASE,
    LAST_PROVEN,
    kept_by,
    plan_prune,
    still_needed,
    with_drills,
)
from sqlitekeeper.destination.retention import Policy
from sqlitekeeper.rclone.listing import RemoteObject

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
ONE = Policy(keep_last=1)
SHA = "0" * 64


def whole(days: float, token: str = "") -> str:
    plain = snapshot_object("app", NOW - timedelta(days=days), token or random_token())
    return stored_object(plain, "zstd")


def delta(days: float, base: str) -> str:
    plain = snapshot_object("app", NOW - timedelta(days=days), random_token())
    return stored_object(plain, "delta", token_of(base))


def objects(*snapshots: str, manifests: bool = True) -> list[RemoteObject]:
    found = [RemoteObject(one, 1000 if encoding_of(one) == "zstd" else 10) for one in snapshots]
    return found + [RemoteObject(manifest_object(one), 900) for one in snapshots if manifests]


def catalog_of(*items: RemoteObject) -> DatabaseCatalog:
    return read_catalog("to", items)["app"]


def raw(key: str, base: str = "") -> dict[str, Any]:
    """A manifest of a snapshot that is not plain."""
    name = parse_object(key)
    assert name
    snapshot: dict[str, Any] = {
        "object": key,
        "bytes": 20,
        "sha256": SHA,
        "encoding": encoding_of(key),
        "stored_bytes": 1000 if not base else 10,
        "stored_sha256": SHA,
    }
    if base:
        pieces = [{"bytes": 20, "stored_bytes": 10, "stretches": [[0, 20]]}]
        snapshot |= {"base": base, "base_bytes": 1000, "base_sha256": SHA}
        snapshot |= {"delta_bytes": 10, "pieces": pieces}
    return {
        "format": 2,
        "database": "app",
        "host": "web1",
        "taken_at": name.taken_at.isoformat(),
        "source": {"journal_mode": "wal"},
        "snapshot": snapshot,
        "tables": {},
        "checks": {"foreign_key_violations": 0},
    }


def parsed(value: dict[str, Any]) -> Manifest:
    return Manifest.from_json(encode(value), "here")


def test_base_stays_as_long_as_a_delta_that_stays_needs_it() -> None:
    """No rule keeps it otherwise."""
    base = whole(9)
    rules = kept_by(catalog_of(*objects(base, delta(8, base), delta(7, base))), ONE, NOW)
    assert [why[-1:] for why in rules.values()] == [("last",), (), (BASE,)]


def test_base_goes_with_its_last_delta() -> None:
    """Once a newer whole one is older than any run that may know nothing of it."""
    base, newer = whole(9), whole(3)
    plan = plan_prune(catalog_of(*objects(base, delta(8, base), newer)), "to", ONE, NOW)
    assert {one.object for one in plan.gone} == {base, *(p for p in plan.objects if "delta" in p)}


@pytest.mark.parametrize(("days", "stays"), [(0.5, True), (1.5, False)])
def test_base_that_was_followed_lately_stays(days: float, stays: bool) -> None:
    """A run that began before may be about to bring a delta of it."""
    base = whole(9)
    rules = kept_by(catalog_of(*objects(base, whole(days))), ONE, NOW, deltas=True)
    assert (list(rules.values())[1] == (BASE,)) is stays


def test_compressed_snapshots_alone_keep_no_bases() -> None:
    """Without deltas they go as plain ones do."""
    rules = kept_by(catalog_of(*objects(whole(0.2), whole(0.1))), ONE, NOW)
    assert list(rules.values())[1] == ()


def test_base_without_a_manifest_stays_for_its_deltas() -> None:
    """An orphan that something needs is not cleared."""
    base = whole(9)
    catalog = catalog_of(*objects(base, manifests=False), *objects(delta(2, base)))
    assert catalog.snapshots[0].is_whole
    assert plan_prune(catalog, "to", ONE, NOW).objects == ()


def test_base_of_a_delta_whose_manifest_is_to_come_stays() -> None:
    """Until the delta is cleared as an orphan."""
    base, newer = whole(9), whole(3)
    late = objects(delta(0.1, base), manifests=False)
    assert plan_prune(catalog_of(*objects(base, newer), *late), "to", ONE, NOW).objects == ()
    old = objects(delta(2, base), manifests=False)
    plan = plan_prune(catalog_of(*objects(base, newer), *old), "to", ONE, NOW)
    assert {base, old[0].path} <= set(plan.objects)


@given(st.data())
def test_no_delta_loses_its_base_whatever_is_not_deleted(data: st.DataObject) -> None:
    """Any history, any policy, any of the manifests that stay."""
    keys: list[str] = []
    days: set[int] = data.draw(st.sets(st.integers(0, 40), min_size=1))
    for day in sorted(days, reverse=True):
        bases = [key for key in keys if encoding_of(key) == "zstd"]
        if data.draw(st.booleans()) and bases:
            keys.append(delta(day / 4, str(data.draw(st.sampled_from(bases)))))
        else:
            keys.append(whole(day / 4))
    policy = Policy(keep_last=data.draw(st.integers(0, 3)), keep_daily=data.draw(st.integers(0, 3)))
    catalog = catalog_of(*objects(*keys))
    plan = plan_prune(catalog, "to", policy, NOW, deltas=data.draw(st.booleans()))
    going = [path for path in plan.objects if path.endswith(".json")]
    done = frozenset(path for path in going if data.draw(st.booleans()))
    stays = still_needed(plan, done)
    left = {key for key in keys if key not in plan.objects or key in stays}
    described = [key for key in left if manifest_object(key) not in done]
    tokens = {token_of(key) for key in left if encoding_of(key) == "zstd"}
    assert {base_of(key) for key in described} - {""} <= tokens


def test_delta_without_its_base_takes_no_ones_place() -> None:
    """The rules apply as if it were not there, too; it is not whole."""
    base, plain = whole(9), whole(5)
    catalog = catalog_of(*objects(plain, delta(1, base)))
    assert [one.is_whole for one in catalog.snapshots] == [False, True]
    assert all(kept_by(catalog, ONE, NOW).values())


def test_proven_delta_that_has_lost_its_base_protects_no_longer() -> None:
    """The last proven one is the last that can still be restored."""
    base, plain = whole(90), whole(60)
    lost = delta(30, base)
    proofs = [RemoteObject(drill_record_object(one, "proven"), 200) for one in (plain, lost)]
    catalog = catalog_of(*objects(plain, lost, whole(2)), *proofs)
    kept = {one.object: why for one, why in kept_by(catalog, ONE, NOW).items()}
    assert (kept[plain], kept[lost]) == ((LAST_PROVEN,), ())


def test_drill_that_only_this_host_remembers_breaks_the_deltas_of_a_base() -> None:
    """As one does that has left its record beside the base."""
    base, plain = whole(9), whole(12)
    failed = {base: DrillRecord(base, NOW, "failed", "damaged")}
    catalog = with_drills(catalog_of(*objects(plain, base, delta(1, base))), failed)
    assert [one.is_whole for one in catalog.snapshots] == [False, True, True]
    assert all(kept_by(catalog, ONE, NOW).values())


def test_delta_of_a_base_that_failed_its_drill_is_not_whole() -> None:
    """It cannot be restored either."""
    base = whole(9)
    failed = RemoteObject(drill_record_object(base, "failed"), 200)
    catalog = catalog_of(*objects(base, delta(1, base)), failed)
    assert [one.is_whole for one in catalog.snapshots] == [False, True]


def listed(*items: RemoteObject) -> Destination:
    return Destination("to", {item.path: item for item in items})


def test_newest_whole_one_is_the_base_of_the_next_delta() -> None:
    """By its own manifest, or by that of a delta of it."""
    base = whole(9)
    next_one = delta(8, base)
    destination = listed(*objects(base, next_one))
    for manifest in (raw(base), raw(next_one, base)):
        usable = usable_base(destination, parsed(manifest), NOW)
        assert usable
        assert (usable.base.object, usable.delta_bytes) == (base, 10)


@pytest.mark.parametrize("change", ["followed", "cut", "gone", "failed", "delta failed", "used up"])
def test_there_is_no_base(change: str) -> None:
    """What a delta could not be restored with, or would not be expected to be made of."""
    base = whole(9)
    next_one = delta(8, base)
    items = {item.path: item for item in objects(base, next_one)}
    manifest = raw(next_one, base)
    if change == "followed":
        items |= {item.path: item for item in objects(whole(7))}
    elif change == "cut":
        items[base] = RemoteObject(base, 999)
    elif change == "gone":
        del items[base]
    elif change == "used up":
        manifest["snapshot"]["delta_bytes"] = 1000
    else:
        record = drill_record_object(base if change == "failed" else next_one, "failed")
        items[record] = RemoteObject(record, 200)
    assert usable_base(Destination("to", items), parsed(manifest), NOW) is None


def test_future_whole_one_is_no_base_and_hides_none() -> None:
    """What a wrong clock has dated is passed over."""
    base, ahead = whole(9), whole(-400)
    destination = listed(*objects(base, ahead))
    assert usable_base(destination, parsed(raw(ahead)), NOW) is None
    assert usable_base(destination, parsed(raw(base)), NOW)


def test_manifest_of_a_delta_is_read() -> None:
    """With its base, and each piece on a line of its own."""
    base = whole(9)
    value = raw(delta(8, base), base)
    value["snapshot"]["pieces"] *= 2
    value["snapshot"] |= {"bytes": 40, "stored_bytes": 20}
    text = encode(value)
    assert json.loads(text) == value
    assert sum(b"stretches" in line for line in text.splitlines()) == 2
    stored = Manifest.from_json(text, "here").stored
    assert stored
    assert stored.base
    assert (stored.bytes, stored.base.object, len(stored.pieces)) == (20, base, 2)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("encoding", "zstd"),
        ("encoding", None),
        ("stored_bytes", 11),
        ("stored_bytes", -10),
        ("stored_sha256", "../x"),
        ("bytes", 2**62),
        ("base", "other/other-20261120T120000Z-k3f9q.sqlite3.zst"),
        ("base", "app/../../etc/passwd"),
        ("base", None),
        ("base_bytes", "1000"),
        ("base_sha256", SHA[1:]),
        ("delta_bytes", 1.5),
        ("pieces", []),
        ("pieces", {}),
        ("pieces", [{"bytes": 20, "stored_bytes": 10, "stretches": [[-1, 20]]}]),
        ("pieces", [{"bytes": 20, "stored_bytes": 10, "stretches": [[0, 2**40]]}]),
        ("pieces", [{"bytes": 20, "stored_bytes": 10, "stretches": [[0, 20]] * 9}]),
    ],
)
def test_manifest_that_lies_of_its_delta_is_refused(key: str, value: object) -> None:
    """It may be anyone's."""
    base = whole(9)
    manifest = raw(delta(8, base), base)
    manifest["snapshot"][key] = value
    with pytest.raises(ManifestError):
        parsed(manifest)


def test_base_of_another_token_than_the_name_tells_is_refused() -> None:
    """Pruning goes by the name."""
    base, other = whole(9), whole(10)
    with pytest.raises(ManifestError, match="is not the base"):
        parsed(raw(delta(8, base), other))


def test_plain_format_of_a_stored_snapshot_is_refused() -> None:
    """An older keeper would take what is stored for the snapshot."""
    with pytest.raises(ManifestError, match="is not stored as the manifest's format says"):
        parsed(raw(whole(9)) | {"format": 1})


@pytest.mark.parametrize("encoding", ["lrzip", "plain", None, ["zstd"]])
def test_unknown_encoding_asks_for_an_upgrade(encoding: object) -> None:
    """It is no damage."""
    manifest = raw(whole(9))
    manifest["snapshot"]["encoding"] = encoding
    with pytest.raises(NewerFormatError, match="stored as") as caught:
        parsed(manifest)
    assert caught.value.hint == "upgrade keeper"


def test_names_sort_as_before() -> None:
    """Snapshots of one database by their times, however they are stored."""
    base = whole(9)
    keys = [base, delta(8, base), snapshot_object("app", NOW, "k3f9q")]
    found = [parse_object(key) for key in keys]
    assert all(one < other for one, other in pairwise(found) if one and other)
