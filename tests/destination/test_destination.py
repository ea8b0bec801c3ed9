"""What a destination's listing says about the last shipment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sqlitekeeper.backup.unchanged import is_held, is_lost
from sqlitekeeper.database.check import CheckKind
from sqlitekeeper.destination.catalog import newest_snapshots
from sqlitekeeper.destination.destination import Destination, list_destination
from sqlitekeeper.destination.layout import manifest_object
from sqlitekeeper.filesystem.flush import sync_to_disk
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.listing import RemoteObject
from sqlitekeeper.rclone.program import find_rclone
from sqlitekeeper.state.history import Shipment
from tests.conftest import NOBODY, REPOSITORY, as_ordinary_user
from tests.manifests import SHA256, SNAPSHOT, manifest_of

MANIFEST = manifest_object(SNAPSHOT)


def shipment(kind: str = "integrity") -> Shipment:
    checks = {"kind": kind, "foreign_key_violations": 0}
    return Shipment("lab:x", "app", SNAPSHOT, manifest_of(checks=checks))


def listed(*objects: RemoteObject) -> Destination:
    return Destination("lab:x", {one.path: one for one in objects})


def listed_whole(kind: str = "integrity") -> Destination:
    manifest = RemoteObject(MANIFEST, len(shipment(kind).manifest.to_json()))
    return listed(RemoteObject(SNAPSHOT, 100), manifest)


WHOLE = listed_whole()
PAPER = WHOLE.listing[MANIFEST] if WHOLE.listing else RemoteObject(MANIFEST, 0)
BROKEN = {
    "no snapshot": listed(PAPER),
    "no manifest": listed(RemoteObject(SNAPSHOT, 100)),
    "another size": listed(RemoteObject(SNAPSHOT, 99), PAPER),
    "manifest of another size": listed(RemoteObject(SNAPSHOT, 100), RemoteObject(MANIFEST, 0)),
    "nothing": listed(),
    "not made yet": Destination("lab:x", None),
}


def test_whole_shipment_is_held() -> None:
    """Snapshot of the right size and manifest are there, and the content is the same."""
    assert is_held(shipment(), WHOLE, SHA256, "integrity")
    assert not is_lost(shipment(), WHOLE)


def test_check_that_nobody_knows_proves_nothing() -> None:
    """Whoever else ships there may write what they like into a manifest."""
    assert not is_held(shipment("sworn"), listed_whole("sworn"), SHA256, "none")


@pytest.mark.parametrize("destination", BROKEN.values(), ids=BROKEN)
def test_shipment_that_is_not_whole_is_lost(destination: Destination) -> None:
    """Whatever is missing of it, it does not count as held."""
    assert is_lost(shipment(), destination)
    assert not is_held(shipment(), destination, SHA256, "none")


def test_other_content_is_not_held() -> None:
    """Another sha256 has to be shipped."""
    assert not is_held(shipment(), WHOLE, "cd" * 32, "none")


def test_what_was_never_shipped_is_neither_held_nor_lost() -> None:
    """Without memory of a shipment there is nothing to miss."""
    assert not is_held(None, WHOLE, SHA256, "none")
    assert not is_lost(None, WHOLE)


@pytest.mark.parametrize(
    ("was", "asked", "held"),
    [
        ("none", "none", True),
        ("none", "quick", False),
        ("none", "integrity", False),
        ("quick", "none", True),
        ("quick", "quick", True),
        ("quick", "integrity", False),
        ("integrity", "none", True),
        ("integrity", "quick", True),
        ("integrity", "integrity", True),
    ],
)
def test_shipment_counts_only_when_checked_as_well_as_asked(
    was: CheckKind, asked: CheckKind, held: bool
) -> None:
    """A stricter check than before means checking and shipping again."""
    assert is_held(shipment(was), listed_whole(was), SHA256, asked) is held


@pytest.mark.parametrize(
    ("to", "local"), [("/srv/backups", True), ("backups", True), ("lab:bucket/x", False)]
)
def test_local_folder_is_told_from_a_remote(to: str, local: bool) -> None:
    """What has no colon before its first slash is a folder of this host."""
    assert Destination(to, None).is_local is local


def test_listing_tells_sizes_by_path(tmp_path: Path, any_rclone: Path) -> None:
    """What lies below the destination, however deep."""
    (tmp_path / "to" / "app").mkdir(parents=True)
    (tmp_path / "to" / "app" / "latest.json").write_bytes(b"12345")

    found = list_destination(Rclone(find_rclone(None)), str(tmp_path / "to"))

    assert found.listing == {"app/latest.json": RemoteObject("app/latest.json", 5)}
    assert found.error is None


def test_destination_that_is_not_there_yet_is_no_error(tmp_path: Path, any_rclone: Path) -> None:
    """The first run makes it."""
    found = list_destination(Rclone(find_rclone(None)), str(tmp_path / "nowhere"))

    assert (found.listing, found.error) == (None, None)


def test_destination_that_cannot_be_listed_keeps_its_error(any_rclone: Path) -> None:
    """An unknown remote is an error, and not an empty destination."""
    found = list_destination(Rclone(find_rclone(None)), "unknown:bucket")

    assert found.listing is None
    assert "unknown" in str(found.error)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_files_and_the_folders_that_name_them_are_flushed(tmp_path: Path) -> None:
    """fsync reaches the files, their folder, the destination and what names it."""
    (tmp_path / "to" / "app").mkdir(parents=True)
    (tmp_path / "to" / "app" / "x").touch()
    code = (
        "from sqlitekeeper.filesystem.flush import sync_to_disk; from pathlib import Path;"
        f"sync_to_disk(Path({str(tmp_path / 'to')!r}), ['app/x'])"
    )

    done = subprocess.run(
        ["strace", "-f", "-y", "-e", "trace=fsync", sys.executable, "-c", code],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")

    flushed = [line.partition("<")[2].partition(">")[0] for line in done.stderr.splitlines()]
    expected = [tmp_path / "to/app/x", tmp_path / "to", tmp_path / "to/app", tmp_path]
    assert [Path(one) for one in flushed if one.startswith(str(tmp_path))] == expected


def test_folder_above_that_may_not_be_read_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A destination whose parent this user cannot open is flushed as far as possible."""
    # Relative, so that an ordinary user need not reach pytest's own private folder.
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    (tmp_path / "parent/to/app").mkdir(parents=True)
    (tmp_path / "parent/to/app/x").touch()
    (tmp_path / "parent").chmod(0o711 if os.geteuid() == 0 else 0o311)
    for path in ("parent/to", "parent/to/app", "parent/to/app/x"):
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)

    with as_ordinary_user():
        assert not os.access("parent", os.R_OK, effective_ids=True)
        sync_to_disk(Path("parent/to"), ["app/x"])
    (tmp_path / "parent").chmod(0o700)


def test_newest_snapshot_is_found_with_a_token_or_without() -> None:
    """By time, then by name; neither manifests nor parts are any."""
    older, newest = "app/app-20261122T030000Z.sqlite3", "app/app-20261123T030000Z-k3f9q.sqlite3"
    others = ["app/app-20261124T030000Z-k3f9q.json", f"{newest}.0123abcd.partial", "b/b-2.sqlite3"]

    found = newest_snapshots([newest, older, *others])

    assert {name: one.snapshot for name, one in found.items()} == {"app": newest}
    later = newest.replace("k3f9q", "z9z9z")
    assert newest_snapshots([later, newest])["app"].snapshot == later
