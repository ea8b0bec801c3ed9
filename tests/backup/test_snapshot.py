"""From a live database to a proven snapshot in the staging folder."""

import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest

from sqlitekeeper.backup.check import Checker
from sqlitekeeper.backup.loss_alarm import LossAlarm
from sqlitekeeper.backup.model import CheckedSnapshot, StagedSnapshot
from sqlitekeeper.backup.snapshot import Staging
from sqlitekeeper.backup.unchanged import EarlierSnapshots
from sqlitekeeper.database.check import CheckKind
from sqlitekeeper.database.snapshot.fingerprint import fingerprint
from sqlitekeeper.database.snapshot.snapshot import take_snapshot
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.layout import manifest_object, random_token, snapshot_object
from sqlitekeeper.destination.manifest import Manifest, Versions, encode
from sqlitekeeper.errors import BusyError, CheckError, KeeperError
from sqlitekeeper.events import Event, Level, Listener, Note, Tick, ignore
from sqlitekeeper.rclone.listing import RemoteObject
from sqlitekeeper.state.history import Shipment
from tests.conftest import Companion, MakeDatabase, count_rows, pragma, wait_until
from tests.damage import damage_pages, make_foreign_key_malformed, make_index_disagree, make_orphan

NOW = datetime(2026, 11, 23, 3, 0, 0, tzinfo=UTC)
KEY = "app/app-20261123T030000Z-k3f9q.sqlite3"
EMPTY = Destination("lab:x", {})


@dataclass(frozen=True)
class Run:
    """What a run knows when it takes and checks snapshots; its one destination is empty."""

    folder: Path
    destinations: tuple[Destination, ...] = (EMPTY,)
    shipments: dict[tuple[str, str], Shipment] = field(default_factory=dict)
    kind: CheckKind = "integrity"
    force: bool = False
    clock: Callable[[], datetime] = lambda: NOW
    token: Callable[[], str] = random_token
    manifests: dict[tuple[str, str], Manifest] = field(default_factory=dict)

    @property
    def staging(self) -> Staging:
        earlier = EarlierSnapshots(
            self.destinations,
            self.shipments,
            self.kind,
            self.force,
            self.clock,
            self.token,
            self.manifests,
        )
        return Staging(self.folder, earlier)

    def take(self, name: str, path: Path, on_event: Listener = ignore) -> StagedSnapshot:
        return self.staging.take(name, path, on_event)

    def check(self, staged: StagedSnapshot, on_event: Listener = ignore) -> CheckedSnapshot:
        versions = Versions("0.1.0", "3.54.1", "v1.75.2")
        alarm = LossAlarm(before=self.manifests)
        return Checker(self.staging, self.kind, "web1", versions, alarm).check(staged, on_event)

    def file_of(self, staged: StagedSnapshot) -> Path:
        return self.staging.file_of(staged)


@pytest.fixture
def heard() -> list[Event]:
    """What the run said."""
    return []


@pytest.fixture
def run(staging: Path) -> Run:
    """A run for one destination that is empty."""
    return Run(staging)


def prepare(run: Run, name: str, path: Path, on_event: Listener = ignore) -> CheckedSnapshot:
    """Take a snapshot, and check it."""
    return run.check(run.take(name, path, on_event), on_event)


def snapshot_file(run: Run, checked: CheckedSnapshot) -> Path:
    return run.file_of(checked.staged)


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def warnings(heard: list[Event]) -> list[str]:
    return [one.text for one in heard if isinstance(one, Note) and one.level == Level.WARNING]


def after_shipping(run: Run, checked: CheckedSnapshot, **manifest: Any) -> Run:
    """The next run, whose destination holds what was staged."""
    staged = checked.staged
    values = encode(checked.manifest.raw | manifest)
    shipment = Shipment("lab:x", staged.name, staged.object, Manifest.from_json(values, "manifest"))
    paper_bytes = len(values)
    paths = {
        staged.object: staged.bytes,
        manifest_object(staged.object): paper_bytes,
    }
    listing = {path: RemoteObject(path, size) for path, size in paths.items()}
    return replace(
        run,
        destinations=(Destination("lab:x", listing),),
        shipments={("lab:x", staged.name): shipment},
    )


