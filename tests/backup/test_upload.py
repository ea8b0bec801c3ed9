"""Shipping a batch, and believing only what the destination then holds."""

import hashlib
import json
import stat
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sqlitekeeper.backup.model import SNAPSHOTS, Parcel, Upload
from sqlitekeeper.backup.upload import Shipper
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.program import find_rclone
from tests.conftest import S3, WrapRclone

CONFIRMED_AT = "2026-11-23T03:00:05+00:00"
KEY = "app/app-20261123T030000Z.sqlite3"
CONTENT = b"a snapshot as far as rclone knows"
# In a shell script that stands for rclone: is this the upload of a snapshot, of metadata?
OF_SNAPSHOTS = 'case "$from" in */snapshots/*)'
OF_METADATA = 'case "$from" in */keeper-metadata-*)'


@pytest.fixture
def folder(staging: Path) -> Path:
    """A run's private folder."""
    (staging / SNAPSHOTS).mkdir()
    return staging


@pytest.fixture
def to(tmp_path: Path) -> Path:
    """A local destination that is not there yet."""
    return tmp_path / "to"


def parcel(folder: Path, name: str = "app", *, upload: bool = True) -> Parcel:
    key = f"{name}/{name}-20261123T030000Z.sqlite3"
    if upload:
        file = folder / SNAPSHOTS / key
        file.parent.mkdir(parents=True)
        file.write_bytes(CONTENT)
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    manifest: dict[str, Any] = {"database": name, "snapshot": {"object": key, "sha256": sha256}}
    return Parcel(name, key, len(CONTENT), manifest, upload)


def ship(folder: Path, to: object, *parcels: Parcel) -> dict[str, str]:
    """All steps, as a run takes them."""
    shipper, destination = (
        Shipper(Rclone(partial(find_rclone, None)), folder),
        Destination(str(to), None),
    )
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    uploads = [Upload(p.database, p.object, p.bytes, sha256) for p in parcels if p.upload]
    errors = shipper.upload(destination, uploads)
    errors |= shipper.confirm(destination, [u for u in uploads if u.database not in errors])
    arrived = [p for p in parcels if p.database not in errors]
    return errors | shipper.announce(destination, [(p, CONFIRMED_AT) for p in arrived])


def names(to: Path) -> list[str]:
    return sorted(str(path.relative_to(to)) for path in to.rglob("*") if path.is_file())


def test_snapshot_manifest_and_latest_arrive(folder: Path, to: Path, any_rclone: Path) -> None:
    """Three objects in the folder of the database, and no complaint."""
    errors = ship(folder, to, parcel(folder))

    assert errors == {}
    assert names(to) == [
        "app/app-20261123T030000Z.json",
        "app/app-20261123T030000Z.sqlite3",
        "app/latest.json",
    ]
    manifest = json.loads((to / "app/app-20261123T030000Z.json").read_text())
    latest = json.loads((to / "app/latest.json").read_text())
    assert (to / "app/app-20261123T030000Z.sqlite3").read_bytes() == CONTENT
    assert latest == manifest | {"confirmed_at": CONFIRMED_AT}


def test_manifest_follows_its_snapshot_and_latest_comes_last(
    folder: Path, s3: S3, any_rclone: Path
) -> None:
    """No manifest without its snapshot, no latest.json without its manifest, at any time."""
    errors = ship(folder, f"{s3.to}/web1", parcel(folder))

    assert errors == {}
    assert s3.created() == [
        "web1/app/app-20261123T030000Z.sqlite3",
        "web1/app/app-20261123T030000Z.json",
        "web1/app/latest.json",
    ]


def test_local_copies_are_private(folder: Path, to: Path, any_rclone: Path) -> None:
    """Files for this user only, in folders for this user only."""
    ship(folder, to, parcel(folder))

    assert {stat.S_IMODE(p.stat().st_mode) for p in to.rglob("*") if p.is_file()} == {0o600}
    assert stat.S_IMODE(to.stat().st_mode) == 0o700
    assert stat.S_IMODE((to / "app").stat().st_mode) == 0o700


