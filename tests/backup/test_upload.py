"""Shipping a batch, and believing only what the destination then holds."""

import hashlib
import json
import stat
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from sqlitekeeper.backup.model import CheckedSnapshot, StagedSnapshot
from sqlitekeeper.backup.publish import publish
from sqlitekeeper.backup.result import Seconds
from sqlitekeeper.backup.snapshot import SNAPSHOTS
from sqlitekeeper.backup.upload import Uploader
from sqlitekeeper.destination.destination import Destination
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.program import find_rclone
from sqlitekeeper.state.history import Shipment
from tests.conftest import S3, WrapRclone
from tests.manifests import manifest_of

TAKEN_AT = datetime(2026, 11, 23, 3, tzinfo=UTC)
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


def snapshot(
    folder: Path, to: object, name: str = "app", *, is_new: bool = True
) -> CheckedSnapshot:
    """A snapshot that is sound, as far as anybody has looked; the destination holds an old one."""
    key = f"{name}/{name}-20261123T030000Z.sqlite3"
    if is_new:
        file = folder / SNAPSHOTS / key
        file.parent.mkdir(parents=True)
        file.write_bytes(CONTENT)
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    facts = {"object": key, "bytes": len(CONTENT), "sha256": sha256}
    manifest = manifest_of(database=name, snapshot=facts)
    held = {str(to): None if is_new else Shipment(str(to), name, key, manifest)}
    staged = StagedSnapshot(
        name, Path(f"/{name}"), TAKEN_AT, key, sha256, len(CONTENT), held, None, 0.0, None
    )
    return CheckedSnapshot(staged, {str(to): manifest}, Seconds())


def ship(folder: Path, *snapshots: CheckedSnapshot) -> dict[str, str]:
    """All steps, as a run takes them."""
    (to,) = snapshots[0].manifests
    destination = Destination(to, None)
    uploader = Uploader(Rclone(partial(find_rclone, None)), folder, destination)
    sent = [one.staged.plain for one in snapshots if not one.staged.held[to]]
    confirmed_at = datetime.fromisoformat(CONFIRMED_AT)
    errors = uploader.upload(sent)
    errors |= uploader.read_back([one for one in sent if one.name not in errors])
    arrived = [one for one in snapshots if one.staged.name not in errors]
    return errors | publish(uploader.rclone, folder, destination, arrived, confirmed_at)


def names(to: Path) -> list[str]:
    return sorted(str(path.relative_to(to)) for path in to.rglob("*") if path.is_file())


def test_snapshot_manifest_and_latest_arrive(folder: Path, to: Path, any_rclone: Path) -> None:
    """Three objects in the folder of the database, and no complaint."""
    errors = ship(folder, snapshot(folder, to))

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
    errors = ship(folder, snapshot(folder, f"{s3.to}/web1"))

    assert errors == {}
    assert s3.created() == [
        "web1/app/app-20261123T030000Z.sqlite3",
        "web1/app/app-20261123T030000Z.json",
        "web1/app/latest.json",
    ]


def test_local_copies_are_private(folder: Path, to: Path, any_rclone: Path) -> None:
    """Files for this user only, in folders for this user only."""
    ship(folder, snapshot(folder, to))

    assert {stat.S_IMODE(p.stat().st_mode) for p in to.rglob("*") if p.is_file()} == {0o600}
    assert stat.S_IMODE(to.stat().st_mode) == 0o700
    assert stat.S_IMODE((to / "app").stat().st_mode) == 0o700


def test_unchanged_snapshot_only_refreshes_latest(folder: Path, to: Path, any_rclone: Path) -> None:
    """Nothing else is uploaded, and the old object is what latest.json names."""
    assert ship(folder, snapshot(folder, to, is_new=False)) == {}

    assert names(to) == ["app/latest.json"]
    latest = json.loads((to / "app/latest.json").read_text())
    assert latest["snapshot"]["object"] == "app/app-20261123T030000Z.sqlite3"


def test_batch_of_old_and_new_is_shipped_together(folder: Path, to: Path) -> None:
    """Each snapshot of a batch gets what it needs."""
    errors = ship(folder, snapshot(folder, to, "new"), snapshot(folder, to, "old", is_new=False))

    assert errors == {}
    assert [name.split("/")[0] for name in names(to)] == ["new", "new", "new", "old"]


def test_rclone_that_does_nothing_is_found_out(
    folder: Path, to: Path, wrap_rclone: WrapRclone
) -> None:
    """Exit status 0 is not proof: nothing has arrived."""
    wrap_rclone(copy="exit 0")
    to.mkdir()

    errors = ship(folder, snapshot(folder, f"disk:{to}"))

    assert errors["app"].startswith(
        "rclone reported no error, but app/app-20261123T030000Z.sqlite3"
    )
    assert names(to) == []


def test_rclone_that_lists_nothing_is_found_out(
    folder: Path, s3: S3, wrap_rclone: WrapRclone
) -> None:
    """A destination that shows nothing holds nothing that can be relied on."""
    wrap_rclone(stat="echo '{\"item\": null}'; exit 0")

    errors = ship(folder, snapshot(folder, s3.to))

    assert f"is not at {s3.to}" in errors["app"]
    assert s3.created() == ["app/app-20261123T030000Z.sqlite3"]


