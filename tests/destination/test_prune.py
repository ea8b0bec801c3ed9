"""What a backup run deletes at real destinations, and what it never does."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sqlitekeeper.destination.drill_records import DrillRecord
from sqlitekeeper.destination.layout import manifest_object, snapshot_object
from sqlitekeeper.state.history import History
from tests.conftest import S3, BackupConfig, Keeper, MakeDatabase, WrapRclone
from tests.histories import (
    NOW,
    add_history,
    add_mark,
    days_ago,
    files_below,
    put,
    whole,
)

LAST_TWO = {"keep_last": 2, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0}


@pytest.fixture
def app(make_database: MakeDatabase) -> Path:
    """The database that is backed up."""
    return make_database(rows=10)


@pytest.fixture
def to(tmp_path: Path) -> Path:
    """A local destination."""
    return tmp_path / "to"


@pytest.fixture
def immutable() -> Iterator[Callable[[Path], None]]:
    """Make a file undeletable, even for root, until the test ends."""
    files: list[Path] = []

    def protect(file: Path) -> None:
        program = shutil.which("chattr")
        if program is None or subprocess.run([program, "+i", file], stderr=-3).returncode:
            pytest.skip("no file can be made immutable here")
        files.append(file)

    yield protect
    for file in files:
        subprocess.run(["chattr", "-i", file], check=True)


def test_what_no_rule_keeps_goes_with_its_manifest(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path, any_rclone: Path
) -> None:
    """What `pruned` names is what has vanished from the destination."""
    backup_config(app, to=to, **LAST_TWO)
    newer, *old = add_history(to, "app", [days_ago(days) for days in (1, 2, 3, 4)])
    before = files_below(to)

    run = keeper("backup", "--json")

    assert run.status == 0
    assert set(run.json["pruned"]) == whole(old) == before - files_below(to)
    assert whole([newer, run.entry["shipped"][0]["object"]]) <= files_below(to)


def test_pruning_on_s3_lists_nothing_and_deletes_each_object_once(
    keeper: Keeper, app: Path, backup_config: BackupConfig, s3: S3, tmp_path: Path, any_rclone: Path
) -> None:
    """From the run's own listing: one list call in all."""
    old = add_history(tmp_path / "history", "app", [days_ago(days) for days in (1, 2, 3)])
    put(tmp_path / "history", f"{s3.to}/host")
    backup_config(app, to=f"{s3.to}/host", **LAST_TWO)
    s3.forget_calls()

    run = keeper("backup", "--json")

    assert (run.status, set(run.json["pruned"])) == (0, whole(old[1:]))
    assert s3.calls().count("LIST BUCKET") == 1
    assert s3.calls().count("DELETE") == 4


def test_prune_false_deletes_nothing(
    keeper: Keeper, app: Path, backup_config: BackupConfig, s3: S3, tmp_path: Path
) -> None:
    """For append-only keys, Object Lock and lifecycle rules: no delete call at all."""
    add_history(tmp_path / "history", "app", [days_ago(days) for days in (1, 2, 3)])
    put(tmp_path / "history", f"{s3.to}/host")
    backup_config(app, to=f"{s3.to}/host", prune=False, **LAST_TWO)

    run = keeper("backup", "--json", "-v")

    assert (run.status, run.json["pruned"]) == (0, [])
    assert "DELETE" not in s3.calls()
    assert "rclone delete" not in run.err


def test_rclone_is_not_run_when_nothing_goes(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path, wrap_rclone: WrapRclone
) -> None:
    """A young history costs nothing."""
    wrap_rclone()
    add_history(to, "app", [days_ago(1)])
    backup_config(app, to=to, **LAST_TWO)
    run = keeper("backup", "-v")
    assert run.status == 0
    assert "rclone copy" in run.err
    assert "rclone delete" not in run.err


def test_all_databases_are_pruned_together(
    keeper: Keeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    to: Path,
    wrap_rclone: WrapRclone,
) -> None:
    """First all manifests, then all snapshots, however many there are."""
    wrap_rclone()
    names = ("a", "b", "c")
    old = [add_history(to, name, [days_ago(1), days_ago(2)])[1] for name in names]
    backup_config(*(make_database(f"{name}.sqlite3", rows=3) for name in names), to=to, **LAST_TWO)

    run = keeper("backup", "--json", "-v")

    assert set(run.json["pruned"]) == whole(old)
    assert run.err.count("rclone delete") == 2


