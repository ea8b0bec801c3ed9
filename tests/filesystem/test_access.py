"""Who may open a file, and that nobody else may once another file has taken its place."""

import os
import shutil
import stat
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlitekeeper.database.replace.replace import copy_ownership, place
from sqlitekeeper.database.replace.undo import undo
from sqlitekeeper.destination.manifest import _acl
from sqlitekeeper.errors import KeeperError
from sqlitekeeper.events import Event, Level, Note
from sqlitekeeper.filesystem.access import ACL, Access, access_of, access_of_new, give_access
from tests.conftest import Keeper, MakeDatabase, Mount, needs_root
from tests.database.replace.test_replace import crash_with_wal

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
APP, MEMBER, STRANGER, GROUP = 3001, 3002, 3003, 3200
FOR_THE_APP = f"u:{APP}:rw,g::---,m::rw,o::---"

pytestmark = [
    needs_root,
    pytest.mark.skipif(shutil.which("setfacl") is None, reason="setfacl is missing"),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everyone may look into, with a database folder's life in it."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def work_folder(folder: Path) -> Path:
    """keeper's folder, which is open here, so that what is in it shows."""
    path = folder / "workshop"
    path.mkdir()
    return path


def acl(path: Path, text: str, *options: str) -> None:
    """Set an ACL with the program that administrators use."""
    subprocess.run(["setfacl", *options, "-m", text, path], check=True)


def may_read(path: Path, uid: int, gid: int) -> bool:
    """Whether a user can read a file, as the kernel has it."""
    command = ["cat", str(path)]
    done = subprocess.run(command, user=uid, group=gid, extra_groups=[], capture_output=True)
    return done.returncode == 0


def readers(path: Path) -> set[str]:
    """Who of those that the tests are about can read a file."""
    users = {"app": (APP, APP), "member": (MEMBER, GROUP), "stranger": (STRANGER, STRANGER)}
    return {name for name, ids in users.items() if may_read(path, *ids)}


def of_the_app(folder: Path, make_database: MakeDatabase) -> Path:
    """A database that its application reaches by an ACL, and nobody else but root."""
    path = folder / "app.sqlite3"
    shutil.move(make_database(rows=5), path)
    os.chown(path, 0, GROUP)
    path.chmod(0o600)
    acl(path, FOR_THE_APP)
    assert readers(path) == {"app"}
    return path


def new_file(folder: Path, make_database: MakeDatabase, target: Path) -> Path:
    """A database to be put in the place of another, dressed for it."""
    new = folder / "new"
    shutil.copy(make_database("new", rows=9), new)
    copy_ownership(new, target, 0o644, lambda event: None)
    return new


def test_restored_file_lets_in_whom_the_acl_let_in(
    folder: Path, work_folder: Path, make_database: MakeDatabase
) -> None:
    """The mode of a file with an ACL is its mask, and opens it to the group without one."""
    path = of_the_app(folder, make_database)

    place(new_file(folder, make_database, path), path, NOW, work_folder, replace=True)

    assert readers(path) == {"app"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_copy_that_is_set_aside_lets_in_whom_the_acl_let_in(
    folder: Path, work_folder: Path, make_database: MakeDatabase
) -> None:
    """With a WAL it is a copy and no link."""
    path = of_the_app(folder, make_database)
    crash_with_wal(path, 3)

    placed = place(new_file(folder, make_database, path), path, NOW, work_folder, replace=True)

    assert [readers(kept) for kept in placed.set_aside] == [{"app"}] * len(placed.set_aside)
    assert len(placed.set_aside) > 1


def test_undo_brings_the_acl_and_the_labels_back(
    folder: Path, work_folder: Path, make_database: MakeDatabase
) -> None:
    """Whatever somebody has done meanwhile to the file that is in place."""
    path = of_the_app(folder, make_database)
    os.setxattr(path, "security.selinux", b"system_u:object_r:app_t:s0\0")
    os.setxattr(path, "user.note", b"managed")
    before = access_of(path)
    place(new_file(folder, make_database, path), path, NOW, work_folder, replace=True)
    subprocess.run(["setfacl", "-b", path], check=True)
    os.removexattr(path, "user.note")
    os.removexattr(path, "security.selinux")

    undo(path, NOW, work_folder)

    assert access_of(path) == before


def test_labels_and_notes_go_with_the_name(
    folder: Path, work_folder: Path, make_database: MakeDatabase
) -> None:
    """SELinux lets an application open what has its label."""
    path = of_the_app(folder, make_database)
    os.setxattr(path, "security.selinux", b"system_u:object_r:app_t:s0\0")
    os.setxattr(path, "user.note", b"managed")

    place(new_file(folder, make_database, path), path, NOW, work_folder, replace=True)

    assert os.getxattr(path, "security.selinux") == b"system_u:object_r:app_t:s0\0"
    assert os.getxattr(path, "user.note") == b"managed"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660])