def test_unchanged_parcel_only_refreshes_latest(folder: Path, to: Path, any_rclone: Path) -> None:
    """Nothing else is uploaded, and the old object is what latest.json names."""
    assert ship(folder, to, parcel(folder, upload=False)) == {}

    assert names(to) == ["app/latest.json"]
    latest = json.loads((to / "app/latest.json").read_text())
    assert latest["snapshot"]["object"] == "app/app-20261123T030000Z.sqlite3"


def test_batch_of_old_and_new_is_shipped_together(folder: Path, to: Path) -> None:
    """Each parcel of a batch gets what it needs."""
    errors = ship(folder, to, parcel(folder, "new"), parcel(folder, "old", upload=False))

    assert errors == {}
    assert [name.split("/")[0] for name in names(to)] == ["new", "new", "new", "old"]


def test_rclone_that_does_nothing_is_found_out(
    folder: Path, to: Path, wrap_rclone: WrapRclone
) -> None:
    """Exit status 0 is not proof: nothing has arrived."""
    wrap_rclone(copy="exit 0")
    to.mkdir()

    errors = ship(folder, f"disk:{to}", parcel(folder))

    assert errors["app"].startswith(
        "rclone reported no error, but app/app-20261123T030000Z.sqlite3"
    )
    assert names(to) == []


def test_rclone_that_lists_nothing_is_found_out(
    folder: Path, s3: S3, wrap_rclone: WrapRclone
) -> None:
    """A destination that shows nothing holds nothing that can be relied on."""
    wrap_rclone(stat="echo '{\"item\": null}'; exit 0")

    errors = ship(folder, s3.to, parcel(folder))

    assert f"is not at {s3.to}" in errors["app"]
    assert s3.created() == ["app/app-20261123T030000Z.sqlite3"]