# The snapshot


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_snapshot_beside_a_steady_writer_is_consistent(
    run: Run,
    make_database: MakeDatabase,
    beside: Callable[[str, Path], Companion],
    journal_mode: str,
) -> None:
    """No half of a transaction gets in, however busy the database is."""
    path = make_database(rows=2000, journal_mode=journal_mode)
    writer = beside("write", path)

    snapshots = []
    for _ in range(3):
        checked = prepare(run, "app", path)
        snapshots.append(snapshot_file(run, checked))
    committed = int(writer.end())

    sums = [ledger(snapshot) for snapshot in snapshots]
    assert [total for total, _ in sums] == [0, 0, 0]
    counts = [rows for _, rows in sums]
    assert counts == sorted(counts)
    assert 0 < counts[-1] <= 2 * committed


def ledger(path: Path) -> tuple[int, int]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    row = connection.execute("SELECT sum(amount), count(*) FROM ledger").fetchall()[0]
    connection.close()
    assert isinstance(row[0], int)
    assert isinstance(row[1], int)
    return row[0], row[1]


def test_snapshot_is_private_whatever_the_source_is(run: Run, make_database: MakeDatabase) -> None:
    """A world-readable database has a snapshot for this user only."""
    path = make_database(rows=1)
    path.chmod(0o666)

    checked = prepare(run, "app", path)

    assert stat.S_IMODE(snapshot_file(run, checked).stat().st_mode) == 0o600


def test_snapshot_is_never_written_over_a_file(make_database: MakeDatabase, tmp_path: Path) -> None:
    """A file that is there already stays as it is."""
    target = tmp_path / "target"
    target.write_bytes(b"")

    with pytest.raises(FileExistsError):
        take_snapshot(make_database(rows=1), target)

    assert target.read_bytes() == b""


def test_snapshot_does_not_follow_a_link(make_database: MakeDatabase, tmp_path: Path) -> None:
    """A planted symlink, dangling or not, is refused."""
    target = tmp_path / "target"
    target.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(FileExistsError):
        take_snapshot(make_database(rows=1), target)

    assert not (tmp_path / "elsewhere").exists()


def test_snapshot_keeps_the_settings(run: Run, tmp_path: Path) -> None:
    """Vacuum mode, page size, user version, application id and encoding stay."""
    path = tmp_path / "app.sqlite3"
    settings: dict[str, Any] = {
        "page_size": 8192,
        "auto_vacuum": 2,
        "encoding": "UTF-16le",
        "user_version": 42,
        "application_id": 7,
    }
    connection = apsw.Connection(str(path))
    for name, value in settings.items():
        connection.execute(f"PRAGMA {name} = '{value}'").fetchall()
    connection.execute("CREATE TABLE t (x)").fetchall()
    connection.close()

    snapshot = snapshot_file(run, prepare(run, "app", path))

    assert {name: pragma(snapshot, name) for name in settings} == settings


def test_snapshot_keeps_rowids(run: Run, make_database: MakeDatabase) -> None:
    """Rows of a table without INTEGER PRIMARY KEY are not renumbered."""
    path = make_database(rows=0)
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE r (x)").fetchall()
    connection.execute("INSERT INTO r (rowid, x) VALUES (5, 'five'), (9, 'nine')").fetchall()
    connection.close()

    snapshot = snapshot_file(run, prepare(run, "app", path))

    connection = apsw.Connection(str(snapshot))
    assert connection.execute("SELECT rowid FROM r").fetchall() == [(5,), (9,)]
    connection.close()


def test_same_content_gives_the_same_bytes(run: Run, make_database: MakeDatabase) -> None:
    """The history of a database does not show in its snapshot: equal hashes mean unchanged."""
    path = make_database(rows=50)
    first = prepare(run, "app", path)
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE passing (x)").fetchall()
    connection.execute("DROP TABLE passing").fetchall()
    connection.close()

    second = prepare(replace(run, clock=lambda: NOW.replace(minute=1)), "app", path)

    one, other = (snapshot_file(run, checked).read_bytes() for checked in (first, second))
    # The schema cookie and the change counter (bytes 24 and 40 of the header) may differ.
    assert one[100:] == other[100:]


