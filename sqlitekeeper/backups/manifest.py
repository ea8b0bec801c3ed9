"""What is written down about a snapshot, as JSON beside it."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlitekeeper.database.proof import CheckKind
from sqlitekeeper.database.snapshot import Source

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Checked:
    """What was measured and proven on a snapshot file. Sizes in bytes.

    `unchecked` says, a sentence each, what only the application could look at.
    """

    bytes: int
    sha256: str
    kind: CheckKind
    foreign_key_violations: int | None
    tables: dict[str, int]
    schema_sha256: str
    shadow_tables: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Versions:
    """The programs that made a snapshot."""

    keeper: str
    sqlite: str
    rclone: str


def timestamp(moment: datetime) -> str:
    """A time as the manifest writes it: ISO 8601, UTC, whole seconds."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def build_manifest(
    database: str,
    host: str,
    taken_at: datetime,
    source: Source,
    snapshot_object: str,
    checked: Checked,
    versions: Versions,
) -> dict[str, Any]:
    """The manifest of a snapshot, ready for JSON; the keys are the design's."""
    facts = asdict(source)
    del facts["settled"]  # of that moment only
    if source.acl is None:
        del facts["acl"]
    return {
        "format": FORMAT,
        "database": database,
        "host": host,
        "taken_at": timestamp(taken_at),
        "source": facts | {"path": str(source.path)},
        "snapshot": {
            "object": snapshot_object,
            "bytes": checked.bytes,
            "sha256": checked.sha256,
        },
        "schema_sha256": checked.schema_sha256,
        "tables": checked.tables,
        "shadow_tables": list(checked.shadow_tables),
        "checks": {
            "kind": checked.kind,
            "integrity": None if checked.kind == "none" else "ok",
            "foreign_key_violations": checked.foreign_key_violations,
        }
        | ({"unchecked": list(checked.unchecked)} if checked.unchecked else {}),
        "versions": asdict(versions),
    }


def encode(manifest: dict[str, Any]) -> bytes:
    """A manifest as the bytes of a file."""
    return (json.dumps(manifest, indent=2, ensure_ascii=True) + "\n").encode()