def test_local_folder_needs_no_rclone(
    folder: Path, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even one that could be found."""
    monkeypatch.setenv("KEEPER_RCLONE", "/no/such/program")

    assert ship(folder, snapshot(folder, to)) == {}

    assert len(names(to)) == 3


def test_truncated_upload_is_found_out(folder: Path, to: Path, wrap_rclone: WrapRclone) -> None:
    """A part of a snapshot gets no manifest and does not stay, and both sizes are told."""
    wrap_rclone(copy=f'"$real"; truncate -s 5 {to}/app/*.sqlite3; exit 0')

    errors = ship(folder, snapshot(folder, f"disk:{to}"))

    assert errors["app"].endswith(f"has 5 bytes at disk:{to}, not {len(CONTENT)}")
    assert names(to) == []


@pytest.mark.parametrize("change", ["content", "symlink"])
def test_local_copy_is_read_back(folder: Path, to: Path, change: str) -> None:
    """One of the right size with another content is found out, and so is a symlink.

    That may lead to the staging folder, or to another disk that comes and goes.
    """
    uploader = Uploader(Rclone("no rclone"), folder, Destination(str(to), None))
    staged = snapshot(folder, to).staged.plain
    assert uploader.upload([staged]) == {}
    copy = to / KEY
    copy.rename(to / "x")
    if change == "symlink":
        copy.symlink_to(to / "x")
    else:
        copy.write_bytes(b"x" * len(CONTENT))

    errors = uploader.read_back([staged])

    assert ("another content" if change == "content" else f"is not at {to}") in errors["app"]


def test_snapshot_without_a_manifest_is_not_reported_as_shipped(
    folder: Path, to: Path, wrap_rclone: WrapRclone
) -> None:
    """An rclone that uploads snapshots but no metadata is found out."""
    wrap_rclone(copy=f"{OF_METADATA} exit 0;; esac")

    errors = ship(folder, snapshot(folder, f"disk:{to}"))

    assert "rclone reported no error, but" in errors["app"]
    assert names(to) == ["app/app-20261123T030000Z.sqlite3"]


def test_stale_latest_is_found_out(folder: Path, to: Path, wrap_rclone: WrapRclone) -> None:
    """A latest.json that was not refreshed has the right size, but another hash."""
    ship(folder, snapshot(folder, to))
    wrap_rclone(copy="exit 0")

    errors = publish(
        Rclone(find_rclone(None)),
        folder,
        Destination(f"disk:{to}", {}),
        [snapshot(folder, f"disk:{to}", is_new=False)],
        datetime.fromisoformat(CONFIRMED_AT.replace("5", "6")),
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

    errors = ship(folder, snapshot(folder, f"disk:{to}"))

    assert "has 5 bytes" in errors["app"]
    assert "not yours" in errors["app"]


def test_manifest_that_is_not_whole_keeps_latest_back(
    folder: Path, to: Path, wrap_rclone: WrapRclone
) -> None:
    """Also when rclone has not noticed; the part of it does not stay."""
    wrap_rclone(copy=f'"$real"; {OF_METADATA} truncate -s 5 {to}/app/*Z.json;; esac; exit 0')

    errors = ship(folder, snapshot(folder, f"disk:{to}"))

    assert "is not whole at" in errors["app"]
    assert names(to) == ["app/app-20261123T030000Z.sqlite3"]


def test_failed_upload_gets_no_manifest(folder: Path, to: Path, wrap_rclone: WrapRclone) -> None:
    """rclone's last words are the reason, and nothing there claims to be a snapshot."""
    wrap_rclone(copy=f"{OF_SNAPSHOTS} echo out of paper >&2; exit 7;; esac")

    errors = ship(folder, snapshot(folder, f"disk:{to}"))

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

    errors = ship(folder, snapshot(folder, f"disk:{to}"))

    assert "killed by SIGKILL" in errors["app"]
    assert not list(to.rglob("*.json"))


def test_failed_manifest_keeps_latest_back(folder: Path, to: Path, wrap_rclone: WrapRclone) -> None:
    """latest.json never names a snapshot whose manifest did not arrive."""
    wrap_rclone(copy='case "$to" in *Z.json) echo out of paper >&2; exit 7;; esac')

    errors = ship(folder, snapshot(folder, f"disk:{to}"))

    assert "out of paper" in errors["app"]
    assert names(to) == ["app/app-20261123T030000Z.sqlite3"]


def test_one_database_that_cannot_be_shipped_does_not_stop_the_others(
    folder: Path, to: Path, any_rclone: Path
) -> None:
    """A folder is in the way of one snapshot; the other one is whole."""
    (to / "bad/bad-20261123T030000Z.sqlite3/x").mkdir(parents=True)

    errors = ship(folder, snapshot(folder, to, "bad"), snapshot(folder, to, "good"))

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
    uploader = Uploader(Rclone(find_rclone(None)), folder, Destination(str(to), None))

    uploader.upload([snapshot(folder, to).staged.plain], heard.append)

    assert heard[-1] == len(CONTENT)
