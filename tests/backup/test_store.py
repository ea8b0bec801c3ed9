"""How snapshots are stored: compressed, or as what changed since another one."""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest

from sqlitekeeper.backup.model import StoredSnapshot
from sqlitekeeper.backup.upload import Uploader
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.destination.layout import manifest_object
from sqlitekeeper.rclone.client import Rclone
from tests.backup.shipped import change
from tests.conftest import REPOSITORY, S3, BackupConfig, Keeper, MakeDatabase

ROWS = 3000


@pytest.fixture
def fat(make_database: MakeDatabase, backup_config: BackupConfig, to: Path) -> Path:
    """A database whose changes are small beside it, and store = "delta"."""
    path = make_database(rows=ROWS)
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE t SET body = randomblob(500)").fetchall()
    connection.close()
    backup_config(path, to=to, store="delta", keep_last=20)
    return path


@pytest.fixture
def lab(s3: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """A bucket, and a remote for it."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3


def stored(to: Path, ending: str = "zst") -> list[str]:
    """The snapshots at a local destination that are not plain, oldest first."""
    return sorted(str(one.relative_to(to)) for one in to.glob(f"app/*.{ending}"))


def manifest(to: Path, key: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((to / manifest_object(key)).read_text())
    return found


def content(path: Path) -> list[tuple[Any, ...]]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    rows = connection.execute("SELECT * FROM t ORDER BY 1").fetchall()
    connection.close()
    return rows


def ship(keeper: Keeper, path: Path, *arguments: str) -> dict[str, Any]:
    """Change the database and back it up; what was shipped to the first destination."""
    change(path)
    run = keeper("backup", "--json", *arguments)
    assert run.status == 0, run.out
    (first, *_) = run.entry["shipped"]
    found: dict[str, Any] = first
    return found


def test_compressed_snapshot_is_what_zstd_reads(
    keeper: Keeper, fat: Path, to: Path, backup_config: BackupConfig
) -> None:
    """Its manifest has the sizes and sums of both files."""
    backup_config(fat, to=to, store="zstd")
    shipped = ship(keeper, fat)
    (key,) = stored(to)
    said = manifest(to, key)
    data = (to / key).read_bytes()
    assert said["format"] == 2
    assert said["snapshot"]["object"] == key == shipped["object"]
    assert said["snapshot"]["encoding"] == shipped["encoding"] == "zstd"
    assert said["snapshot"]["stored_bytes"] == shipped["bytes"] == len(data)
    assert said["snapshot"]["stored_sha256"] == hashlib.sha256(data).hexdigest()
    assert said["snapshot"]["sha256"] == keeper("backup", "--json").entry["sha256"]


@pytest.mark.parametrize("store", ["zstd", "delta"])
def test_what_is_stored_is_proven_and_restored(
    keeper: Keeper, fat: Path, to: Path, backup_config: BackupConfig, tmp_path: Path, store: str
) -> None:
    """By drill and restore, as a plain one."""
    backup_config(fat, to=to, store=store)
    ship(keeper, fat)
    assert ship(keeper, fat)["encoding"] == store
    drill = keeper("drill", "--json")
    assert (drill.entry["outcome"], drill.entry["rows_ok"]) == ("proven", True)
    assert keeper("restore", "app", "--to", tmp_path / "back.sqlite3").status == 0
    assert content(tmp_path / "back.sqlite3") == content(fat)
    assert list((tmp_path / "staging").iterdir()) == []


def test_delta_is_small_and_has_one_base(keeper: Keeper, fat: Path, to: Path) -> None:
    """Each of the same whole one, never of another delta; its name tells of which."""
    whole = ship(keeper, fat)
    deltas = [ship(keeper, fat) for _ in range(3)]
    token = str(whole["object"]).removesuffix(".sqlite3.zst")[-5:]
    assert [one["encoding"] for one in (whole, *deltas)] == ["zstd", *["delta"] * 3]
    assert all(one["bytes"] < whole["bytes"] / 20 for one in deltas)
    for one in deltas:
        assert one["object"].endswith(f"-{token}.delta.zst")
        assert manifest(to, one["object"])["snapshot"]["base"] == whole["object"]


def test_unchanged_database_is_not_encoded_again(keeper: Keeper, fat: Path, to: Path) -> None:
    """Also where the destination holds it as a delta."""
    ship(keeper, fat)
    ship(keeper, fat)
    run = keeper("backup", "--json")
    assert (run.entry["outcome"], run.json["uploaded_bytes"]) == ("unchanged", 0)


def test_remote_gets_deltas_of_the_base_in_the_state_folder(
    keeper: Keeper, fat: Path, backup_config: BackupConfig, lab: S3, tmp_path: Path
) -> None:
    """It is private, and no call more than with plain snapshots is made."""
    backup_config(fat, to=lab.to, store="delta")
    whole = ship(keeper, fat)
    base = tmp_path / "state/bases" / str(whole["object"])
    assert base.read_bytes() == (lab.folder / str(whole["object"])).read_bytes()
    modes = [one.stat().st_mode & 0o777 for one in (base, base.parent, base.parent.parent)]
    assert modes == [0o600, 0o700, 0o700]
    lab.forget_calls()
    assert ship(keeper, fat)["encoding"] == "delta"
    assert sorted(set(lab.calls())) == ["CREATE OBJECT", "HEAD OBJECT", "LIST BUCKET"]
    assert lab.calls().count("CREATE OBJECT") == 3
    assert keeper("drill").status == 0


def test_restore_text_is_left_once(
    keeper: Keeper, fat: Path, backup_config: BackupConfig, lab: S3
) -> None:
    """Where something lies that is not plain."""
    backup_config(fat, to=lab.to)
    ship(keeper, fat)
    assert not (lab.folder / "RESTORE.txt").exists()
    backup_config(fat, to=lab.to, store="zstd")
    ship(keeper, fat)
    assert "zstd -d" in (lab.folder / "RESTORE.txt").read_text()
    lab.forget_calls()
    ship(keeper, fat)
    assert "RESTORE.txt" not in " ".join(lab.created())


def test_forced_run_ships_a_whole_one(keeper: Keeper, fat: Path) -> None:
    """Which is the base from then on."""
    ship(keeper, fat)
    whole = ship(keeper, fat, "--force")
    assert whole["encoding"] == "zstd"
    delta = ship(keeper, fat)
    token = str(whole["object"]).removesuffix(".sqlite3.zst")[-5:]
    assert delta["object"].endswith(f"-{token}.delta.zst")


def test_content_that_is_all_new_is_shipped_whole(keeper: Keeper, fat: Path) -> None:
    """Where a delta is not smaller."""
    ship(keeper, fat)
    connection = apsw.Connection(str(fat))
    connection.execute("UPDATE t SET body = randomblob(500)").fetchall()
    connection.close()
    assert ship(keeper, fat)["encoding"] == "zstd"


def test_whole_one_is_shipped_when_deltas_add_up_to_the_last(
    keeper: Keeper, fat: Path, to: Path
) -> None:
    """Also when those of before were pruned meanwhile."""
    found = []
    for _ in range(6):
        connection = apsw.Connection(str(fat))
        connection.execute("UPDATE t SET body = randomblob(500) WHERE id <= 1400").fetchall()
        connection.close()
        found.append(ship(keeper, fat)["encoding"])
    assert found == ["zstd", "delta", "delta", "delta", "zstd", "delta"]


@pytest.mark.parametrize("lost", ["gone", "damaged"])
def test_base_that_is_not_at_hand_makes_the_next_one_whole(
    keeper: Keeper, fat: Path, backup_config: BackupConfig, lab: S3, tmp_path: Path, lost: str
) -> None:
    """It is not downloaded, and never used unless it is what was shipped."""
    backup_config(fat, to=lab.to, store="delta")
    base = tmp_path / "state/bases" / str(ship(keeper, fat)["object"])
    if lost == "gone":
        base.unlink()
    else:
        data = bytearray(base.read_bytes())
        data[len(data) // 2] ^= 1
        base.write_bytes(data)
    assert ship(keeper, fat)["encoding"] == "zstd"
    assert ship(keeper, fat)["encoding"] == "delta"


def test_base_that_is_gone_there_makes_the_next_one_whole(
    keeper: Keeper, fat: Path, to: Path
) -> None:
    """Even if nothing has changed; the deltas of it do not count."""
    base = ship(keeper, fat)
    delta = ship(keeper, fat)
    (to / str(base["object"])).unlink()
    status = keeper("status", "--json")
    assert status.status == 12
    assert f"{delta['object']} is not whole" in status.entry["reason"]
    (listed,) = keeper("snapshots", "--json").json["snapshots"]
    assert listed["is_whole"] is False
    findings = keeper("doctor", "--remote", "--json").json["findings"]
    (found,) = [one for one in findings if one["check"] == "deltas"]
    assert (found["level"], str(delta["object"]) in found["message"]) == ("warn", True)
    run = keeper("backup", "--json")
    assert run.entry["shipped"][0]["encoding"] == "zstd"
    assert keeper("status").status == 0
    assert keeper("restore", "app", "--to", to.parent / "back.sqlite3").status == 0


def test_restore_says_that_the_newest_lacks_its_base(
    keeper: Keeper, fat: Path, backup_config: BackupConfig, to: Path
) -> None:
    """What comes instead is older, which is for somebody to know."""
    backup_config(fat, to=to, store="zstd", keep_last=20)
    older = ship(keeper, fat)
    backup_config(fat, to=to, store="delta", keep_last=20)
    base = ship(keeper, fat, "--force")
    delta = ship(keeper, fat)
    (to / str(base["object"])).unlink()
    run = keeper("restore", "app", "--to", to.parent / "back.sqlite3", "--json")
    assert (run.status, run.entry["object"]) == (0, older["object"])
    assert f"{delta['object']} is not whole" in run.err


def test_each_destination_gets_what_it_can_use(
    keeper: Keeper, fat: Path, backup_config: BackupConfig, to: Path, lab: S3
) -> None:
    """A whole one where there is no base, a delta where there is."""
    backup_config(fat, to=lab.to, store="delta")
    ship(keeper, fat)
    backup_config(fat, to=[lab.to, to], store="delta")
    change(fat)
    run = keeper("backup", "--json")
    assert [one["encoding"] for one in run.entry["shipped"]] == ["delta", "zstd"]
    assert keeper("drill").status == 0
    change(fat)
    run = keeper("backup", "--json")
    assert run.status == 0, run.out
    assert keeper("drill").status == 0


def test_store_may_change_from_day_to_day(keeper: Keeper, fat: Path, tmp_path: Path) -> None:
    """What lies there stays readable; a base that nothing needs leaves the state folder."""
    toml = (tmp_path / "keeper.toml").read_text()
    for store in ("plain", "zstd", "delta", "plain", "delta", "delta", "zstd", "delta"):
        (tmp_path / "keeper.toml").write_text(toml.replace('"delta"', f'"{store}"'))
        ship(keeper, fat)
    found = [one["encoding"] for one in keeper("snapshots", "--json").json["snapshots"]]
    assert found == ["delta", "zstd", "delta", "zstd", "plain", "delta", "zstd", "plain"]
    for _ in found:
        assert keeper("drill", "--rotate").status == 0
    assert {one["proof"] for one in keeper("snapshots", "--json").json["snapshots"]} == {"proven"}


def test_base_leaves_the_state_folder_with_the_last_delta(
    keeper: Keeper, fat: Path, backup_config: BackupConfig, lab: S3, tmp_path: Path
) -> None:
    """So does what a killed run left."""
    backup_config(fat, to=lab.to, store="delta")
    first = ship(keeper, fat)
    folder = tmp_path / "state/bases/app"
    (folder / "app-20261124T030000Z-k3f9q.sqlite3.zst.partial").write_bytes(b"x")
    ship(keeper, fat)
    assert [f"app/{one.name}" for one in folder.iterdir()] == [first["object"]]
    second = ship(keeper, fat, "--force")
    assert [f"app/{one.name}" for one in folder.iterdir()] == [second["object"]]
    backup_config(fat, to=lab.to)
    ship(keeper, fat)
    assert list(folder.iterdir()) == []


def test_full_state_folder_is_a_warning(
    keeper: Keeper, fat: Path, backup_config: BackupConfig, lab: S3, tmp_path: Path
) -> None:
    """And the next snapshot is a whole one."""
    backup_config(fat, to=lab.to, store="delta")
    (tmp_path / "state").mkdir(exist_ok=True)
    (tmp_path / "state/bases").write_text("in the way")
    change(fat)
    run = keeper("backup", "--json")
    assert run.status == 0
    assert "the next snapshot is shipped whole" in run.err
    (tmp_path / "state/bases").unlink()
    assert ship(keeper, fat)["encoding"] == "zstd"
    assert ship(keeper, fat)["encoding"] == "delta"


def test_other_state_folder_reads_the_base_at_a_local_destination(
    keeper: Keeper, fat: Path, to: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A base that somebody else has shipped will do."""
    ship(keeper, fat)
    monkeypatch.setenv("KEEPER_STATE", str(tmp_path / "other"))
    assert ship(keeper, fat)["encoding"] == "delta"
    assert keeper("drill").status == 0


def test_two_state_folders_in_turn_never_leave_a_delta_without_its_base(
    keeper: Keeper,
    fat: Path,
    backup_config: BackupConfig,
    lab: S3,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Each has a base of its own, and prunes as it likes."""
    backup_config(fat, to=lab.to, store="delta", keep_last=1, keep_daily=0, keep_weekly=0)
    for turn in range(8):
        monkeypatch.setenv("KEEPER_STATE", str(tmp_path / f"state{turn % 3 % 2}"))
        ship(keeper, fat)
        assert all(one["is_whole"] for one in keeper("snapshots", "--json").json["snapshots"])
    assert keeper("drill").status == 0


def test_python_without_zstd_is_told_of_the_extra(
    keeper: Keeper, fat: Path, tmp_path: Path
) -> None:
    """A configuration error, before anything is read."""
    if sys.version_info >= (3, 14):
        pytest.skip("this Python has zstd itself")
    (tmp_path / "bare/backports").mkdir(parents=True)
    (tmp_path / "bare/backports/__init__.py").touch()
    path = os.pathsep.join((str(tmp_path / "bare"), str(REPOSITORY)))
    run = keeper("backup", env={"PYTHONPATH": path})
    findings = keeper("doctor", "--json", env={"PYTHONPATH": path}).json["findings"]
    assert [one["level"] for one in findings if one["check"] == "store"] == ["fail"]
    assert run.status == 2
    assert "pip install backports.zstd" in run.err


def test_delta_whose_base_has_gone_meanwhile_is_not_there(tmp_path: Path) -> None:
    """The listing, by which it was made, is as old as the run."""
    to = tmp_path / "to"
    base, key = "app/app-20261128T030000Z-k3f9q.sqlite3.zst", "app/app-20261129T030000Z-b2c3d"
    key += "-k3f9q.delta.zst"
    (to / "app").mkdir(parents=True)
    (to / base).write_bytes(b"base!")
    (to / key).write_bytes(b"delta")
    sha256 = hashlib.sha256(b"delta").hexdigest()
    sent = StoredSnapshot("app", key, 5, sha256, {"base": base, "base_bytes": 5})
    uploader = Uploader(Rclone("rclone"), tmp_path, Destination(str(to), {}))
    assert uploader.read_back([sent]) == {}
    (to / base).unlink()
    assert "was deleted meanwhile" in uploader.read_back([sent])["app"]
