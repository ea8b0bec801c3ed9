"""Snapshots that are not sound, and what was uploaded of them before that was known."""

from pathlib import Path

import apsw

from tests.conftest import S3, BackupConfig, Keeper, MakeDatabase, WrapRclone
from tests.damage import damage_pages, make_index_disagree


def test_damaged_database_is_not_shipped(
    keeper: Keeper, app: Path, to: Path, staging: Path
) -> None:
    """Exit status 12, no object, nothing left in staging."""
    damage_pages(app)

    run = keeper("backup", "--json")

    assert (run.status, run.entry["check"]) == (12, "failed")
    assert not to.exists()
    assert list(staging.iterdir()) == []


def test_snapshot_that_fails_its_check_is_not_shipped(
    keeper: Keeper, app: Path, to: Path, staging: Path
) -> None:
    """An index that disagrees with its table stops this database's upload."""
    make_index_disagree(app)

    run = keeper("backup", "--json")

    assert (run.status, run.entry["check"], run.entry["outcome"]) == (12, "failed", "failed")
    assert "integrity_check" in run.entry["reason"]
    assert not [path for path in to.rglob("*") if path.is_file()]
    assert list(staging.iterdir()) == []


def test_snapshot_whose_manifest_nobody_could_read_is_not_shipped(
    keeper: Keeper, app: Path, to: Path
) -> None:
    """Of a database with thousands of tables with very long names."""
    connection = apsw.Connection(str(app))
    with connection:
        for number in range(3400):
            connection.execute(f"CREATE TABLE {chr(0x6F22) * 200}{number} (a)").fetchall()
    connection.close()

    run = keeper("backup", "--json")

    assert (run.status, run.entry["outcome"]) == (1, "failed")
    assert "a manifest may have 3,932,160 bytes" in run.entry["reason"]
    assert not [file for file in to.rglob("*") if file.is_file()]


def test_unsound_snapshot_that_cannot_be_deleted_is_told(
    keeper: Keeper, app: Path, to: Path, wrap_rclone: WrapRclone
) -> None:
    """It stays an object without a manifest, and the run fails for what is wrong with it."""
    make_index_disagree(app)
    wrap_rclone(delete="echo 'append only' >&2; exit 7")

    run = keeper("backup", "--json")

    assert (run.status, run.entry["check"]) == (12, "failed")
    assert "failed its check and could not be deleted" in run.err
    assert "append only" in run.err
    assert not list(to.rglob("*.json"))


def test_unsound_snapshot_goes_though_nobody_knows_whether_it_has_arrived(
    keeper: Keeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    s3: S3,
    wrap_rclone: WrapRclone,
) -> None:
    """It would lie there until it is old enough to be pruned."""
    path = make_database(rows=20)
    make_index_disagree(path)
    backup_config(path, to=s3.to)
    wrap_rclone(stat="exit 9")

    run = keeper("backup", "--json")

    assert (run.status, run.entry["check"]) == (12, "failed")
    assert len(s3.created()) == 1
    assert [file for file in s3.folder.rglob("*") if file.is_file()] == []
