"""Manifests that somebody else wrote: every fault is one error, never a crash, never believed."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlitekeeper.destination.manifest import (
    MAX_MANIFEST_BYTES,
    Manifest,
    ManifestError,
    NewerFormatError,
)

GOOD: dict[str, Any] = {
    "format": 1,
    "database": "app",
    "host": "web1",
    "taken_at": "2026-11-23T03:00:00+00:00",
    "confirmed_at": "2026-11-24T05:00:00+02:00",
    "source": {"path": "/srv/app.sqlite3", "journal_mode": "wal"},
    "snapshot": {"object": "app/app-20261123T030000Z.sqlite3", "bytes": 8192, "sha256": "ab" * 32},
    "tables": {"t": 10},
    "checks": {"kind": "integrity", "foreign_key_violations": 0},
    "anything": ["newer keepers", "may add"],
}


def changed(path: str, value: object) -> bytes:
    manifest = copy.deepcopy(GOOD)
    *folders, key = path.split(".")
    inner = manifest
    for folder in folders:
        inner = inner[folder]
    inner[key] = value
    return json.dumps(manifest).encode()


def test_good_manifest_is_read_in_utc() -> None:
    """Unknown keys are left alone, times come out in UTC."""
    manifest = Manifest.from_json(json.dumps(GOOD).encode(), "here")
    assert manifest.confirmed_at is not None
    assert manifest.confirmed_at.isoformat() == "2026-11-24T03:00:00+00:00"
    assert (manifest.object, manifest.tables) == (GOOD["snapshot"]["object"], {"t": 10})
    assert manifest.raw == GOOD


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe\x00",
        b'{"format": 1, "database": "\xc3\x28"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[]",
        b"null",
        b"1" * 5000,
        b" " * (MAX_MANIFEST_BYTES + 1),
    ],
    ids=["empty", "binary", "utf8", "lists", "objects", "list", "null", "digits", "large"],
)
def test_what_is_no_manifest_is_an_error_of_one_line(data: bytes) -> None:
    """The error names the place, and does not repeat what came."""
    with pytest.raises(ManifestError) as caught:
        Manifest.from_json(data, "lab:x/app/latest.json")
    assert caught.value.message.startswith("lab:x/app/latest.json: ")
    assert len(caught.value.full_text) < 200
    assert "\n" not in caught.value.full_text


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("database", 1),
        ("database", "other"),
        ("host", None),
        ("taken_at", 20261123),
        ("taken_at", "2026-11-23T03:00:00"),
        ("taken_at", "0001-01-01T00:00:00+14:00"),
        ("confirmed_at", "soon"),
        ("source", None),
        ("source.journal_mode", ["wal"]),
        ("snapshot", "app"),
        ("snapshot.bytes", -1),
        ("snapshot.bytes", True),
        ("snapshot.bytes", 1.5),
        ("snapshot.sha256", "AB" * 32),
        ("snapshot.sha256", "ab"),
        ("snapshot.object", "app/../../etc/cron.d/app-20261123T030000Z.sqlite3"),
        ("snapshot.object", "/etc/passwd"),
        ("snapshot.object", "app/app-20261123T030000Z.json"),
        ("snapshot.object", "other/other-20261123T030000Z.sqlite3"),
        ("snapshot.object", "app/app-20261123T030000Z.sqlite3\n../x"),
        ("tables", [["t", 10]]),
        ("tables", {"t": "10"}),
        ("checks", {}),
        ("checks.foreign_key_violations", "none"),
    ],
)
def test_wrong_value_is_refused(path: str, value: object) -> None:
    """A type, a range or a name that cannot be makes the whole manifest unusable."""
    with pytest.raises(ManifestError, match=r"here: manifest: "):
        Manifest.from_json(changed(path, value), "here")


@pytest.mark.parametrize("name", ["..", ".", "-rf", ".hidden"])
def test_name_that_leads_elsewhere_is_refused(name: str) -> None:
    """Also where the manifest agrees with itself."""
    manifest = copy.deepcopy(GOOD) | {"database": name}
    manifest["snapshot"]["object"] = f"{name}/{name}-20261123T030000Z.sqlite3"
    with pytest.raises(ManifestError, match="is no snapshot of"):
        Manifest.from_json(json.dumps(manifest).encode(), "here")


def test_newer_format_asks_for_an_upgrade() -> None:
    """A manifest of format 2 is no damage."""
    with pytest.raises(NewerFormatError, match="format 2") as caught:
        Manifest.from_json(changed("format", 2), "here")
    assert caught.value.hint == "upgrade keeper"


@pytest.mark.parametrize("version", [0, True, "1", None, 1.5, {"a": "b" * 500}])
def test_other_formats_are_just_wrong(version: object) -> None:
    """What is no format at all is not from the future."""
    with pytest.raises(ManifestError) as caught:
        Manifest.from_json(changed("format", version), "here")
    assert not isinstance(caught.value, NewerFormatError)
    assert len(caught.value.full_text) < 200


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.sampled_from([*GOOD, "snapshot.bytes", "snapshot.sha256", "tables.t"]), _JSON)
def test_any_value_anywhere_is_read_or_refused(path: str, value: object) -> None:
    """Nothing that JSON can say makes anything but a manifest or a ManifestError."""
    try:
        manifest = Manifest.from_json(changed(path, value), "here")
    except ManifestError:
        return
    assert isinstance(manifest, Manifest)
    assert manifest.object == GOOD["snapshot"]["object"]
    assert manifest.bytes >= 0
