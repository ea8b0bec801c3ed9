"""What has not changed is not uploaded again, and what looks so but has is."""

import os
import shutil
import time
from datetime import datetime
from pathlib import Path

import pytest

from sqlitekeeper.database.snapshot.fingerprint import fingerprint
from tests.backup.shipped import change, latest, outcomes, snapshots
from tests.conftest import (
    S3,
    BackupConfig,
    Keeper,
    MakeDatabase,
    Outcome,
    WrapRclone,
    count_rows,
    wait_until,
)


def test_unchanged_database_is_not_uploaded_again(
    keeper: Keeper, app: Path, to: Path, any_rclone: Path
) -> None:
    """latest.json is confirmed anew, nothing else is uploaded."""
    first = keeper("backup", "--json")
    before = latest(to)
    wait_for_next_second(before["confirmed_at"])

    second = keeper("backup", "--json")

    assert (second.status, second.entry["outcome"]) == (0, "unchanged")
    assert second.json["uploaded_bytes"] == 0
    assert second.entry["shipped"] == [
        first.entry["shipped"][0] | {"outcome": "unchanged"},
    ]
    assert len(snapshots(to)) == 1
    after = latest(to)
    assert after["confirmed_at"] > before["confirmed_at"]
    assert after["taken_at"] == before["taken_at"]


def wait_for_next_second(moment: str) -> None:
    then = datetime.fromisoformat(moment)
    wait_until(lambda: (datetime.now(then.tzinfo) - then).total_seconds() >= 1)


def test_unchanged_database_costs_s3_one_small_object(
    keeper: Keeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    s3: S3,
    any_rclone: Path,
) -> None:
    """One list, one upload, and no more than a few questions about it."""
    backup_config(make_database(rows=20), to=f"{s3.to}/web1")
    assert keeper("backup").status == 0
    s3.forget_calls()

    run = keeper("backup", "--json")

    assert run.entry["outcome"] == "unchanged"
    assert s3.created() == ["web1/app/latest.json"]
    assert s3.calls().count("LIST BUCKET") == 1
    assert len(s3.calls()) <= 5


def test_changed_database_is_shipped(keeper: Keeper, app: Path, to: Path, any_rclone: Path) -> None:
    """The new snapshot lies beside the old one, and latest.json names it."""
    keeper("backup")
    change(app)

    run = keeper("backup", "--json")

    assert (run.status, run.entry["outcome"]) == (0, "shipped")
    assert [count_rows(path) for path in snapshots(to)] == [20, 21]
    assert latest(to)["snapshot"]["object"] == f"app/{snapshots(to)[1].name}"


def test_force_ships_what_has_not_changed(keeper: Keeper, app: Path, to: Path) -> None:
    """--force uploads the same content under a new name."""
    keeper("backup")

    run = keeper("backup", "--force", "--json")

    assert run.entry["outcome"] == "shipped"
    assert len(snapshots(to)) == 2


@pytest.mark.parametrize("lost", ["snapshot", "manifest", "end of the snapshot"])
def test_what_vanished_from_the_destination_is_shipped_again(
    keeper: Keeper, app: Path, to: Path, lost: str
) -> None:
    """The remote is the truth: what this host remembers does not count."""
    keeper("backup")
    (snapshot,) = snapshots(to)
    if lost == "manifest":
        snapshot.with_suffix(".json").unlink()
    elif lost == "snapshot":
        snapshot.unlink()
    else:
        os.truncate(snapshot, 100)

    run = keeper("backup", "--json")

    assert (run.status, run.entry["outcome"]) == (0, "shipped")
    assert (
        f"app: warning: the last snapshot is not whole at {to} any more; shipping again" in run.err
    )
    assert count_rows(snapshots(to)[-1]) == 20


def test_destination_that_was_emptied_is_filled_again(keeper: Keeper, app: Path, to: Path) -> None:
    """A folder that is gone altogether is made again."""
    keeper("backup")
    shutil.rmtree(to)

    run = keeper("backup", "--json")

    assert (run.status, run.entry["outcome"]) == (0, "shipped")
    assert len(snapshots(to)) == 1


def test_lost_memory_costs_one_more_upload(
    keeper: Keeper, app: Path, to: Path, tmp_path: Path
) -> None:
    """Without keeper's own record everything is shipped once more."""
    keeper("backup")
    shutil.rmtree(tmp_path / "state")

    again = keeper("backup", "--json")
    after = keeper("backup", "--json")

    assert (outcomes(again), outcomes(after)) == (["shipped"], ["unchanged"])
    assert len(snapshots(to)) == 2


def test_damaged_memory_does_not_stop_the_backup(
    keeper: Keeper, app: Path, to: Path, tmp_path: Path
) -> None:
    """keeper's own database is never more important than the user's."""
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "history.sqlite3").write_bytes(b"not a database" * 100)

    run = keeper("backup", "--json")

    assert (run.status, run.entry["outcome"]) == (0, "shipped")
    assert "everything is shipped again" in run.err


