"""The manifest of a snapshot, as JSON beside it."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlitekeeper.database.check import Checked
from sqlitekeeper.database.snapshot.snapshot import Source
from sqlitekeeper.destination.hold import HOLD, Hold, hold_of, with_hold
from sqlitekeeper.destination.layout import encoding_of, parse_object
from sqlitekeeper.destination.stored import StoredAs, count, parse_stored, sha256_text, text
from sqlitekeeper.errors import KeeperError
from sqlitekeeper.store.library import StoreError

# A manifest names every table: 2,000 of them take a tenth of this.
MAX_MANIFEST_BYTES = 4 * 2**20
PRIVATE_MODE = 0o600
_ACL = re.compile(r"[ugmo]:\d*:[r-][w-][x-](,[ugmo]:\d*:[r-][w-][x-])*", re.ASCII)
# Of a snapshot that is a plain file, and of one that is stored otherwise.
FORMAT, STORED_FORMAT = 1, 2
# Within the class, `bytes` is a number of them.
Json = bytes
_LATEST_ONLY = ("confirmed_at", HOLD)
KNOWN_ENCODINGS = ("zstd", "delta")


class ManifestError(KeeperError):
    """A manifest cannot be used: not readable, not complete, or of a newer format."""


class NewerFormatError(ManifestError):
    """A manifest is of a format that this keeper does not know yet."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest whose every value has been looked at. Sizes in bytes.

    `raw` is all of it as it was written, also what only newer keepers know. `check` may be a
    kind that this one does not know. `remarks` is None where nothing was checked, or by an
    earlier keeper, which failed on them. `bytes` and `sha256` are those of the plain file;
    `stored` is None where that is what lies at the destination.
    """

    database: str
    host: str
    taken_at: datetime
    confirmed_at: datetime | None
    object: str
    bytes: int
    sha256: str
    journal_mode: str
    mode: int
    acl: str | None
    tables: dict[str, int]
    foreign_key_violations: int | None
    raw: dict[str, Any]
    check: str = "integrity"
    remarks: tuple[str, ...] | None = None
    unchecked: tuple[str, ...] = ()
    stored: StoredAs | None = None

    @classmethod
    def from_json(cls, data: Json, where: str) -> "Manifest":
        """Read a manifest, which may be anyone's; `where` names it in errors.

        Raises:
            ManifestError: whatever is wrong with it, on one line.
        """
        if len(data) > MAX_MANIFEST_BYTES:
            raise ManifestError(f"{where}: {len(data)} bytes are too many for a manifest")
        try:
            raw = json.loads(data)
        except (ValueError, RecursionError):
            raise ManifestError(f"{where}: is not JSON") from None
        if not isinstance(raw, dict):
            raise ManifestError(f"{where}: is not a manifest")
        version, encoding = raw.get("format"), _encoding(raw)
        known = version == FORMAT or (version == STORED_FORMAT and encoding in KNOWN_ENCODINGS)
        if not known or isinstance(version, bool):
            text = f"{where}: manifest of format {version!r:.60}"
            text += f" (stored as {encoding!r:.60})" if version == STORED_FORMAT else ""
            text += f", this keeper reads format {FORMAT}, and {STORED_FORMAT} of zstd and delta"
            if isinstance(version, int) and version > FORMAT:
                raise NewerFormatError(text, hint="upgrade keeper")
            raise ManifestError(text)
        try:
            return _typed(raw)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ManifestError(f"{where}: manifest: {type(error).__name__}: {error}") from None
        except StoreError as error:
            raise ManifestError(f"{where}: manifest: {error.message}") from None

    def to_json(self) -> Json:
        """The manifest as the bytes of a file."""
        return encode(self.raw)

    @property
    def encoding(self) -> str:
        """How the snapshot is stored: "plain", "zstd" or "delta"."""
        return encoding_of(self.object)

    @property
    def stored_bytes(self) -> int:
        """The size of the object."""
        return self.stored.bytes if self.stored else self.bytes

    @property
    def base_object(self) -> str:
        """The snapshot that a delta needs; "" where it needs none."""
        return self.stored.base.object if self.stored and self.stored.base else ""

    @property
    def hold(self) -> Hold | None:
        """The hold that it tells of, if any."""
        return hold_of(self.raw)

    @property
    def path(self) -> str | None:
        """Where the database lay, if that is said."""
        found = self.raw["source"].get("path")
        return found if isinstance(found, str) else None

    @property
    def shadow_tables(self) -> frozenset[str]:
        """The tables that belong to virtual ones, where they are told."""
        names = self.raw.get("shadow_tables")
        if not isinstance(names, list):
            return frozenset()
        return frozenset(name for name in names if isinstance(name, str))

    def with_hold(self, hold: Hold | None) -> "Manifest":
        """The same manifest with this hold, or with none."""
        return replace(self, raw=with_hold(self.raw, hold))

    def with_stored(self, facts: Mapping[str, Any]) -> "Manifest":
        """The same manifest of a snapshot that is stored otherwise, as the `facts` say."""
        if not facts:
            return self
        snapshot = self.raw["snapshot"] | facts
        return _typed(self.raw | {"format": STORED_FORMAT, "snapshot": snapshot})

    def confirmed(self, at: datetime) -> "Manifest":
        """The manifest as latest.json has it when its snapshot was found there at that time."""
        at = at.astimezone(UTC).replace(microsecond=0)
        return replace(self, confirmed_at=at, raw=self.raw | {"confirmed_at": timestamp(at)})

    def beside_its_snapshot(self) -> "Manifest":
        """The manifest without what is in latest.json only, or may be: when, and a hold."""
        plain = {key: value for key, value in self.raw.items() if key not in _LATEST_ONLY}
        return replace(self, confirmed_at=None, raw=plain)


def _encoding(raw: dict[str, Any]) -> object:
    snapshot = raw.get("snapshot")
    return snapshot.get("encoding") if isinstance(snapshot, dict) else None


def refuse_large(manifest: Manifest) -> None:
    """Refuse a manifest that could not be read again.

    Raises:
        KeeperError: it would be larger than what is read, with room for a hold.
    """
    size, most = len(manifest.to_json()), MAX_MANIFEST_BYTES - 256 * 1024
    if size > most:
        raise KeeperError(
            f"{manifest.database}: the names of its {len(manifest.tables):,} tables are too"
            f" long: a manifest may have {most:,} bytes, and this one would have {size:,}",
            hint="back it up by other means; please report what needs so many tables",
        )


def _typed(raw: dict[str, Any]) -> Manifest:
    database, snapshot = text(raw["database"]), raw["snapshot"]
    key = text(snapshot["object"])
    name = parse_object(key)
    if name is None or name.database != database or not name.is_snapshot:
        raise ValueError(f"{key!r} is no snapshot of {database!r}")
    sha256 = sha256_text(snapshot["sha256"])
    stored = parse_stored(name, snapshot, plain=raw["format"] == FORMAT)
    violations = raw["checks"]["foreign_key_violations"]
    confirmed_at = raw.get("confirmed_at")
    return Manifest(
        database=database,
        host=text(raw["host"]),
        taken_at=_time(raw["taken_at"]),
        confirmed_at=None if confirmed_at is None else _time(confirmed_at),
        object=key,
        bytes=count(snapshot["bytes"]),
        sha256=sha256,
        journal_mode=text(raw["source"]["journal_mode"]),
        mode=_mode(raw["source"].get("mode")),
        acl=_acl(raw["source"].get("acl")),
        tables={text(table): count(rows) for table, rows in raw["tables"].items()},
        foreign_key_violations=None if violations is None else count(violations),
        check=text(raw["checks"].get("kind", "integrity")),
        remarks=_remarks(raw["checks"].get("remarks")),
        unchecked=_remarks(raw["checks"].get("unchecked")) or (),
        raw=raw,
        stored=stored,
    )


def _remarks(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise TypeError(f"{value!r:.60} is no list of remarks")
    return tuple(map(text, value))


def _mode(value: object) -> int:
    """Permission bits: never more than reading for others and writing for the group."""
    return PRIVATE_MODE | (count(value) & 0o664) if value is not None else PRIVATE_MODE


def _acl(value: object) -> str | None:
    """An ACL as `setfacl --set` takes it: it goes into a command."""
    if value is not None and not _ACL.fullmatch(text(value)):
        raise ValueError(f"{value!r:.60} is no ACL")
    return None if value is None else text(value)


def _time(value: object) -> datetime:
    moment = datetime.fromisoformat(text(value))
    if moment.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone")
    return moment.astimezone(UTC)


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
) -> Manifest:
    """The manifest of a snapshot; the keys are the design's."""
    facts = asdict(source)
    del facts["settled"], facts["longest_lock_ms"]  # of that moment only
    if source.acl is None:
        del facts["acl"]
    raw = {
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
        | ({} if checked.kind == "none" else {"remarks": list(checked.remarked)})
        | ({"unchecked": list(checked.unchecked)} if checked.unchecked else {}),
        "versions": asdict(versions),
    }
    return _typed(raw)


def encode(manifest: dict[str, Any]) -> bytes:
    """A manifest as the bytes of a file; of a delta each piece has a line."""
    pieces = manifest.get("snapshot", {}).get("pieces")
    if not pieces:
        return (json.dumps(manifest, indent=2, ensure_ascii=True) + "\n").encode()
    # No text of JSON has a line break in it, and no other value of a manifest is this one.
    snapshot = manifest["snapshot"] | {"pieces": ["\n"]}
    text = json.dumps(manifest | {"snapshot": snapshot}, indent=2, ensure_ascii=True)
    lines = ",\n".join(f"      {json.dumps(piece)}" for piece in pieces)
    return (text.replace('      "\\n"', lines, 1) + "\n").encode()
