"""A whole backup run: real databases, real rclone, real destinations."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest

from sqlitekeeper.database.snapshot.fingerprint import fingerprint
from sqlitekeeper.destination.layout import parse_object
from sqlitekeeper.state.locks import database_lock
from tests.conftest import (
    REPOSITORY,
    S3,
    BackupConfig,
    Companion,
    Keeper,
    MakeDatabase,
    OtherUser,
    Outcome,
    StartKeeper,
    WrapRclone,
    count_rows,
    has_open,
    is_running,
    wait_until,
)
from tests.damage import damage_pages, make_index_disagree
from tests.histories import add_history


@pytest.fixture
def to(tmp_path: Path) -> Path:
    """A local destination that is not there yet."""
    return tmp_path / "to"


@pytest.fixture
def app(make_database: MakeDatabase, backup_config: BackupConfig, to: Path) -> Path:
    """A database that keeper.toml has shipped to `to`."""
    path = make_database(rows=20)
    backup_config(path, to=to)
    return path


def change(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("INSERT INTO t (body) VALUES (randomblob(50))").fetchall()
    connection.close()


def snapshots(to: Path, name: str = "app") -> list[Path]:
    return sorted((to / name).glob("*.sqlite3"))


def latest(to: Path, name: str = "app") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((to / name / "latest.json").read_text())
    return found


def outcomes(run: Outcome) -> list[str]:
    return [entry["outcome"] for entry in run.json["databases"]]


# The snapshot and its manifest


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


# What has not changed


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


# What it costs


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


# Several destinations


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


# Damage


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


# Programs that are not quite rclone


@pytest.mark.parametrize("program", ["true", "echo"])
def test_program_that_is_not_rclone_ships_nothing(
    keeper: Keeper, app: Path, to: Path, staging: Path, wrap_rclone: WrapRclone, program: str
) -> None:
    """It is found out before any work is done."""
    wrap_rclone()
    run = keeper("backup", "--json", env={"KEEPER_RCLONE": program})

    assert run.status == 1
    assert "does not look like rclone" in run.json["error"]["message"]
    assert run.json["error"]["hint"]
    assert not to.exists()
    assert list(staging.iterdir()) == []


def test_missing_rclone_is_said_to_be_missing(
    keeper: Keeper, app: Path, wrap_rclone: WrapRclone
) -> None:
    """The message names who asked for it, the hint what to do."""
    wrap_rclone()
    run = keeper("backup", "--json", env={"KEEPER_RCLONE": "/nowhere/rclone"})

    assert run.status == 2
    assert run.json["error"]["message"].startswith("$KEEPER_RCLONE: /nowhere/rclone")
    assert run.json["error"]["hint"]


DOES_NOTHING = {"copy": "exit 0"}
FAILS = {"copy": "echo 'the bucket is on fire' >&2; exit 7"}
DIES = {"copy": "kill -9 $rcd"}
TRUNCATES = {"copy": '"$real"; truncate -s 5 to/app/*.sqlite3; exit 0'}


@pytest.mark.parametrize(
    ("cases", "words"),
    [
        pytest.param(DOES_NOTHING, "rclone reported no error, but", id="does nothing"),
        pytest.param(FAILS, ": the bucket is on fire", id="fails"),
        pytest.param(DIES, "killed by SIGKILL", id="dies"),
        pytest.param(TRUNCATES, "has 5 bytes at ", id="truncates"),
    ],
)
def test_rclone_that_misbehaves_is_found_out(
    keeper: Keeper,
    app: Path,
    to: Path,
    staging: Path,
    wrap_rclone: WrapRclone,
    cases: dict[str, str],
    words: str,
) -> None:
    """The run fails with the reason; no manifest at the destination, nothing in staging."""
    to.mkdir()
    wrap_rclone(**cases)

    run = keeper("backup", "--json")

    assert (run.status, run.entry["outcome"]) == (1, "failed")
    assert run.entry["shipped"][0]["outcome"] == "failed"
    assert words in run.entry["reason"]
    assert not list(to.rglob("*.json"))
    assert list(staging.iterdir()) == []


@pytest.mark.parametrize(("year", "status"), [("21", 0), ("19", 1)])
def test_latest_json_that_another_run_has_refreshed_is_no_fault(
    keeper: Keeper, app: Path, to: Path, wrap_rclone: WrapRclone, year: str, status: int
) -> None:
    """It is the newer one that counts; an older one was not refreshed."""
    change = f's/confirmed_at": *"20/confirmed_at": "{year}/'
    wrap_rclone(copy=f'"$real"; sed -i \'{change}\' "${{to#disk:}}"; exit 0')

    run = keeper("backup", "--json")

    assert run.status == status, run.err
    assert f'confirmed_at": "{year}' in (to / "app/latest.json").read_text()


def test_failed_shipment_is_not_remembered(
    keeper: Keeper, app: Path, to: Path, wrap_rclone: WrapRclone
) -> None:
    """The next run, with an rclone that works, ships."""
    wrap_rclone(copy="exit 7")
    keeper("backup")
    wrap_rclone()

    run = keeper("backup", "--json")

    assert (run.status, run.entry["outcome"]) == (0, "shipped")


# Locks


def test_second_run_waits_for_the_lock(
    start_keeper: StartKeeper, app: Path, to: Path, tmp_path: Path
) -> None:
    """With time to wait, a run that comes second is done after the first."""
    with database_lock(tmp_path / "state", app):
        running = start_keeper("backup", "--lock-wait", "60", "--json")
        wait_until(lambda: has_open(running.process.pid, "/locks/"))

    assert running.end().status == 0


def test_second_run_gives_up_in_the_end(
    keeper: Keeper, app: Path, to: Path, tmp_path: Path
) -> None:
    """Alone, a database that another run holds is exit status 11."""
    with database_lock(tmp_path / "state", app):
        run = keeper("backup", "--lock-wait", "0.1", "--json")

    assert (run.status, run.entry["outcome"]) == (11, "failed")
    assert "another keeper run" in run.entry["reason"]
    assert not to.exists()


def test_locked_database_does_not_stop_the_others(
    keeper: Keeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    to: Path,
    tmp_path: Path,
) -> None:
    """One of two is locked: the other is shipped, and the status says some failed."""
    paths = [make_database(f"{name}.sqlite3", rows=5) for name in "ab"]
    backup_config(*paths, to=to)
    with database_lock(tmp_path / "state", paths[0]):
        run = keeper("backup", "--lock-wait", "0", "--json")

    assert (run.status, outcomes(run)) == (3, ["failed", "shipped"])


def test_locked_databases_are_waited_for_together(
    keeper: Keeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    to: Path,
    tmp_path: Path,
) -> None:
    """A run that hangs with ten locks does not keep the others back ten times as long."""
    paths = [make_database(f"{name}.sqlite3", rows=5) for name in "abcdefghijk"]
    backup_config(*paths, to=to)
    with ExitStack() as locks:
        for path in paths[:-1]:
            locks.enter_context(database_lock(tmp_path / "state", path))
        run = keeper("backup", "--lock-wait", "2", "--json")

    assert outcomes(run) == ["failed"] * 10 + ["shipped"]
    assert 2 < run.json["seconds"] < 10


def test_no_lock_is_held_while_waiting_for_another(
    start_keeper: StartKeeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    to: Path,
    tmp_path: Path,
) -> None:
    """What is staged is shipped and let go first: two runs never wait for each other."""
    paths = [make_database(f"{name}.sqlite3", rows=5) for name in "ab"]
    backup_config(*paths, to=to)
    with database_lock(tmp_path / "state", paths[1]):
        running = start_keeper("backup", "--lock-wait", "60", "--json")
        wait_until((to / "a" / "latest.json").exists)
        with database_lock(tmp_path / "state", paths[0], wait_seconds=30):
            pass

    assert outcomes(running.end()) == ["shipped", "shipped"]


# Interruptions

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", SIGNALS)
def test_interrupted_upload_ends_rclone_too(
    start_keeper: StartKeeper, app: Path, staging: Path, stalled_upload: Path, number: int
) -> None:
    """Status 130, the child is gone, staging is empty."""
    running = start_keeper("backup", "--json")
    wait_until(stalled_upload.exists)

    run = running.end(number)

    assert (run.status, run.json["error"]["code"]) == (130, 130)
    assert not is_running(int(stalled_upload.read_text()))
    assert list(staging.iterdir()) == []


@pytest.mark.parametrize("number", SIGNALS)
def test_interrupted_snapshot_leaves_nothing(
    start_keeper: StartKeeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    staging: Path,
    stalled_upload: Path,
    to: Path,
    number: int,
) -> None:
    """A part of a snapshot does not stay, and the next database is not begun."""
    paths = [
        make_database(f"{name}.sqlite3", rows=rows) for name, rows in (("a", 40_000), ("b", 1))
    ]
    backup_config(*paths, to=to)
    running = start_keeper("backup")
    wait_until(lambda: any(path.stat().st_size for path in staging.rglob("*.sqlite3")))

    run = running.end(number)

    assert run.status == 130
    assert "b: snapshot" not in run.err
    assert list(staging.iterdir()) == []
    assert not stalled_upload.exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_interrupted_wait_for_a_lock_ends_at_once(
    start_keeper: StartKeeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    beside: Callable[[str, Path], Companion],
    staging: Path,
    to: Path,
    number: int,
) -> None:
    """While the application holds its database, keeper still hears signals."""
    path = make_database(rows=1, journal_mode="delete")
    backup_config(path, to=to)
    beside("lock", path)
    running = start_keeper("backup")
    wait_until(lambda: any((folder / "snapshots" / "app").exists() for folder in staging.iterdir()))

    run = running.end(number)

    assert run.status == 130
    assert list(staging.iterdir()) == []


@pytest.mark.parametrize("number", SIGNALS)
def test_interrupted_check_leaves_nothing(
    start_keeper: StartKeeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    staging: Path,
    stalled_upload: Path,
    to: Path,
    number: int,
) -> None:
    """A check that is under way ends without a snapshot."""
    path = make_database(rows=40_000)
    connection = apsw.Connection(str(path))
    # To check takes half a millisecond for each row then, and to make or to copy it does not.
    slow = "length(body) + 0 * length(hex(zeroblob(length(body) + 3e5)))"
    connection.execute(
        "CREATE INDEX slow ON t (length(body)); PRAGMA writable_schema = ON;"
        f"UPDATE sqlite_schema SET sql = 'CREATE INDEX slow ON t ({slow})' WHERE name = 'slow'"
    ).fetchall()
    connection.close()
    backup_config(path, to=to)
    running = start_keeper("backup")
    wait_until(stalled_upload.exists)
    # It is uploaded and checked at the same time.
    wait_until(lambda: has_open(running.process.pid, "/snapshots/app/"))

    run = running.end(number)

    assert run.status == 130
    assert list(staging.iterdir()) == []
    assert not to.exists()


def test_killed_run_leaves_litter_that_the_next_one_removes(
    start_keeper: StartKeeper,
    keeper: Keeper,
    app: Path,
    staging: Path,
    stalled_upload: Path,
) -> None:
    """Nothing can be done about SIGKILL but to tidy up next time, and to say so."""
    running = start_keeper("backup")
    wait_until(stalled_upload.exists)
    running.process.kill()
    running.process.wait()
    (litter,) = staging.iterdir()

    run = keeper("backup", env={"KEEPER_RCLONE": ""})

    assert run.status == 0
    assert f"removed {litter}, left by a run that was killed" in run.err
    assert list(staging.iterdir()) == []


def test_folder_of_a_run_beside_stays(
    start_keeper: StartKeeper,
    keeper: Keeper,
    app: Path,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    staging: Path,
    stalled_upload: Path,
    to: Path,
) -> None:
    """A run does not take another's snapshot away while that is being uploaded."""
    running = start_keeper("backup")
    wait_until(stalled_upload.exists)
    (busy,) = staging.iterdir()
    backup_config(make_database("other.sqlite3", rows=1), to=to)

    run = keeper("backup", env={"KEEPER_RCLONE": ""})

    assert run.status == 0
    assert list(staging.iterdir()) == [busy]
    assert list(busy.rglob("*.sqlite3"))
    assert running.end(signal.SIGINT).status == 130


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


