"""Mounts, network file systems and free room."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from sqlitekeeper.errors import NoRoomError
from sqlitekeeper.wording import size

# File systems that more than one host can have mounted, or a host and its virtual machine;
# the WAL index is shared memory and works on one host only (https://sqlite.org/wal.html).
NETWORK_FILESYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "afs", "ceph", "lustre"}
    | {"glusterfs", "fuse.glusterfs", "fuse.sshfs", "fuse.rclone", "fuse.s3fs", "gpfs"}
    | {"gfs2", "ocfs2", "beegfs", "fuse.ceph-fuse", "fuse.juicefs", "fuse.gcsfuse", "davfs"}
    | {"vboxsf", "prl_fs", "vmhgfs", "fuse.vmhgfs-fuse", "fuse.grpcfuse", "fuse.osxfs"}
    | {"fakeowner"}  # of Docker Desktop
)
_known_devices: dict[int, str | None] = {}


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write below `folder`."""
    facts = os.statvfs(folder)
    available = facts.f_bfree if os.geteuid() == 0 else facts.f_bavail
    return available * facts.f_frsize


def require_room(
    what: str, need: int, folder: Path, *, shown: Path | None = None, hint: str | None = None
) -> None:
    """Refuse work that needs more bytes than a folder has, which a person knows as `shown`.

    Raises:
        NoRoomError: how much it needs, and how much there is.
    """
    free = free_bytes(folder)
    if need > free:
        message = f"{what} needs {size(need)} in {shown or folder}, which has {size(free)}"
        raise NoRoomError(message, hint=hint)


def filesystem(path: Path) -> str | None:
    """The name of the file system that holds `path`, such as ext4; None where that is not known.

    Asked once for each device: with a thousand databases that is most of the work.
    """
    try:
        device = path.stat().st_dev
    except OSError:
        return _filesystem(path)
    if device not in _known_devices:
        _known_devices[device] = _filesystem(path)
    return _known_devices[device]


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of Linux' mountinfo."""

    point: str
    filesystem: str


def parse_mountinfo(text: str) -> list[Mount]:
    """Read the text of /proc/self/mountinfo; the format is in proc(5)."""
    mounts = []
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if separator and len(fields) > 4:
            mounts.append(Mount(_unescaped(fields[4]), after.split(" ")[0]))
    return mounts


def mounts_now() -> list[Mount]:
    """What is mounted, as this process sees it; nothing where there is no /proc."""
    try:
        text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return []
    return parse_mountinfo(text)


def _unescaped(point: str) -> str:
    """A mount point as a path: the kernel writes blanks and backslashes as octal bytes."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point)


def mount_of(path: str, mounts: list[Mount]) -> Mount | None:
    """The mount that an absolute path lies on; a later mount hides an earlier one."""
    best = None
    for mount in mounts:
        prefix = mount.point.rstrip("/") + "/"
        if (path + "/").startswith(prefix) and (
            best is None or len(mount.point) >= len(best.point)
        ):
            best = mount
    return best


def network_filesystem(path: Path) -> str | None:
    """The name of the network file system that holds `path`; None on local disks."""
    found = filesystem(path)
    return found if found in NETWORK_FILESYSTEMS else None


def _filesystem(path: Path) -> str | None:
    mount = mount_of(os.path.realpath(path), mounts_now())
    return mount.filesystem if mount else None