def test_source_is_left_alone(run: Run, make_database: MakeDatabase) -> None:
    """No sidecar stays beside a database that nobody has open, and not a byte changes."""
    path = make_database(rows=5)
    before = path.read_bytes()

    prepare(run, "app", path)

    assert path.read_bytes() == before
    assert [one.name for one in path.parent.glob("app.sqlite3*")] == ["app.sqlite3"]


def test_free_pages_are_not_shipped(run: Run, make_database: MakeDatabase) -> None:
    """A snapshot holds live pages only, and the manifest tells both sizes."""
    path = make_database(rows=400, deleted=350)

    checked = prepare(run, "app", path)

    source = checked.manifest.raw["source"]
    assert checked.staged.bytes < source["bytes"] / 2
    assert source["free_pages"] > 50
    assert count_rows(snapshot_file(run, checked)) == 50


# What it is called, and what is said of it


def test_name_carries_the_time_it_was_taken(run: Run, make_database: MakeDatabase) -> None:
    """The clock gives the name and the manifest's taken_at; the token is random."""
    run = replace(run, token=lambda: "k3f9q")

    checked = prepare(run, "app", make_database(rows=1))

    assert checked.staged.object == KEY
    assert checked.manifest.raw["taken_at"] == "2026-11-23T03:00:00+00:00"


def test_object_of_the_same_second_is_not_overwritten(
    run: Run, make_database: MakeDatabase
) -> None:
    """Where a destination has a snapshot of now already, the next second is taken."""
    taken = {KEY: RemoteObject(KEY, 1)}
    busy = replace(run, destinations=(EMPTY, Destination("lab:y", taken)))

    checked = prepare(busy, "app", make_database(rows=1))

    assert checked.staged.object.startswith("app/app-20261123T030001Z-")
    assert checked.manifest.raw["taken_at"] == "2026-11-23T03:00:01+00:00"


def test_manifest_describes_source_and_snapshot(run: Run, make_database: MakeDatabase) -> None:
    """Measured values, not defaults."""
    path = make_database(rows=20)

    checked = prepare(run, "app", path)

    manifest = checked.manifest.raw
    assert manifest["database"] == "app"
    assert manifest["host"] == "web1"
    assert manifest["source"]["path"] == str(path)
    assert manifest["source"]["bytes"] == path.stat().st_size
    assert manifest["source"]["pages"] * 4096 == path.stat().st_size
    assert manifest["source"]["journal_mode"] == "wal"
    assert manifest["source"]["auto_vacuum"] == "incremental"
    assert manifest["snapshot"] == {
        "object": checked.staged.object,
        "bytes": checked.staged.bytes,
        "sha256": checked.staged.sha256,
    }
    assert checked.staged.bytes == snapshot_file(run, checked).stat().st_size
    assert manifest["tables"] == {"t": 20}
    assert manifest["checks"]["integrity"] == "ok"


def test_snapshot_and_check_are_told(
    run: Run, make_database: MakeDatabase, heard: list[Event]
) -> None:
    """One line for the step."""
    prepare(run, "app", make_database(rows=1), heard.append)

    (note,) = [one for one in heard if isinstance(one, Note)]
    assert note.subject == "app"
    assert note.text.startswith("snapshot ")
    assert note.text.endswith(" s, integrity ok")


def test_foreign_key_violations_are_a_warning(
    run: Run, make_database: MakeDatabase, heard: list[Event]
) -> None:
    """The snapshot is good; the application may want to know."""
    path = make_database(rows=1)
    make_orphan(path)

    checked = prepare(run, "app", path, heard.append)

    assert checked.manifest.raw["checks"]["foreign_key_violations"] == 1
    assert warnings(heard) == ["1 foreign-key violation (see PRAGMA foreign_key_check)"]


def test_malformed_foreign_key_is_a_warning(
    run: Run, make_database: MakeDatabase, heard: list[Event]
) -> None:
    """What SQLite cannot check does not stop the backup."""
    path = make_database(rows=1)
    make_foreign_key_malformed(path)

    checked = prepare(run, "app", path, heard.append)

    assert checked.manifest.raw["checks"]["foreign_key_violations"] is None
    assert "could not be checked" in warnings(heard)[0]


# What cannot be staged