def test_default_acl_of_the_folder_opens_no_file_that_was_closed_to_it(
    folder: Path, work_folder: Path, make_database: MakeDatabase, mode: int
) -> None:
    """A file made there inherits its entries, which a chmod would bring to life."""
    path = folder / "app.sqlite3"
    shutil.move(make_database(rows=5), path)
    os.chown(path, 0, GROUP)
    path.chmod(mode)
    before = readers(path)
    crash_with_wal(path, 3)
    for place_of_files in (folder, work_folder):
        acl(place_of_files, f"u:{APP}:rwx,u:{STRANGER}:rwx,o::rwx", "-d")

    placed = place(new_file(folder, make_database, path), path, NOW, work_folder, replace=True)

    assert "app" not in before
    assert [readers(one) for one in (path, *placed.set_aside)] == [before] * 3
    assert ACL not in os.listxattr(path)


@pytest.mark.parametrize("default", ["", f"u:{APP}:rwx", f"u:{APP}:r,o::---", "g::rwx,o::rwx"])
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o660])
def test_where_no_file_is_left_a_new_one_is_as_any_other(
    folder: Path, make_database: MakeDatabase, default: str, mode: int
) -> None:
    """With a mode, and with the default ACL of the folder where it has one."""
    if default:
        acl(folder, default, "-d")
    (folder / "any").touch()
    (folder / "any").unlink()
    previous = os.umask(0)
    os.close(os.open(folder / "any", os.O_CREAT | os.O_WRONLY, mode))
    os.umask(previous)

    new = new_file(folder, make_database, folder / "lost.sqlite3")
    give_access(new, access_of_new(folder, mode), new, lambda event: None)

    assert access_of(new) == access_of(folder / "any")


def test_lost_file_without_its_acl_is_closed_and_that_is_told(
    keeper: Keeper, folder: Path, make_database: MakeDatabase
) -> None:
    """The users of an ACL may be others on a new host: whoever restores decides."""
    path = of_the_app(folder, make_database)
    before = access_of(path)
    assert keeper("backup", path, "--to", folder / "dest").status == 0
    path.unlink()

    done = keeper("restore", "app", "--from", folder / "dest", "--to", path)

    assert done.status == 0
    assert readers(path) == set()
    (warning,) = (line for line in done.err.splitlines() if "had an ACL" in line)
    command = warning.partition("to give it again: ")[2]
    subprocess.run(command, shell=True, check=True)
    assert access_of(path).acl == before.acl


def test_lost_file_gets_its_acl_from_the_folder(
    keeper: Keeper, folder: Path, make_database: MakeDatabase
) -> None:
    """Where a default ACL gave it to the file that is gone, all is as before."""
    path = folder / "app.sqlite3"
    acl(folder, f"u:{APP}:rwx", "-d")
    path.write_bytes(make_database(rows=5).read_bytes())
    path.chmod(0o664)
    before = access_of(path)
    assert keeper("backup", path, "--to", folder / "dest").status == 0
    path.unlink()

    done = keeper("restore", "app", "--from", folder / "dest", "--to", path)

    assert (done.status, "ACL" in done.err) == (0, False)
    assert access_of(path).acl == before.acl


@pytest.mark.parametrize("text", ["u::rw-,$(reboot)", "u::rw-;reboot", ["u::rw-"], "u::rwx\n"])
def test_acl_of_a_manifest_is_no_command(text: object) -> None:
    """It is untrusted, and goes into the command that a person is told."""
    with pytest.raises((TypeError, ValueError)):
        _acl(text)


@pytest.fixture
def bare(mount: Mount) -> Iterator[Path]:
    """A file system without ACLs and attributes."""
    ramfs = mount("ramfs", "1m")
    if subprocess.run(["mount", "-t", "ramfs", "none", ramfs]).returncode:
        pytest.skip("ramfs cannot be mounted here")
    yield ramfs
    subprocess.run(["umount", ramfs], check=True)


