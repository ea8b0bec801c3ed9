"""What has come of each database: its result, and what keeper remembers of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlitekeeper import wording
from sqlitekeeper.backup.model import CheckedSnapshot, Key, StagedSnapshot
from sqlitekeeper.backup.result import BackupResult, Outcome, Seconds, Shipped
from sqlitekeeper.database.snapshot.snapshot import Source
from sqlitekeeper.destination.manifest import Manifest
from sqlitekeeper.errors import CheckError, KeeperError
from sqlitekeeper.events import Level, Listener, Note
from sqlitekeeper.state.history import History, Shipment


@dataclass(frozen=True, slots=True)
class AtDestination:
    """What came of a batch at one destination: what went wrong, by database, and what it took."""

    problems: Mapping[str, str]
    confirmed_at: datetime
    seconds: float


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What has come of the databases of a run; `confirmed` are the manifests at destinations."""

    state: Path
    on_event: Listener
    results: dict[Path, BackupResult] = field(default_factory=dict)
    sources: dict[Path, Source | None] = field(default_factory=dict)
    confirmed: dict[Key, Manifest] = field(default_factory=dict)

    def fail(self, name: str, path: Path, error: KeeperError) -> None:
        """Note why a database is not backed up."""
        self.results[path] = BackupResult(
            name,
            path,
            "failed",
            error.full_text,
            check="failed" if isinstance(error, CheckError) else None,
            exit_code=error.exit_code,
        )

    def add(
        self,
        snapshots: Sequence[StagedSnapshot],
        checked: Sequence[CheckedSnapshot | KeeperError],
        published: Mapping[str, AtDestination],
    ) -> None:
        """Note what came of a batch at every destination, and remember what was confirmed."""
        shipments, seen = [], []
        for staged, one in zip(snapshots, checked, strict=True):
            self.sources[staged.path] = staged.source
            if isinstance(one, KeeperError):
                self.fail(staged.name, staged.path, one)
                continue
            self.results[staged.path] = self._result(one, published)
            arrived = [to for to, there in published.items() if staged.name not in there.problems]
            for to in arrived:
                self.confirmed[to, staged.name] = manifest = one.manifests[to]
                latest = manifest.confirmed(published[to].confirmed_at)
                shipments.append(Shipment(to, staged.name, manifest.object, latest))
            if arrived and staged.seen:
                seen.append(staged.seen)
        try:
            History(self.state).add_shipments(shipments, seen)
        except KeeperError as error:
            text = f"{error}; the next run ships everything again"
            self.on_event(Note("", text, Level.WARNING))

    def _result(self, one: CheckedSnapshot, published: Mapping[str, AtDestination]) -> BackupResult:
        """One database's result, told as a log line too."""
        staged, manifest = one.staged, one.manifest
        problems = [
            there.problems[staged.name]
            for there in published.values()
            if staged.name in there.problems
        ]
        seconds = sum(there.seconds for there in published.values())
        reasons = [*problems, one.alarm] if one.alarm else problems
        return BackupResult(
            staged.name,
            staged.path,
            "failed" if problems else "unchanged" if staged.is_unchanged else "shipped",
            "; ".join(dict.fromkeys(reasons)) or None,
            bytes=staged.bytes,
            sha256=staged.sha256,
            check="none" if manifest.check == "none" else "ok",
            check_remarks=manifest.remarks or (),
            foreign_key_violations=manifest.foreign_key_violations,
            tables=manifest.tables,
            shipped=tuple(self._shipped(one, to, there) for to, there in published.items()),
            seconds=Seconds(one.seconds.snapshot, one.seconds.check, round(seconds, 3)),
            longest_lock_ms=staged.source.longest_lock_ms if staged.source else 0.0,
            exit_code=CheckError.exit_code if one.alarm else 1 if problems else 0,
        )

    def _shipped(self, one: CheckedSnapshot, to: str, there: AtDestination) -> Shipped:
        staged, manifest = one.staged, one.manifests[to]
        if staged.name in there.problems:
            return Shipped(to, None, "failed", manifest.stored_bytes)
        outcome: Outcome = "unchanged" if staged.held[to] else "uploaded"
        encoding = manifest.encoding
        size = "" if encoding == "plain" else f" ({wording.size(manifest.stored_bytes)})"
        text = f"shipped to {to} as {manifest.object}{size} in {there.seconds:.1f} s"
        if outcome == "unchanged":
            text = f"unchanged, {to} holds it as {manifest.object}"
        self.on_event(Note(staged.name, text))
        return Shipped(to, manifest.object, outcome, manifest.stored_bytes, encoding)
