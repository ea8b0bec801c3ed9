"""What the file system tells of a database, without opening it."""

import os
import socket
from pathlib import Path

import pytest

from sqlitekeeper.database.files import (
    read_only_reason,
    sidecar,
    size_of,
    stat_database,
)
from sqlitekeeper.errors import KeeperError
from sqlitekeeper.filesystem.disks import Mount, mount_of, parse_mountinfo
from tests.conftest import MakeDatabase

MOUNTINFO = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
40 22 0:35 / /srv/my\\040data rw,nosuid - nfs4 host:/x rw,vers=4.2
41 22 0:36 / /srv/zürich rw - virtiofs share rw
42 22 0:37 / /srv/disk rw - 9p share rw
43 42 0:38 / /srv/disk rw - ext4 /dev/sdb rw
"""


@pytest.mark.parametrize(
    ("path", "filesystem"),
    [
        ("/etc/app.db", "ext4"),
        ("/srv/my data/app.db", "nfs4"),
        ("/srv/zürich/app.db", "virtiofs"),
        ("/srv/zürich-2/app.db", "ext4"),
    ],
)
def test_longest_mount_point_holds_the_path(path: str, filesystem: str) -> None:
    """A path lies on the mount with the longest point, whatever characters that is written in."""
    mount = mount_of(path, parse_mountinfo(MOUNTINFO))

    assert mount is not None
    assert mount.filesystem == filesystem


def test_later_mount_hides_the_earlier_one() -> None:
    """Of two mounts at one point the later one counts."""
    assert mount_of("/srv/disk/app.db", parse_mountinfo(MOUNTINFO)) == Mount("/srv/disk", "ext4")


def test_torn_mountinfo_is_survived() -> None:
    """Lines without the separator are passed over."""
    assert parse_mountinfo("22 1 254:0 / / rw\n\nnonsense - ext4\n") == []


def test_sidecar_lies_beside_the_target_of_a_symlink(tmp_path: Path) -> None:
    """SQLite follows the link first, and then adds -wal."""
    (tmp_path / "link.db").symlink_to(tmp_path / "real.db")

    assert sidecar(tmp_path / "link.db", "-wal") == Path(os.path.realpath(tmp_path)) / "real.db-wal"


def test_absent_file_has_no_size(tmp_path: Path) -> None:
    """A missing -wal counts as 0 bytes."""
    assert size_of(tmp_path / "none-wal") == 0


def test_folder_is_no_database(tmp_path: Path) -> None:
    """A folder is called a folder."""
    with pytest.raises(KeeperError, match="is a folder, not a database file"):
        stat_database(tmp_path)


def test_named_pipe_is_no_database(tmp_path: Path) -> None:
    """A named pipe is not opened, which would hang."""
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(KeeperError, match="is a named pipe"):
        stat_database(tmp_path / "pipe")


def test_socket_is_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket is called a socket."""
    monkeypatch.chdir(tmp_path)  # a socket's whole path may not be long
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")

        with pytest.raises(KeeperError, match="is a socket"):
            stat_database(tmp_path / "socket")


def test_device_is_no_database() -> None:
    """A device is called a device."""
    with pytest.raises(KeeperError, match="is a device"):
        stat_database(Path("/dev/null"))


def test_dangling_symlink_is_no_file(tmp_path: Path) -> None:
    """A symlink to nothing is no file."""
    (tmp_path / "link").symlink_to("nowhere")

    with pytest.raises(KeeperError, match="no such file"):
        stat_database(tmp_path / "link")


def test_loop_of_symlinks_ends(tmp_path: Path) -> None:
    """Symlinks that lead to each other are an error, not a hang."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")

    with pytest.raises(KeeperError, match="symbolic links"):
        stat_database(tmp_path / "a")


def test_writable_file_is_not_read_only(make_database: MakeDatabase) -> None:
    """An ordinary database may be written."""
    assert read_only_reason(make_database(rows=1)) is None
