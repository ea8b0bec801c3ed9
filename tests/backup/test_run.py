"""A whole backup run: real databases, real rclone, real destinations."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from tests.backup.shipped import change, latest, outcomes, snapshots
from tests.conftest import (
    REPOSITORY,
    S3,
    BackupConfig,
    Keeper,
    MakeDatabase,
    StartKeeper,
    WrapRclone,
    count_rows,
    wait_until,
)
from tests.damage import damage_pages


def test_staging_may_be_the_state_folder(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path, tmp_path: Path
) -> None:
    """Also in the first run, which makes it."""
    backup_config(app, to=to, staging=tmp_path / "state")

    assert keeper("backup").status == 0


def test_snapshot_at_the_destination_is_a_plain_database(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path, any_rclone: Path
) -> None:
    """What lies at the destination opens as SQLite and holds every row."""
    path = make_database(rows=50)

    run = keeper("backup", path, "--to", tmp_path / "dest", "--json")

    assert run.status == 0
    (shipped,) = run.entry["shipped"]
    snapshot = tmp_path / "dest" / shipped["object"]
    assert count_rows(snapshot) == 50
    assert hashlib.sha256(snapshot.read_bytes()).hexdigest() == run.entry["sha256"]


def test_manifest_tells_what_is_at_the_destination(keeper: Keeper, app: Path, to: Path) -> None:
    """Object, size, hash, rows and versions are those of the snapshot beside it."""
    assert keeper("backup").status == 0

    (snapshot,) = snapshots(to)
    manifest = json.loads(snapshot.with_suffix(".json").read_text())
    assert manifest["format"] == 1
    assert manifest["snapshot"] == {
        "object": f"app/{snapshot.name}",
        "bytes": snapshot.stat().st_size,
        "sha256": hashlib.sha256(snapshot.read_bytes()).hexdigest(),
    }
    assert manifest["tables"] == {"t": 20}
    assert manifest["source"]["path"] == str(app)
    assert manifest["versions"]["rclone"] == "none"
    assert manifest["versions"]["sqlite"] == apsw.sqlite_lib_version()
    confirmed = latest(to)
    assert confirmed.pop("confirmed_at") >= manifest["taken_at"]
    assert confirmed == manifest


def test_staging_is_empty_after_a_run(keeper: Keeper, app: Path, staging: Path) -> None:
    """Snapshots are made there, then removed."""
    assert keeper("backup").status == 0

    assert list(staging.iterdir()) == []


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_local_snapshot_is_flushed_before_its_manifest_is_shipped(
    app: Path, to: Path, tmp_path: Path
) -> None:
    """In an order that a power cut cannot turn round, and without any rclone."""
    trace = tmp_path / "trace"
    command = f"strace -f -y -s 4096 -o {trace} -e trace=fsync,execve,/rename".split()
    if subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("strace may not trace here")

    subprocess.run(
        [*command, sys.executable, "-m", "sqlitekeeper", "backup"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        check=True,
    )

    steps = trace.read_text().splitlines()
    flushed = next(i for i, s in enumerate(steps) if "fsync" in s and str(to) in s)
    metadata = next(i for i, s in enumerate(steps) if "rename" in s and ".json" in s)
    assert str(snapshots(to)[0]) in steps[flushed]
    assert flushed < metadata
    assert not [step for step in steps if "execve" in step and "rclone" in step]


@pytest.mark.parametrize("count", [1, 3, 30])
def test_a_run_lists_a_destination_once(
    keeper: Keeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    s3: S3,
    any_rclone: Path,
    count: int,
) -> None:
    """First, changed or unchanged day, one database or thirty: one LIST, nothing deleted."""
    paths = [make_database(f"db{number:02}.sqlite3", rows=1) for number in range(count)]
    backup_config(*paths, to=f"{s3.to}/web1", prune=False)
    days = {"first": 3 * count, "unchanged": count, "changed": 3 * count}
    for day, uploads in days.items():
        if day == "changed":
            for path in paths:
                change(path)
        s3.forget_calls()

        run = keeper("backup", "--json")

        assert run.status == 0
        calls = s3.calls()
        assert calls.count("LIST BUCKET") == 1, day
        assert len(s3.created()) == uploads, day
        # keeper asks for each; rclone need not do so too.
        assert calls.count("HEAD OBJECT") == uploads, day
        assert not [call for call in calls if call.startswith("DELETE")], day


def test_api_calls_are_counted_as_the_provider_counts_them(
    keeper: Keeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    s3: S3,
    any_rclone: Path,
) -> None:
    """By kind, in the result and as a line for people."""
    backup_config(make_database(rows=20), to=f"{s3.to}/web1")
    s3.forget_calls()

    run = keeper("backup", "--json")

    seen = Counter(s3.calls())
    told = run.json["api_calls"]
    assert told["LIST"] == seen["LIST BUCKET"] == 1
    assert told["HEAD"] == seen["HEAD OBJECT"]
    assert told["PUT"] == seen["CREATE OBJECT"] + seen["CREATE BUCKET"]
    assert " API calls: " in keeper("backup").out
    assert told.keys() == {"LIST", "HEAD", "PUT"}


def test_local_folder_takes_no_api_calls(keeper: Keeper, app: Path) -> None:
    """And nothing is said about any."""
    run = keeper("backup", "--json")

    assert run.json["api_calls"] == {}
    assert "API call" not in keeper("backup").out


def test_every_destination_gets_its_copy(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig, to: Path, s3: S3
) -> None:
    """A local folder and a bucket hold the same snapshot under the same name."""
    backup_config(make_database(rows=5), to=[str(to), f"{s3.to}/web1"])

    run = keeper("backup", "--json")

    assert run.status == 0
    assert [one["outcome"] for one in run.entry["shipped"]] == ["uploaded", "uploaded"]
    (local,), (remote,) = snapshots(to), snapshots(s3.folder / "web1")
    assert (local.name, local.read_bytes()) == (remote.name, remote.read_bytes())
    assert run.json["uploaded_bytes"] == 2 * run.entry["bytes"]


def test_destination_that_fails_does_not_stop_the_other(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig, to: Path
) -> None:
    """The run fails, says where, and what could be shipped is shipped."""
    backup_config(make_database(rows=5), to=["unknown:bucket", str(to)])

    run = keeper("backup", "--json")

    assert (run.status, run.entry["outcome"]) == (1, "failed")
    assert {one["to"]: one["outcome"] for one in run.entry["shipped"]} == {
        "unknown:bucket": "failed",
        str(to): "uploaded",
    }
    assert "unknown" in run.entry["reason"]
    assert len(snapshots(to)) == 1


def test_folder_at_the_destination_that_is_a_link_is_a_failure(
    keeper: Keeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    to: Path,
    tmp_path: Path,
) -> None:
    """rclone writes through it and does not list it, so nothing there could be restored."""
    backup_config(*(make_database(f"{name}.sqlite3", rows=5) for name in ("app", "blog")), to=to)
    (tmp_path / "elsewhere").mkdir()
    to.mkdir()
    (to / "app").symlink_to("../elsewhere")

    run = keeper("backup", "--json")

    assert (run.status, outcomes(run)) == (3, ["failed", "shipped"])
    assert f"is not at {to}" in run.json["databases"][0]["reason"]


def test_destination_that_caught_up_fails_no_more(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig, to: Path, s3: S3
) -> None:
    """Each destination has a memory of its own: only the one that lacks a copy gets one."""
    path = make_database(rows=5)
    backup_config(path, to=str(to))
    keeper("backup")
    backup_config(path, to=[str(to), f"{s3.to}/web1"])

    run = keeper("backup", "--json")

    assert (run.status, run.entry["outcome"]) == (0, "shipped")
    assert [one["outcome"] for one in run.entry["shipped"]] == ["unchanged", "uploaded"]
    assert len(snapshots(to)) == 1
    assert len(snapshots(s3.folder / "web1")) == 1


def test_full_destination_is_a_failure_with_a_hint(
    keeper: Keeper, app: Path, backup_config: BackupConfig, tiny_disk: Path, staging: Path
) -> None:
    """A disk that is full holds no manifest, and keeper says that it is full."""
    backup_config(app, to=tiny_disk / "backups")
    (tiny_disk / "filler").write_bytes(b"x" * (TINY_BYTES - 16384))

    run = keeper("backup", "--json")

    assert run.status == 1
    assert "the destination's disk is full" in run.entry["reason"]
    assert not list(tiny_disk.rglob("*.json"))
    assert list(staging.iterdir()) == []


def test_snapshot_that_does_not_fit_is_not_begun(
    keeper: Keeper, app: Path, backup_config: BackupConfig, tiny_disk: Path, to: Path
) -> None:
    """The message says which folder needs how much, the hint names the setting."""
    backup_config(app, to=to, staging=tiny_disk)
    (tiny_disk / "filler").write_bytes(b"x" * (TINY_BYTES - 16384))

    run = keeper("backup", "--json")

    assert run.status == 1
    assert f"{app}: its snapshot needs 1.0 MiB in {tiny_disk}" in run.entry["reason"]
    assert "backup.staging" in run.entry["reason"]
    assert [path.name for path in tiny_disk.iterdir()] == ["filler"]
    assert not to.exists()


TINY_BYTES = 2**20


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={TINY_BYTES}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting does not work here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_one_bad_database_does_not_stop_the_others(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig, to: Path
) -> None:
    """Of three, two are shipped."""
    paths = [make_database(f"{name}.sqlite3", rows=20) for name in "abc"]
    damage_pages(paths[1])
    backup_config(*paths, to=to)

    run = keeper("backup", "--json")

    assert outcomes(run) == ["shipped", "failed", "shipped"]
    assert sorted(path.name for path in to.iterdir()) == ["a", "c"]


@pytest.mark.parametrize("kind", ["a link to itself", "below a file"])
def test_database_out_of_reach_does_not_stop_the_others(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path, tmp_path: Path, kind: str
) -> None:
    """As on a file system that has gone away: not even its size can be asked for."""
    lost = tmp_path / "lost.sqlite3"
    if kind == "below a file":
        lost.touch()
        lost /= "lost.sqlite3"
    else:
        lost.symlink_to(lost)
    backup_config(lost, app, to=to)

    run = keeper("backup", "--json")

    assert (run.status, outcomes(run)) == (3, ["failed", "shipped"])


def test_name_that_is_too_long_does_not_stop_the_others(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path, tmp_path: Path
) -> None:
    """An optional path that the operating system cannot even look at is one failure."""
    odd = {"path": tmp_path / ("x" * 300), "name": "odd", "optional": True}
    backup_config(odd, app, to=to)

    run = keeper("backup", "--json")

    assert (run.status, outcomes(run)) == (3, ["failed", "shipped"])


def test_globs_without_a_match_do_not_take_anothers_place(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path, tmp_path: Path
) -> None:
    """A pattern that matches nothing fails under its own path, whatever it would be called."""
    absent = {"path": tmp_path / "absent/*.sqlite3", "name": "app"}
    backup_config(app, absent, to=to)

    run = keeper("backup", "--json")

    assert (run.status, outcomes(run)) == (3, ["shipped", "failed"])
    assert run.json["databases"][0]["path"] == str(app)


def test_planted_names_in_staging_are_no_obstacle(
    keeper: Keeper, app: Path, staging: Path, tmp_path: Path, to: Path
) -> None:
    """Links, files and folders that were put there before lead nothing astray."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / ".keeper").touch()
    (staging / "keeper-staging-link1234").symlink_to(precious)
    (staging / "keeper-staging-file1234").touch()
    (staging / "snapshots").symlink_to(precious)
    (staging / "app").mkdir()
    before = sorted(staging.iterdir())

    run = keeper("backup")

    assert run.status == 0
    assert sorted(staging.iterdir()) == before
    assert [path.name for path in precious.iterdir()] == [".keeper"]
    assert len(snapshots(to)) == 1


def test_first_destination_has_its_snapshot_while_the_second_hangs(
    start_keeper: StartKeeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    to: Path,
    tmp_path: Path,
    wrap_rclone: WrapRclone,
) -> None:
    """A run that is ended there has made a backup all the same."""
    backup_config(make_database(rows=20), to=[str(to), str(tmp_path / "second")])
    wrap_rclone(copy='case "$to" in */second/*) exec sleep 600 ;; esac')

    running = start_keeper("backup")
    wait_until((to / "app" / "latest.json").exists)
    assert running.end(signal.SIGTERM).status == 130

    assert latest(to)["snapshot"]["object"] == f"app/{snapshots(to)[0].name}"
