"""Manifests as a destination has them."""

from typing import Any

from sqlitekeeper.destination.manifest import Manifest, encode

SNAPSHOT = "app/app-20261123T030000Z.sqlite3"
SHA256 = "ab" * 32


def manifest_of(**values: Any) -> Manifest:
    """The manifest of a snapshot of 100 bytes of the database "app", but for some values."""
    plain = {
        "format": 1,
        "database": "app",
        "host": "web1",
        "taken_at": "2026-11-23T03:00:00+00:00",
        "source": {"path": "/srv/app.sqlite3", "journal_mode": "wal"},
        "snapshot": {"object": SNAPSHOT, "bytes": 100, "sha256": SHA256},
        "tables": {"t": 1},
        "checks": {"kind": "integrity", "foreign_key_violations": 0},
    }
    return Manifest.from_json(encode(plain | values), "manifest")
