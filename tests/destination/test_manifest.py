"""The manifest as a value and as bytes."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sqlitekeeper.database.check import Checked, CheckKind
from sqlitekeeper.database.snapshot.snapshot import Source
from sqlitekeeper.destination.manifest import Versions, build_manifest, encode, timestamp

OBJECT = "app/app-20261123T030000Z-k3f9q.sqlite3"
SOURCE = Source(
    path=Path("/srv/app.sqlite3"),
    bytes=8192,
    page_size=4096,
    pages=2,
    free_pages=0,
    journal_mode="wal",
    auto_vacuum="incremental",
    encoding="UTF-8",
    user_version=7,
    application_id=9,
    mode=0o640,
)


def manifest_of(
    kind: CheckKind = "integrity", tables: dict[str, int] | None = None
) -> dict[str, object]:
    checked = Checked(8192, "ab" * 32, kind, 0, tables or {"t": 1}, "cd" * 32)
    taken_at = datetime(2026, 11, 23, 4, 0, 0, tzinfo=timezone(timedelta(hours=1)))
    versions = Versions("0.1.0", "3.54.1", "v1.75.2")
    return build_manifest("app", "web1", taken_at, SOURCE, OBJECT, checked, versions).raw


def test_manifest_has_the_keys_of_the_design() -> None:
    """Every key that the design names, with the value it was built from."""
    expected = {
        "format": 1,
        "database": "app",
        "host": "web1",
        "taken_at": "2026-11-23T03:00:00+00:00",
        "source": {
            "path": "/srv/app.sqlite3",
            "bytes": 8192,
            "page_size": 4096,
            "pages": 2,
            "free_pages": 0,
            "journal_mode": "wal",
            "auto_vacuum": "incremental",
            "encoding": "UTF-8",
            "user_version": 7,
            "application_id": 9,
            "mode": 0o640,
            "method": "vacuum",
        },
        "snapshot": {"object": OBJECT, "bytes": 8192, "sha256": "ab" * 32},
        "schema_sha256": "cd" * 32,
        "tables": {"t": 1},
        "checks": {
            "kind": "integrity",
            "integrity": "ok",
            "foreign_key_violations": 0,
            "remarks": [],
        },
        "versions": {"keeper": "0.1.0", "sqlite": "3.54.1", "rclone": "v1.75.2"},
    }

    manifest = manifest_of()

    assert {key: manifest.get(key) for key in expected} == expected


def test_unchecked_snapshot_does_not_claim_to_be_sound() -> None:
    """With check = "none" the manifest holds no verdict."""
    checks = manifest_of("none")["checks"]

    assert checks == {"kind": "none", "integrity": None, "foreign_key_violations": 0}


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0)))
def test_encoded_manifest_reads_back_whatever_the_tables_are_called(tables: dict[str, int]) -> None:
    """The bytes are plain ASCII, end with a newline, and give the same manifest again."""
    manifest = manifest_of(tables=tables)

    encoded = encode(manifest)

    assert json.loads(encoded) == manifest
    assert encoded.isascii()
    assert encoded.endswith(b"}\n")


@given(st.datetimes(min_value=datetime(1971, 1, 2), timezones=st.timezones()))
def test_timestamps_are_utc_to_the_second(moment: datetime) -> None:
    """What is written reads back as the same second, in UTC."""
    if moment.year >= 9999:
        return
    back = datetime.fromisoformat(timestamp(moment))

    assert back.utcoffset() == timedelta(0)
    assert back == moment.astimezone(UTC).replace(microsecond=0)