def test_what_has_no_acl_is_closed_instead(
    folder: Path, bare: Path, make_database: MakeDatabase
) -> None:
    """The mask must not become the group's mode; the command that mends it is named."""
    path = of_the_app(folder, make_database)
    (new := bare / "new").touch()
    said: list[Event] = []

    give_access(new, access_of(path), path, said.append)

    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    (note,) = said
    assert isinstance(note, Note)
    assert note.level == Level.WARNING
    assert note.text.startswith(f"{path}: its ACL could not be kept")
    before = access_of(path)
    subprocess.run(["setfacl", "-b", path], check=True)
    subprocess.run(note.text.partition("to mend it: ")[2], shell=True, check=True)
    assert access_of(path) == before


def test_label_that_cannot_be_kept_is_a_warning(bare: Path, folder: Path) -> None:
    """And what somebody has noted about the file is none."""
    (path := folder / "old").touch()
    os.setxattr(path, "security.selinux", b"app_t\0")
    os.setxattr(path, "user.note", b"managed")
    (new := bare / "new").touch()
    said: list[Event] = []

    give_access(new, access_of(path), path, said.append)

    (note,) = said
    assert isinstance(note, Note)
    assert note.text.startswith(f"{path}: its security.selinux could not be kept")
    assert note.text.endswith(f"setfattr -n security.selinux -v 0x{b'app_t'.hex()}00 {path}")


def test_capabilities_of_a_file_are_not_passed_on(folder: Path) -> None:
    """They are for programs, and a database is none."""
    (path := folder / "old").touch()
    os.setxattr(path, "security.capability", struct.pack("<IIIII", 0x02000000, 0, 0, 0, 0))

    assert access_of(path).attributes == ()


def test_file_that_cannot_be_given_to_its_owner_is_refused(folder: Path) -> None:
    """Its owner could not open it any more."""
    (path := folder / "old").touch()
    os.chown(path, APP, APP)
    (new := folder / "new").touch()
    os.chown(new, STRANGER, STRANGER)
    os.seteuid(STRANGER)
    try:
        with pytest.raises(KeeperError, match="cannot be given to its owner"):
            give_access(new, access_of(path), path, lambda event: None)
    finally:
        os.seteuid(0)


Entry = tuple[int, int, int]
ENTRY = st.tuples(st.sampled_from([2, 8]), st.integers(0, 7), st.integers(1, 4))


def allowed(entries: list[Entry], uid: int, groups: set[int], group: int) -> int:
    """What a user who is not the owner may do; the algorithm of acl(5)."""
    mask = next((may for tag, may, _ in entries if tag == 0x10), 7)
    if named := [may for tag, may, who in entries if tag == 2 and who == uid]:
        return named[0] & mask
    of_groups = [
        may
        for tag, may, who in entries
        if (tag == 4 and group in groups) or (tag == 8 and who in groups)
    ]
    if of_groups:
        # Of the entries that match, one has to allow all that is asked for: asked bit by bit.
        return sum({may & mask & bit for may in of_groups for bit in (1, 2, 4)})
    return next(may for tag, may, _ in entries if tag == 0x20)


@given(
    named=st.lists(ENTRY, max_size=4, unique_by=lambda entry: (entry[0], entry[2])),
    bits=st.tuples(*[st.integers(0, 7)] * 4),
    uid=st.integers(1, 5),
    groups=st.sets(st.integers(0, 5)),
)
def test_mode_without_the_acl_lets_nobody_gain(
    named: list[Entry], bits: tuple[int, ...], uid: int, groups: set[int]
) -> None:
    """Whoever it is, and whatever groups they are in; the owning group is 0."""
    owner, group, mask, others = bits
    no_id = 0xFFFFFFFF
    entries = [(1, owner, no_id), *named, (4, group, no_id), (0x10, mask, no_id)]
    entries.append((0x20, others, no_id))
    raw = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    access = Access(0, 0, owner << 6 | mask << 3 | others, raw)

    mode = access.mode_without_acl

    left = [(1, mode >> 6, no_id), (4, mode >> 3 & 7, no_id), (0x20, mode & 7, no_id)]
    assert allowed(left, uid, groups, 0) & ~allowed(entries, uid, groups, 0) == 0
    assert mode >> 6 == owner