def test_snapshot_that_fails_its_check_is_found(run: Run, make_database: MakeDatabase) -> None:
    """An index that disagrees with its table survives VACUUM INTO."""
    path = make_database(rows=10)
    make_index_disagree(path)
    taken = run.take("app", path)

    with pytest.raises(CheckError, match="integrity_check"):
        run.check(taken)


def test_weaker_check_is_told_as_such(run: Run, make_database: MakeDatabase) -> None:
    """With `quick` such a snapshot is shipped, and its manifest says how it was checked."""
    path = make_database(rows=10)
    make_index_disagree(path)

    checked = prepare(replace(run, kind="quick"), "app", path)

    assert checked.manifest.raw["checks"]["kind"] == "quick"


def test_damaged_source_leaves_nothing(run: Run, make_database: MakeDatabase) -> None:
    """Damage that VACUUM INTO trips over is a failed check."""
    path = make_database(rows=100)
    damage_pages(path)

    with pytest.raises(CheckError, match="damaged"):
        prepare(run, "app", path)

    assert files_below(run.folder) == []


def test_empty_database_is_refused(run: Run, tmp_path: Path) -> None:
    """A file of no bytes has nothing to restore."""
    (tmp_path / "app.sqlite3").touch()

    with pytest.raises(KeeperError, match="is empty"):
        prepare(run, "app", tmp_path / "app.sqlite3")

    assert files_below(run.folder) == []