def test_stricter_check_than_before_ships_again(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path
) -> None:
    """A snapshot that was never checked does not stand in for one that was."""
    backup_config(app, to=to, check="none")
    first = keeper("backup", "--json")
    backup_config(app, to=to, check="quick")

    second = keeper("backup", "--json")

    assert (first.entry["check"], second.entry["check"]) == ("none", "ok")
    assert second.entry["outcome"] == "shipped"
    assert latest(to)["checks"]["kind"] == "quick"


def test_milder_check_than_before_ships_nothing(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path
) -> None:
    """What was proven better than asked stays good."""
    keeper("backup")
    backup_config(app, to=to, check="none")

    assert outcomes(keeper("backup", "--json")) == ["unchanged"]


def test_failed_shipment_is_not_remembered(
    keeper: Keeper, app: Path, to: Path, wrap_rclone: WrapRclone
) -> None:
    """The next run, with an rclone that works, ships."""
    wrap_rclone(copy="exit 7")
    keeper("backup")
    wrap_rclone()

    run = keeper("backup", "--json")

    assert (run.status, run.entry["outcome"]) == (0, "shipped")


def test_snapshot_that_failed_its_drill_is_shipped_again(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Unchanged content that lies damaged at the destination is no backup."""
    path = make_database(rows=50)
    assert keeper("backup", path, "--to", "dest").status == 0
    (snapshot,) = (tmp_path / "dest/app").glob("app-*.sqlite3")
    content = bytearray(snapshot.read_bytes())
    content[5000] ^= 1
    snapshot.write_bytes(content)
    assert keeper("drill", "app", "--from", "dest").status == 12

    again = keeper("backup", path, "--to", "dest", "--json")

    assert again.entry["outcome"] == "shipped"
    assert keeper("drill", "app", "--from", "dest").status == 0


def test_snapshot_whose_manifest_is_damaged_is_shipped_again(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Without its manifest it is no snapshot, so unchanged content needs another."""
    path = make_database(rows=50)
    assert keeper("backup", path, "--to", "dest").status == 0
    (manifest,) = (tmp_path / "dest/app").glob("app-*.json")
    manifest.write_bytes(b"")

    assert keeper("backup", path, "--to", "dest", "--json").entry["outcome"] == "shipped"


@pytest.fixture
def untouched(keeper: Keeper, app: Path) -> Path:
    """A database that was backed up when its last write was long over."""
    settled(app)
    assert keeper("backup").status == 0
    return app


def settled(path: Path) -> None:
    """Wait until the file's time stamps are too old for another write to share them."""
    wait_until(lambda: fingerprint(path, time.time_ns()) is not None)


def was_read(run: Outcome) -> bool:
    return "not read: nobody has written to it since" not in run.err


def test_untouched_database_is_not_read_again(keeper: Keeper, untouched: Path, to: Path) -> None:
    """The second day confirms what lies there, and says with -v that this was all."""
    before = latest(to)
    wait_for_next_second(before["confirmed_at"])

    run = keeper("backup", "-v", "--json")

    assert (run.entry["outcome"], was_read(run)) == ("unchanged", False)
    assert run.entry["tables"] == {"t": 20}
    assert run.entry["bytes"] == before["snapshot"]["bytes"]
    assert latest(to)["confirmed_at"] > before["confirmed_at"]


def test_write_is_seen_at_once(keeper: Keeper, untouched: Path) -> None:
    """Into the WAL as well as into the file."""
    change(untouched)

    assert keeper("backup", "--json").entry["outcome"] == "shipped"


def test_touched_database_is_read_and_found_unchanged(keeper: Keeper, untouched: Path) -> None:
    """In doubt the content decides."""
    untouched.touch()

    run = keeper("backup", "-v", "--json")

    assert (run.entry["outcome"], was_read(run)) == ("unchanged", True)


def test_untouched_database_is_shipped_where_its_snapshot_is_gone(
    keeper: Keeper, untouched: Path, to: Path
) -> None:
    """What lies at the destination decides, not what this host remembers."""
    snapshots(to)[0].unlink()

    run = keeper("backup", "--json")

    assert (run.entry["outcome"], len(snapshots(to))) == ("shipped", 1)


def test_force_reads_what_nobody_has_touched(keeper: Keeper, untouched: Path, to: Path) -> None:
    """It is the way to make sure."""
    assert keeper("backup", "--force", "--json").entry["outcome"] == "shipped"


def test_another_file_of_the_same_name_is_read(
    keeper: Keeper, untouched: Path, make_database: MakeDatabase
) -> None:
    """An older file put in its place has another inode."""
    settled(other := make_database("other.sqlite3", rows=3))
    other.replace(untouched)

    assert keeper("backup", "--json").entry["tables"] == {"t": 3}