def test_no_manifest_is_ever_without_its_snapshot(
    keeper: Keeper,
    app: Path,
    backup_config: BackupConfig,
    to: Path,
    tmp_path: Path,
    wrap_rclone: WrapRclone,
) -> None:
    """Those that go are gone before rclone is asked to delete the first snapshot."""
    objects = add_history(to, "app", [days_ago(days) for days in (1, 2, 3)])
    backup_config(app, to=to, **LAST_TWO)
    seen = tmp_path / "seen"
    seen.mkdir()
    wrap_rclone(delete=f'case "$path" in *sqlite3) ls "{to}/app" > "{seen}/${{path##*/}}" ;; esac')

    assert keeper("backup").status == 0

    found = (seen / Path(objects[2]).name).read_text().split()
    assert Path(objects[2]).name in found
    assert Path(manifest_object(objects[2])).name not in found


def test_snapshot_whose_manifest_cannot_be_deleted_stays(
    keeper: Keeper,
    app: Path,
    backup_config: BackupConfig,
    to: Path,
    immutable: Callable[[Path], None],
) -> None:
    """And both are named."""
    objects = add_history(to, "app", [days_ago(days) for days in (1, 2)])
    immutable(to / manifest_object(objects[1]))
    backup_config(app, to=to, **LAST_TWO)

    run = keeper("backup", "--json")

    assert run.json["pruned"] == []
    assert "2 of 2 objects could not be deleted" in run.err
    assert (to / objects[1]).exists()


@pytest.mark.parametrize("days", [0, 2])
def test_what_a_killed_rclone_left_of_an_upload_goes_when_it_is_old(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path, days: int
) -> None:
    """A young one may still be growing."""
    (whole_one,) = add_history(to, "app", [days_ago(days)])
    left = [f"{whole_one}.0123abcd.partial", f"{manifest_object(whole_one)}.89abcdef.partial"]
    for path in left:
        (to / path).write_bytes(b"a part")
    backup_config(app, to=to, **LAST_TWO)

    run = keeper("backup", "--json")

    assert set(run.json["pruned"]) == (set(left) if days else set())
    assert (to / whole_one).exists()
    assert run.err.count("its upload was cut off") == (2 if days else 0)


def test_an_unchanged_database_is_pruned(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path
) -> None:
    """Its newest snapshot was confirmed, and that is enough."""
    backup_config(app, to=to, **LAST_TWO)
    assert keeper("backup").status == 0
    _, *old = add_history(to, "app", [days_ago(days) for days in (1, 2, 3)])

    run = keeper("backup", "--json")

    assert run.entry["outcome"] == "unchanged"
    assert set(run.json["pruned"]) == whole(old)


def test_a_database_that_failed_is_not_pruned(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig, to: Path
) -> None:
    """Its newest snapshot is not this run's; the other's is."""
    add_history(to, "bad", [days_ago(days) for days in (1, 2, 3)])
    old = add_history(to, "good", [days_ago(days) for days in (1, 2)])
    bad = make_database("bad.sqlite3")
    bad.write_bytes(b"no database at all" * 100)
    backup_config(bad, make_database("good.sqlite3", rows=3), to=to, **LAST_TWO)

    run = keeper("backup", "--json")

    assert run.status == 3
    assert set(run.json["pruned"]) == whole(old[1:])


def test_a_database_that_was_not_asked_for_is_not_pruned(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig, to: Path
) -> None:
    """Nor is one that this host does not know."""
    for name in ("other", "stranger"):
        add_history(to, name, [days_ago(days) for days in (1, 2, 3)])
    paths = [make_database(f"{name}.sqlite3", rows=3) for name in ("app", "other")]
    backup_config(*paths, to=to, **LAST_TWO)
    assert keeper("backup", "app", "--json").json["pruned"] == []


def test_a_newer_snapshot_of_someone_else_stops_pruning(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path
) -> None:
    """The run did not confirm the newest one, so it must not judge the rest."""
    add_history(to, "app", [days_ago(days) for days in (-1, 2, 3)])
    backup_config(app, to=to, **LAST_TWO)

    run = keeper("backup", "--json")

    assert (run.status, run.json["pruned"]) == (0, [])
    assert f"{snapshot_object('app', days_ago(-1))} there is newer than this run's" in run.err


def test_the_last_proven_snapshot_stays(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path
) -> None:
    """While newer ones have no proof; what was proven before it goes, mark and all."""
    objects = add_history(to, "app", [days_ago(days) for days in (1, 2, 3, 4)])
    add_mark(to, objects[2], "proven")
    drill_outcome = add_mark(to, objects[3], "proven")
    backup_config(app, to=to, **LAST_TWO)

    run = keeper("backup", "--json")

    assert set(run.json["pruned"]) == whole([objects[1], objects[3]]) | {drill_outcome}
    assert drill_outcome not in files_below(to)