def test_database_that_stays_locked_is_busy(
    make_database: MakeDatabase,
    tmp_path: Path,
    beside: Callable[[str, Path], Companion],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A rollback-journal database under an exclusive lock gives up in the end."""
    monkeypatch.setattr("sqlitekeeper.database.snapshot.snapshot.WAIT_SECONDS", 0.1)
    path = make_database(rows=1, journal_mode="delete")
    beside("lock", path)

    with pytest.raises(BusyError, match="locked"):
        take_snapshot(path, tmp_path / "target")

    assert not (tmp_path / "target").exists()


# What has not changed


def test_content_that_is_held_already_is_not_staged(run: Run, make_database: MakeDatabase) -> None:
    """Nothing to upload: the file is gone and the parcel names the old object."""
    path = make_database(rows=5)
    first = prepare(run, "app", path)

    second = prepare(after_shipping(run, first), "app", path)

    assert second.staged.is_unchanged
    assert second.manifests["lab:x"].object == first.staged.object
    assert second.manifest == first.manifest
    assert not snapshot_file(run, second).exists()


def test_changed_content_is_staged(run: Run, make_database: MakeDatabase) -> None:
    """One row more is another snapshot."""
    path = make_database(rows=5)
    first = prepare(run, "app", path)
    connection = apsw.Connection(str(path))
    connection.execute("INSERT INTO t (body) VALUES ('new')").fetchall()
    connection.close()

    second = prepare(after_shipping(run, first), "app", path)

    assert not second.staged.is_unchanged
    assert second.staged.held == {"lab:x": None}
    assert snapshot_file(run, second).exists()


def test_force_stages_what_has_not_changed(run: Run, make_database: MakeDatabase) -> None:
    """--force ships anyway."""
    path = make_database(rows=5)
    first = prepare(run, "app", path)

    second = prepare(replace(after_shipping(run, first), force=True), "app", path)

    assert not second.staged.is_unchanged


def test_stricter_check_than_before_stages_again(run: Run, make_database: MakeDatabase) -> None:
    """What was shipped unchecked is checked and shipped once integrity is asked for."""
    path = make_database(rows=5)
    first = prepare(replace(run, kind="none"), "app", path)

    second = prepare(after_shipping(run, first), "app", path)

    assert not second.staged.is_unchanged
    assert second.manifest.check == "integrity"


def test_vanished_snapshot_is_staged_again_with_a_warning(
    run: Run, make_database: MakeDatabase, heard: list[Event]
) -> None:
    """What the destination has lost is no reason to be content."""
    path = make_database(rows=5)
    first = prepare(run, "app", path, heard.append)

    later = NOW.replace(hour=4)
    bare = replace(after_shipping(run, first), destinations=(EMPTY,), clock=lambda: later)
    second = prepare(bare, "app", path, heard.append)

    assert not second.staged.is_unchanged
    assert warnings(heard) == ["the last snapshot is not whole at lab:x any more; shipping again"]


def test_each_destination_is_judged_by_itself(run: Run, make_database: MakeDatabase) -> None:
    """One holds the content already, the other one gets it."""
    path = make_database(rows=5)
    held = after_shipping(run, prepare(run, "app", path))
    both = replace(held, destinations=(*held.destinations, Destination("lab:y", {})))

    checked = prepare(both, "app", path)

    assert {to: bool(shipment) for to, shipment in checked.staged.held.items()} == {
        "lab:x": True,
        "lab:y": False,
    }
    assert checked.manifests.keys() == {"lab:x", "lab:y"}
    assert snapshot_file(both, checked).exists()


@pytest.mark.parametrize(("token", "held"), [("z9z9z", True), ("", False)])
def test_newer_snapshot_of_another_counts_where_its_name_is_its_own(
    run: Run, make_database: MakeDatabase, token: str, held: bool
) -> None:
    """Beside one without a token the manifest may be another shipper's."""
    path = make_database(rows=5)
    run = after_shipping(run, prepare(run, "app", path))
    own = run.shipments["lab:x", "app"].manifest.raw
    theirs = snapshot_object("app", NOW + timedelta(minutes=1), token)
    manifest = own | {"host": "web2", "snapshot": own["snapshot"] | {"object": theirs}}
    listing = dict(run.destinations[0].listing or {})
    for path_there, size in {
        theirs: own["snapshot"]["bytes"],
        manifest_object(theirs): len(encode(manifest)),
    }.items():
        listing[path_there] = RemoteObject(path_there, size)
    run = replace(
        run,
        destinations=(Destination("lab:x", listing),),
        manifests={("lab:x", "app"): Manifest.from_json(encode(manifest), "manifest")},
        clock=lambda: NOW + timedelta(minutes=2),
    )

    checked = prepare(run, "app", path)

    assert checked.staged.is_unchanged is held
    assert (checked.manifests["lab:x"].object == theirs) is held


# What is remembered of the file


def test_commit_that_waits_for_the_disk_is_looked_for_again(
    run: Run, make_database: MakeDatabase, beside: Callable[[str, Path], Companion]
) -> None:
    """It is in the WAL, and nobody can read it; once it counts, the file looks just the same."""
    path = make_database(rows=20)
    app = beside("commit_slowly", path)
    wait_until(lambda: fingerprint(path, time.time_ns()) is not None)

    taken = run.take("app", path)
    before = path.with_name(f"{path.name}-wal").stat()
    app.end()

    assert count_rows(run.file_of(taken)) == 21
    assert count_rows(path) == 22
    after = path.with_name(f"{path.name}-wal").stat()
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    assert taken.seen is None


def test_file_is_remembered_where_its_wal_is_committed(
    run: Run, make_database: MakeDatabase, beside: Callable[[str, Path], Companion]
) -> None:
    """An application that has its database open, with a WAL, is the usual case."""
    path = make_database(rows=20)
    beside("commit_slowly", path).end()
    wal = path.with_name(f"{path.name}-wal")
    assert wal.stat().st_size
    wait_until(lambda: fingerprint(path, time.time_ns()) is not None)

    taken = run.take("app", path)

    assert (count_rows(run.file_of(taken)), taken.seen is None) == (22, False)


def test_full_text_index_that_cannot_be_checked_is_a_warning(
    run: Run, make_database: MakeDatabase, heard: list[Event]
) -> None:
    """Nobody can tell whether it is damaged, so somebody has to look."""
    path = make_database(rows=1)
    connection = apsw.Connection(str(path))
    connection.execute("CREATE VIRTUAL TABLE ft USING fts5 (body)").fetchall()
    connection.execute("DROP TABLE ft_content").fetchall()
    connection.close()

    prepare(run, "app", path, heard.append)

    assert any("ft could not be checked" in text for text in warnings(heard))


def test_each_stage_has_a_last_word(
    run: Run, make_database: MakeDatabase, heard: list[Event]
) -> None:
    """Or a progress line would go on showing what has ended."""
    prepare(run, "app", make_database("app.sqlite3", rows=20_000), heard.append)

    ticks = [one for one in heard if isinstance(one, Tick)]
    last = {one.stage: one for one in ticks}
    assert last.keys() == {"snapshot", "check"}
    assert all(one.done >= one.total > 0 for one in last.values())