def test_another_database_of_the_name_at_the_destination_stops_pruning(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Every Django project has a db.sqlite3; two of them must not delete each other's."""
    blog, shop = (make_database(f"{name}/db.sqlite3", rows=9) for name in ("blog", "shop"))
    (tmp_path / "keeper.toml").write_text(
        "[backup]\nkeep_last = 1\nkeep_daily = 0\nkeep_weekly = 0\nkeep_monthly = 0\n"
    )
    runs = [keeper("backup", path, "--to", "dest", "--force") for path in (blog, shop, blog)]

    assert [run.status for run in runs] == [0, 0, 0]
    assert len(list((tmp_path / "dest/db").glob("db-*.sqlite3"))) == 3
    assert runs[0].err.partition("warning")[1] == ""
    assert f"has snapshots of {blog} under this name too" in runs[1].err
    assert f"has snapshots of {shop} under this name too" in runs[2].err


def test_another_host_of_the_same_layout_stops_pruning(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path
) -> None:
    """Two web servers that ship to one place; when one has taken over for good, it prunes."""
    rules = {"keep_last": 1, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0}
    backup_config(app, to=to, **rules)
    own = keeper("backup", "--json").entry["shipped"][0]["object"]
    name = parse_object(own)
    assert name is not None
    add_history(to, "app", [name.taken_at + timedelta(seconds=1)], latest={"host": "web2"})
    change(app)

    first = keeper("backup", "--json")
    change(app)
    second = keeper("backup", "--json")

    assert (first.status, first.json["pruned"]) == (0, [])
    assert "has snapshots from web2 under this name too, so nothing is pruned there" in first.err
    assert own in second.json["pruned"]


def test_run_that_was_overtaken_while_it_waited_ships_under_a_name_of_its_own(
    keeper: Keeper, make_database: MakeDatabase
) -> None:
    """Its listing knows nothing of what the other run has shipped and pruned."""
    path = make_database(rows=50)
    assert keeper("backup", path, "--to", "dest").status == 0
    runs = []

    def back_up() -> None:
        runs.append(keeper("backup", path, "--to", "dest", "--force", "--json"))

    threads = [threading.Thread(target=back_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    shipped = [run.entry["shipped"][0]["object"] for run in runs]
    assert [run.status for run in runs] == [0, 0, 0, 0]
    assert len(set(shipped)) == 4


# What nobody has written to


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


# What is uploaded before it is proven


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


# What is gone


@pytest.fixture
def tenants(make_database: MakeDatabase, backup_config: BackupConfig, to: Path) -> list[Path]:
    """Two databases that a glob finds."""
    paths = [make_database(f"tenants/{name}.sqlite3", rows=3) for name in "ab"]
    backup_config({"path": paths[0].parent / "*.sqlite3"}, to=to)
    return paths


def test_database_that_vanished_from_a_glob_is_told(
    keeper: Keeper, tenants: list[Path], to: Path
) -> None:
    """Even when quiet: nobody else would notice."""
    assert keeper("backup").status == 0
    tenants[0].unlink()

    run = keeper("backup", "-q")

    assert run.status == 0
    assert "a: warning: was backed up until 20" in run.err
    assert f"and {tenants[0]} is gone" in run.err


def test_database_that_may_not_be_looked_at_has_not_vanished(
    other_user: OtherUser, make_database: MakeDatabase
) -> None:
    """Taken out of the configuration, and its folder closed since: the others go on."""
    closed, app = other_user.folder / "closed", other_user.folder / "app.sqlite3"
    closed.mkdir()
    os.chown(closed, other_user.uid, other_user.gid)
    made = make_database(rows=3)
    for path in (app, closed / "other.sqlite3"):
        shutil.copy(made, path)
        os.chown(path, other_user.uid, other_user.gid)
    config = other_user.folder / "keeper.toml"
    entries = [f'[[databases]]\npath = "{path}"\n' for path in (app, closed / "other.sqlite3")]
    backup = f'[backup]\nto = "{other_user.folder / "to"}"\n'
    config.write_text("".join([*entries, backup]))
    assert other_user.keeper("backup", "--config", config).status == 0
    config.write_text(entries[0] + backup)
    closed.chmod(0)

    run = other_user.keeper("backup", "--config", config)

    assert (run.status, "is gone" in run.err) == (0, False)


def test_database_that_was_not_asked_for_has_not_vanished(
    keeper: Keeper, tenants: list[Path]
) -> None:
    """A run of one says nothing of the others; nor is one gone that is only moved in the config."""
    assert keeper("backup").status == 0
    tenants[0].unlink()

    assert "is gone" not in keeper("backup", "b").err


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