def test_a_snapshot_that_failed_its_drill_takes_no_ones_place(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path
) -> None:
    """The rules keep the sound ones that they would keep without it."""
    objects = add_history(to, "app", [days_ago(days) for days in (1, 2, 3)])
    add_mark(to, objects[0], "failed")
    backup_config(app, to=to, **LAST_TWO)
    assert set(keeper("backup", "--json").json["pruned"]) == whole([objects[2]])


def test_old_orphans_are_cleared_and_named(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path
) -> None:
    """A snapshot or manifest alone, older than a day; a younger one may be on its way."""
    old, young, bare = add_history(to, "app", [days_ago(2), days_ago(0.5), days_ago(3)])
    (to / manifest_object(old)).unlink()
    (to / manifest_object(young)).unlink()
    (to / bare).unlink()
    backup_config(app, to=to, keep_last=5)

    run = keeper("backup", "--json")

    assert set(run.json["pruned"]) == {old, manifest_object(bare)}
    assert f"cleared {old}" in run.err
    assert (to / young).exists()


def test_what_is_not_keepers_stays(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path
) -> None:
    """Other files, other names, other folders: whatever looks only like a snapshot."""
    add_history(to, "app", [days_ago(days) for days in (1, 2, 3)])
    stamp = days_ago(9).strftime("%Y%m%dT%H%M%SZ")
    foreign = {
        "notes.txt",
        f"app-{stamp}.sqlite3",
        f"app/app-{stamp}.sqlite3.gpg",
        f"app/App-{stamp}.sqlite3",
        f"app/app-{stamp}Z.json",
        f"app/deeper/app-{stamp}.sqlite3",
        f"app/{stamp}.sqlite3",
    }
    for path in foreign:
        (to / path).parent.mkdir(parents=True, exist_ok=True)
        (to / path).write_text("mine")
    backup_config(app, to=to, **LAST_TWO)

    run = keeper("backup", "--json")

    assert len(run.json["pruned"]) == 4
    assert foreign <= files_below(to)


def test_each_destination_is_pruned_by_what_it_holds(
    keeper: Keeper, app: Path, backup_config: BackupConfig, tmp_path: Path
) -> None:
    """One may have a longer history than the other."""
    long, short = tmp_path / "long", tmp_path / "short"
    old = add_history(long, "app", [days_ago(days) for days in (1, 2, 3)])
    add_history(short, "app", [days_ago(1)])
    backup_config(app, to=[str(long), str(short)], **LAST_TWO)
    run = keeper("backup", "--json")
    assert set(run.json["pruned"]) == whole(old[1:])
    assert len(files_below(short)) == 5


def test_a_refused_delete_is_a_warning_with_the_reason(
    keeper: Keeper,
    app: Path,
    backup_config: BackupConfig,
    to: Path,
    immutable: Callable[[Path], None],
) -> None:
    """The backup counts, and what did go is named."""
    objects = add_history(to, "app", [days_ago(days) for days in (1, 2, 3)])
    immutable(to / objects[1])
    backup_config(app, to=to, **LAST_TWO)

    run = keeper("backup", "--json")

    assert (run.status, run.entry["outcome"]) == (0, "shipped")
    assert set(run.json["pruned"]) == whole(objects[1:]) - {objects[1]}
    assert "warning" in run.err
    assert "1 of 4 objects could not be deleted" in run.err
    assert "Operation not permitted" in run.err


def test_a_destination_that_refuses_every_delete_still_has_the_backup(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path, wrap_rclone: WrapRclone
) -> None:
    """As with a key that may only add."""
    wrap_rclone(delete='echo "AccessDenied: no deletes for you" >&2; exit 1')
    objects = add_history(to, "app", [days_ago(days) for days in (1, 2, 3)])
    backup_config(app, to=to, **LAST_TWO)

    run = keeper("backup", "--json")

    assert (run.status, run.json["pruned"]) == (0, [])
    assert "AccessDenied: no deletes for you" in run.err
    assert whole(objects) <= files_below(to)


def test_a_proof_that_only_this_host_remembers_counts(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path, tmp_path: Path
) -> None:
    """A destination may have refused the mark of a drill."""
    objects = add_history(to, "app", [days_ago(days) for days in (1, 2, 3)])
    record = DrillRecord(objects[2], NOW, "proven")
    History(tmp_path / "state").add_drills(str(to), [record], objects)
    backup_config(app, to=to, **LAST_TWO)
    assert set(keeper("backup", "--json").json["pruned"]) == whole([objects[1]])