def test_local_folder_needs_no_rclone(
    folder: Path, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even one that could be found."""
    monkeypatch.setenv("KEEPER_RCLONE", "/no/such/program")

    assert ship(folder, to, parcel(folder)) == {}

    assert len(names(to)) == 3


def test_truncated_upload_is_found_out(folder: Path, to: Path, wrap_rclone: WrapRclone) -> None:
    """A part of a snapshot gets no manifest and does not stay, and both sizes are told."""
    wrap_rclone(copy=f'"$real"; truncate -s 5 {to}/app/*.sqlite3; exit 0')

    errors = ship(folder, f"disk:{to}", parcel(folder))

    assert errors["app"].endswith(f"has 5 bytes at disk:{to}, not {len(CONTENT)}")
    assert names(to) == []


@pytest.mark.parametrize("change", ["content", "symlink"])
def test_local_copy_is_read_back(folder: Path, to: Path, change: str) -> None:
    """One of the right size with another content is found out, and so is a symlink.

    That may lead to the staging folder, or to another disk that comes and goes.
    """
    shipper, destination = Shipper(Rclone("no rclone"), folder), Destination(str(to), None)
    one = parcel(folder)
    upload = Upload("app", one.object, one.bytes, hashlib.sha256(CONTENT).hexdigest())
    assert shipper.upload(destination, [upload]) == {}
    copy = to / KEY
    copy.rename(to / "x")
    if change == "symlink":
        copy.symlink_to(to / "x")
    else:
        copy.write_bytes(b"x" * len(CONTENT))

    errors = shipper.confirm(destination, [upload])

    assert ("another content" if change == "content" else f"is not at {to}") in errors["app"]


def test_snapshot_without_a_manifest_is_not_reported_as_shipped(
    folder: Path, to: Path, wrap_rclone: WrapRclone
) -> None:
    """An rclone that uploads snapshots but no metadata is found out."""
    wrap_rclone(copy=f"{OF_METADATA} exit 0;; esac")

    errors = ship(folder, f"disk:{to}", parcel(folder))

    assert "rclone reported no error, but" in errors["app"]
    assert names(to) == ["app/app-20261123T030000Z.sqlite3"]


def test_stale_latest_is_found_out(folder: Path, to: Path, wrap_rclone: WrapRclone) -> None:
    """A latest.json that was not refreshed has the right size, but another hash."""
    ship(folder, to, parcel(folder))
    wrap_rclone(copy="exit 0")

    errors = Shipper(Rclone(find_rclone(None)), folder).announce(
        Destination(f"disk:{to}", {}),
        [(parcel(folder, upload=False), CONFIRMED_AT.replace("5", "6"))],
    )

    assert "is an older one" in errors["app"]


def test_part_that_cannot_be_deleted_is_told(
    folder: Path, to: Path, wrap_rclone: WrapRclone
) -> None:
    """It would lie there without a word."""
    wrap_rclone(
        copy=f'"$real"; truncate -s 5 {to}/app/*.sqlite3; exit 0',
        delete="echo not yours >&2; exit 7",
    )

    errors = ship(folder, f"disk:{to}", parcel(folder))

    assert "has 5 bytes" in errors["app"]
    assert "not yours" in errors["app"]


def test_manifest_that_is_not_whole_keeps_latest_back(
    folder: Path, to: Path, wrap_rclone: WrapRclone
) -> None:
    """Also when rclone has not noticed; the part of it does not stay."""
    wrap_rclone(copy=f'"$real"; {OF_METADATA} truncate -s 5 {to}/app/*Z.json;; esac; exit 0')

    errors = ship(folder, f"disk:{to}", parcel(folder))

    assert "is not whole at" in errors["app"]
    assert names(to) == ["app/app-20261123T030000Z.sqlite3"]


def test_failed_upload_gets_no_manifest(folder: Path, to: Path, wrap_rclone: WrapRclone) -> None:
    """rclone's last words are the reason, and nothing there claims to be a snapshot."""
    wrap_rclone(copy=f"{OF_SNAPSHOTS} echo out of paper >&2; exit 7;; esac")

    errors = ship(folder, f"disk:{to}", parcel(folder))

    assert errors == {"app": f"rclone copy failed at disk:{to}: {KEY}: out of paper"}
    assert not to.exists() or names(to) == []


def test_rclone_that_dies_in_the_middle_leaves_nothing_that_lies(
    folder: Path, to: Path, wrap_rclone: WrapRclone
) -> None:
    """No manifest says that a part of a snapshot is one."""
    wrap_rclone(
        copy=f"{OF_SNAPSHOTS} mkdir -p {to}/app; echo part > {to}/app/app-20261123T030000Z.sqlite3;"
        " kill -9 $rcd;; esac"
    )

    errors = ship(folder, f"disk:{to}", parcel(folder))

    assert "killed by SIGKILL" in errors["app"]
    assert not list(to.rglob("*.json"))


def test_failed_manifest_keeps_latest_back(folder: Path, to: Path, wrap_rclone: WrapRclone) -> None:
    """latest.json never names a snapshot whose manifest did not arrive."""
    wrap_rclone(copy='case "$to" in *Z.json) echo out of paper >&2; exit 7;; esac')

    errors = ship(folder, f"disk:{to}", parcel(folder))

    assert "out of paper" in errors["app"]
    assert names(to) == ["app/app-20261123T030000Z.sqlite3"]


def test_one_database_that_cannot_be_shipped_does_not_stop_the_others(
    folder: Path, to: Path, any_rclone: Path
) -> None:
    """A folder is in the way of one snapshot; the other one is whole."""
    (to / "bad/bad-20261123T030000Z.sqlite3/x").mkdir(parents=True)

    errors = ship(folder, to, parcel(folder, "bad"), parcel(folder, "good"))

    assert errors.keys() == {"bad"}
    assert [name for name in names(to) if name.startswith("good")] == [
        "good/good-20261123T030000Z.json",
        "good/good-20261123T030000Z.sqlite3",
        "good/latest.json",
    ]
    assert not [name for name in names(to) if name.endswith("json") and "bad" in name]


def test_progress_is_told_in_bytes(folder: Path, to: Path) -> None:
    """The last that is heard is the whole upload."""
    heard: list[int] = []
    shipper = Shipper(Rclone(find_rclone(None)), folder)

    parcel(folder)

    shipper.upload(Destination(str(to), None), [Upload("app", KEY, len(CONTENT), "")], heard.append)

    assert heard[-1] == len(CONTENT)
