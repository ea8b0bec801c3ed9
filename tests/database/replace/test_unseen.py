"""Databases that somebody may have open whom keeper does not see."""

import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sqlitekeeper.database import blind_spot
from sqlitekeeper.database.replace.unseen import refuse_unseen
from sqlitekeeper.errors import BusyError
from sqlitekeeper.filesystem.access import Access
from tests.conftest import REPOSITORY, Beside, MakeDatabase, Outcome, count_rows, needs_root

APP, MEMBER, GROUP = 3001, 3002, 3200


@pytest.fixture
def shipped(make_database: MakeDatabase, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A database of 5 rows with a snapshot at ./dest, in the journal mode of the test."""
    path = make_database(rows=5, journal_mode=request.param)
    done = in_container("backup", path, "--to", tmp_path / "dest")
    assert done.status == 0, done.err
    return path


def in_container(*arguments: object) -> Outcome:
    """Run a keeper command in a PID namespace of its own."""
    command = [shutil.which("unshare") or "", "--pid", "--fork", "--mount-proc"]
    if not command[0] or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("there can be no PID namespace here")
    done = subprocess.run(
        [*command, sys.executable, "-m", "sqlitekeeper", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Outcome(done.returncode, done.stdout, done.stderr)


def restore(path: Path, *options: str) -> Outcome:
    """Bring the snapshot back over the database, with a --json answer."""
    arguments = () if "--undo" in options else ("--from", path.parent / "dest", "--replace")
    return in_container("restore", path.stem, "--to", path, *arguments, "--json", *options)


rollback = pytest.mark.parametrize("shipped", ["delete"], indirect=True)


@needs_root
@rollback
def test_container_does_not_replace_what_may_be_open(shipped: Path, beside: Beside) -> None:
    """An idle connection holds no lock, and is not in the /proc of the container."""
    beside("idle", shipped)
    before = sorted(shipped.parent.iterdir()), shipped.stat()

    done = restore(shipped)

    assert done.status == 1
    assert (sorted(shipped.parent.iterdir()), shipped.stat().st_ino) == (
        before[0],
        before[1].st_ino,
    )
    (line,) = done.err.splitlines()
    assert f"{shipped}: may be open" in line
    assert "--assume-stopped" in line
    assert "--assume-stopped" in done.json["error"]["hint"]


@needs_root
@rollback
def test_container_replaces_what_is_said_to_be_closed(shipped: Path) -> None:
    """And brings it back, when it is told once more."""
    assert restore(shipped, "--assume-stopped").status == 0

    refused = restore(shipped, "--undo")
    assert (refused.status, "--assume-stopped" in refused.err) == (1, True)
    done = restore(shipped, "--undo", "--assume-stopped")

    assert done.status == 0
    assert count_rows(shipped) == 5


@needs_root
@rollback
def test_container_restores_to_where_nothing_is(shipped: Path) -> None:
    """As an init container does, which has nothing to say of an application."""
    shipped.unlink()

    assert restore(shipped).status == 0
    assert count_rows(shipped) == 5


@needs_root
@pytest.mark.parametrize("shipped", ["wal"], indirect=True)
def test_container_replaces_a_wal_database_that_is_closed(shipped: Path) -> None:
    """Each connection would hold a lock, which shows everywhere."""
    assert restore(shipped).status == 0


@needs_root
@pytest.mark.parametrize("shipped", ["wal"], indirect=True)
def test_container_does_not_replace_a_wal_database_that_is_open(
    shipped: Path, beside: Beside
) -> None:
    """The lock of an idle connection is met before anything is downloaded."""
    beside("idle", shipped)

    done = restore(shipped)

    assert done.status == 1
    assert "another process has it open" in done.err
    assert "assume" not in done.err


@pytest.fixture
def theirs(make_database: MakeDatabase) -> Iterator[Path]:
    """A rollback-journal database of the application's user, in a folder of their own."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "app.sqlite3"
        shutil.move(make_database(rows=5, journal_mode="delete"), path)
        for one in (path, path.parent):
            os.chown(one, APP, GROUP)
        path.parent.chmod(0o755)
        yield path


StartAs = Callable[[int, int], int]


@pytest.fixture
def start_as() -> Iterator[StartAs]:
    """Start a process of a user and a group that does nothing; its process id."""
    with ExitStack() as stack:

        def start(uid: int, gid: int) -> int:
            process = subprocess.Popen(
                ["cat"], user=uid, group=gid, extra_groups=[], stdin=subprocess.PIPE
            )
            stack.callback(process.communicate)
            return process.pid

        yield start


def refused(path: Path, uid: int) -> str:
    """Why a user may not replace a database; "" where they may."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresgid(GROUP, GROUP, GROUP)
        os.setresuid(uid, uid, uid)
        try:
            refuse_unseen(path)
        except BusyError as error:
            os.write(write, error.full_text.encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    said = os.read(read, 10_000).decode()
    os.close(read)
    return said


needs_first_namespace = pytest.mark.skipif(
    os.geteuid() != 0 or Path("/proc/self/ns/pid").stat().st_ino != 0xEFFFFFFC,
    reason="needs root outside of containers",
)


@needs_first_namespace
@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_user_replaces_what_no_other_user_may_write(
    theirs: Path, start_as: StartAs, mode: int
) -> None:
    """Whoever only reads it has old rows for a while, and harms nothing."""
    theirs.chmod(mode)
    start_as(MEMBER, GROUP)

    assert refused(theirs, APP) == ""


@needs_first_namespace
def test_user_does_not_replace_what_a_member_of_the_group_may_have_open(
    theirs: Path, start_as: StartAs
) -> None:
    """Whose open files this user may not look at."""
    theirs.chmod(0o664)
    theirs.parent.chmod(0o775)
    pid = start_as(MEMBER, GROUP)

    said, by_root = refused(theirs, APP), refused(theirs, 0)

    assert f"this user does not see what pid {pid} (cat) may" in said
    assert "--assume-stopped" in said
    assert by_root == ""


@needs_first_namespace
def test_user_replaces_what_a_group_without_members_may_write(
    theirs: Path, start_as: StartAs
) -> None:
    """Debian gives each user such a group, and others give them a umask of 002."""
    theirs.chmod(0o664)
    theirs.parent.chmod(0o775)
    start_as(MEMBER, MEMBER)

    assert refused(theirs, APP) == ""


@pytest.mark.parametrize(
    ("mode", "expected"), [(0o100664, "other users"), (0o100644, None)], ids=["open", "closed"]
)
def test_hidden_processes_matter_where_others_may_write(
    make_database: MakeDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: int,
    expected: str | None,
) -> None:
    """A /proc mounted with hidepid=2 has not even process 1."""
    (tmp_path / "proc").mkdir()
    monkeypatch.setattr(blind_spot, "_PROC", tmp_path / "proc")
    path = make_database("folder/app.sqlite3", rows=1)
    path.parent.chmod(0o775)
    path.chmod(mode)

    found = list(blind_spot._unseen_writers(path))

    assert found == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("uids", "gids", "expected"),
    [({1}, {9}, True), ({2}, {20}, False), ({3}, {9}, True), ({4}, {30}, True), ({5}, {9}, False)],
    ids=["owner", "group", "named", "named group", "others"],
)
def test_acl_says_who_may_write(uids: set[int], gids: set[int], expected: bool) -> None:
    """Of the owning group's entry, and not of the mode's bits, which are the mask."""
    entries = [(1, 6, 0), (2, 6, 3), (4, 4, 0), (8, 6, 30), (0x10, 6, 0), (0x20, 4, 0)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)

    assert Access(1, 20, 0o664, acl).lets_write(uids, gids) is expected
