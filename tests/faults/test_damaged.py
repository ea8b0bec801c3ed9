"""Databases that are damaged, cut off, or no databases at all: refused by name, never believed."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.check import check_integrity, check_snapshot, integrity_problems
from sqlitekeeper.database.connection import open_database
from sqlitekeeper.database.measure import measure
from sqlitekeeper.database.snapshot.snapshot import take_snapshot
from sqlitekeeper.errors import BusyError, KeeperError
from tests.conftest import (
    REPOSITORY,
    BackupConfig,
    Keeper,
    MakeDatabase,
    Mount,
    OtherUser,
    contents,
    count_rows,
    needs_root,
)
from tests.faults.command_line import command_line
from tests.faults.strange import make_strange

PAGE = 4096
READERS = (
    ("report",),
    ("report", "--tables"),
    ("doctor",),
    ("vacuum",),
    ("convert", "--yes"),
    ("backup", "--to", "shelf"),
)

every_reader = pytest.mark.parametrize("command", READERS, ids=" ".join)


@pytest.fixture
def odd(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Something at the place of a database that is none."""
    folder, path = tmp_path / "odd", tmp_path / "odd" / "app.sqlite3"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    if request.param == "folder":
        path.mkdir()
    elif request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "socket":
        monkeypatch.chdir(folder)  # a socket's whole path may not be long
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    elif request.param == "loop":
        path.symlink_to("other")
        (folder / "other").symlink_to(path.name)
    else:
        targets = {"zeros": "/dev/zero", "dangling": "nowhere", "pipe_behind_link": "pipe"}
        os.mkfifo(folder / "pipe")
        path.symlink_to(targets[request.param])
    return path


ODD = ["folder", "pipe", "socket", "zeros", "loop", "dangling", "pipe_behind_link"]


@every_reader
@pytest.mark.parametrize("odd", ODD, indirect=True)
def test_what_is_no_file_is_said_at_once(odd: Path, command: tuple[str, ...]) -> None:
    """Nothing is opened that would block or never end, and nothing is made beside it."""
    before = sorted(odd.parent.iterdir())

    status, said, _ = command_line(*command, odd)

    assert status == 1
    told = said["error"]["message"] + str(said.get("findings"))
    assert str(odd) in told
    assert sorted(odd.parent.iterdir()) == before


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 3]


def cut_within_a_page(data: bytes) -> bytes:
    return data[: len(data) - 1000]


def cut_within_the_header(data: bytes) -> bytes:
    return data[:60]


def b_tree_type(data: bytes) -> bytes:
    return data[: 4 * PAGE] + b"\x07" + data[4 * PAGE + 1 :]


def b_tree_cells(data: bytes) -> bytes:
    return data[: 4 * PAGE + 8] + b"\xff" * 8 + data[4 * PAGE + 16 :]


def root_page(data: bytes) -> bytes:
    return data[: 2 * PAGE] + os.urandom(PAGE) + data[3 * PAGE :]


def schema(data: bytes) -> bytes:
    return data.replace(b"CREATE TABLE t", b"CREATE QABLE t")


def zeroed_page(data: bytes) -> bytes:
    return data[: -3 * PAGE] + bytes(PAGE) + data[-2 * PAGE :]


def twice_the_page_size(data: bytes) -> bytes:
    return data[:16] + (2 * PAGE).to_bytes(2, "big") + data[18:]


def no_page_size(data: bytes) -> bytes:
    return data[:16] + b"\x0f\xff" + data[18:]


def schema_format(data: bytes) -> bytes:
    return data[:44] + b"\x00\x00\x00\x63" + data[48:]


def magic(data: bytes) -> bytes:
    return b"SQLite format 2\x00" + data[16:]


def encrypted(data: bytes) -> bytes:
    return os.urandom(len(data))


SERIOUS: tuple[Callable[[bytes], bytes], ...] = (
    truncated,
    cut_within_the_header,
    b_tree_type,
    b_tree_cells,
    root_page,
    schema,
    zeroed_page,
    twice_the_page_size,
    no_page_size,
    schema_format,
    magic,
    encrypted,
)


def damage(path: Path, by: Callable[[bytes], bytes]) -> None:
    """Change the bytes of a database that nobody has open, which must make a difference."""
    data = path.read_bytes()
    assert by(data) != data
    path.write_bytes(by(data))


def test_damaged_databases_are_not_backed_up(
    make_database: MakeDatabase, tmp_path: Path, backup_config: BackupConfig
) -> None:
    """The run fails, says which they are, and ships nothing of them; the sound one is shipped."""
    good = make_database("data/good.sqlite3", rows=5)
    for by in SERIOUS:
        damage(make_database(f"data/{by.__name__}.sqlite3"), by)
    before = contents(good.parent)
    config = backup_config(good.parent / "*.sqlite3", to=tmp_path / "shelf")

    status, said, _ = command_line("backup", "--config", config)

    assert status == 12
    outcomes = {entry["name"]: entry["outcome"] for entry in said["databases"]}
    assert outcomes == {by.__name__: "failed" for by in SERIOUS} | {"good": "shipped"}
    for entry in said["databases"]:
        reasons = (f"{entry['path']}: ", "the snapshot fails integrity_check: ")
        assert entry["name"] == "good" or entry["reason"].startswith(reasons)
    assert {path.parent.name for path in (tmp_path / "shelf").rglob("*.*")} == {"good"}
    assert contents(good.parent) == before


@pytest.mark.parametrize("by", SERIOUS)
@pytest.mark.parametrize(
    "command", [("vacuum", "--all"), ("convert", "--yes", "--auto-vacuum", "none")], ids=" ".join
)
def test_damaged_database_is_not_made_worse(
    make_database: MakeDatabase, command: tuple[str, ...], by: Callable[[bytes], bytes]
) -> None:
    """What can be salvaged from the file can be salvaged after a vacuum or a convert too."""
    path = make_database("data/app.sqlite3", rows=100, deleted=40)
    damage(path, by)
    before = contents(path.parent)

    status, _, _ = command_line(*command, path)

    assert status in (1, 12) or command[0] == "vacuum"
    if status:
        assert contents(path.parent) == before


def free_list_count(data: bytes) -> bytes:
    return data[:36] + b"\x00\x00\xff\xff" + data[40:]


def free_list_loop(data: bytes) -> bytes:
    trunk = int.from_bytes(data[32:36], "big")
    start = (trunk - 1) * PAGE
    return data[:start] + trunk.to_bytes(4, "big") + data[start + 4 :]


def free_list_of_a_used_page(data: bytes) -> bytes:
    return data[:32] + (4).to_bytes(4, "big") + data[36:]


def pointer_map(data: bytes) -> bytes:
    return data[:PAGE] + b"\x05\x00\x00\x00\x01" * 40 + data[PAGE + 200 :]


@pytest.mark.parametrize(
    "by", [free_list_count, free_list_loop, free_list_of_a_used_page, pointer_map]
)
def test_damage_to_the_bookkeeping_loses_no_row(
    make_database: MakeDatabase, tmp_path: Path, by: Callable[[bytes], bytes]
) -> None:
    """A snapshot has no free pages and new maps; vacuum stops where it would use what is wrong."""
    path = make_database(rows=400, deleted=200)
    damage(path, by)

    source = take_snapshot(path, tmp_path / "copy")
    checked = check_snapshot(tmp_path / "copy", "", "integrity")
    with open_database(path) as connection:
        problems = integrity_problems(connection, "integrity")
    status, _, log = command_line("vacuum", "--all", path)

    assert (source.method, checked.tables) == ("vacuum", {"t": 200})
    assert problems
    assert count_rows(path) == 200
    assert status == (12 if "is damaged" in log else 0)


def test_damage_is_found_where_the_application_has_its_own_collation(tmp_path: Path) -> None:
    """A copy of pages takes damage along, so what can be checked of it is."""
    path = make_strange(tmp_path / "app.sqlite3", "unknown_collation_in_index")
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE other (x)").fetchall()
    connection.execute("CREATE TABLE n (x NOT NULL); INSERT INTO other VALUES (1)").fetchall()
    connection.execute("CREATE INDEX on_other ON other (x)").fetchall()
    rows = connection.execute("SELECT name, rootpage FROM sqlite_schema").fetchall()
    roots = {name: root for name, root in rows if isinstance(root, int)}
    connection.close()
    whole = path.read_bytes()

    found = {}
    for name in ("t", "i", "other", "on_other"):
        head = (roots[name] - 1) * PAGE
        path.write_bytes(whole[: head + 3] + b"\x00\x63" + whole[head + 5 :])
        with open_database(path) as ours:
            found[name] = check_integrity(ours, "integrity").problems

    assert all(found.values()), found


@pytest.mark.parametrize("kind", ["unknown_collation_in_index", "checksums"])
def test_damaged_copy_of_pages_is_not_shipped(
    tmp_path: Path, backup_config: BackupConfig, kind: str
) -> None:
    """VACUUM INTO would have noticed as it read; here the check has to."""
    path = make_strange(tmp_path / "app.sqlite3", kind)
    damage(path, lambda data: data[: PAGE * 2 + 3] + b"\xff" * 20 + data[PAGE * 2 + 23 :])
    backup_config(path, to=tmp_path / "shelf")

    status, said, _ = command_line("backup", "--config", tmp_path / "keeper.toml")

    assert (status, said["databases"][0]["outcome"]) == (12, "failed")
    assert not list((tmp_path / "shelf").rglob("*.sqlite3"))


def cut_off_transaction(tmp_path: Path) -> Path:
    """A database whose rollback journal is hot: 100 rows, half changed by who was killed."""
    path = tmp_path / "data" / "app.sqlite3"
    path.parent.mkdir()
    program = (
        "import apsw, os, sys\n"
        "c = apsw.Connection(sys.argv[1]); c.execute('CREATE TABLE t (a)').fetchall()\n"
        "c.pragma('auto_vacuum', 2); c.pragma('cache_size', 2)\n"
        "with c: c.executemany('INSERT INTO t VALUES (zeroblob(?))', [(900,)] * 100)\n"
        "c.execute('BEGIN IMMEDIATE; DELETE FROM t WHERE rowid > 1').fetchall()\n"
        "c.cache_flush(); os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", program, path], check=True)
    assert (path.parent / "app.sqlite3-journal").stat().st_size
    return path


@pytest.mark.parametrize(
    "command", [("report",), ("doctor",), ("backup", "--to", "shelf")], ids=" ".join
)
def test_hot_journal_is_left_to_the_application(
    tmp_path: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who only reads does not roll back for others, and does not read what was cut off."""
    path = cut_off_transaction(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = contents(path.parent)

    status, said, _ = command_line(*command, path)

    assert status == 1
    assert "a transaction was cut off" in said["error"]["message"] + str(said.get("findings"))
    assert contents(path.parent) == before


def test_vacuum_rolls_a_hot_journal_back(tmp_path: Path) -> None:
    """As everyone does who opens the database to write."""
    path = cut_off_transaction(tmp_path)

    assert command_line("vacuum", path)[0] == 0

    assert count_rows(path) == 100
    assert list(contents(path.parent)) == ["app.sqlite3"]


def crashed_copy(path: Path, folder: Path, *suffixes: str) -> Path:
    """What a crash leaves of a WAL database with a row that is in the WAL only."""
    connection = apsw.Connection(str(path))
    connection.execute("INSERT INTO t (body) VALUES (1)").fetchall()
    for suffix in ("", *suffixes):
        (folder / f"app.sqlite3{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
    connection.close()
    return folder / "app.sqlite3"


@needs_root
def test_wal_database_on_a_read_only_mount_is_read(
    make_database: MakeDatabase, mount: Mount, tmp_path: Path
) -> None:
    """SQLite cannot open it there, since it needs a -shm; nobody can have it open either."""
    folder = mount("read-only", "8m")
    make_database("read-only/app.sqlite3", rows=40)
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    path = folder / "app.sqlite3"

    found = measure(path)
    source = take_snapshot(path, tmp_path / "copy")
    status, said, _ = command_line("report", "--tables", path)

    assert (found.journal_mode, source.journal_mode, status) == ("wal", "wal", 0)
    assert count_rows(tmp_path / "copy") == 40
    assert said["databases"][0]["tables"][0]["rows"] == 40


@needs_root
@pytest.mark.parametrize(
    ("suffixes", "rows"), [(("-wal",), None), (("-wal", "-shm"), 2)], ids=["wal", "wal_and_shm"]
)
def test_wal_with_changes_on_a_read_only_mount_is_never_left_out(
    make_database: MakeDatabase,
    mount: Mount,
    tmp_path: Path,
    suffixes: tuple[str, ...],
    rows: int | None,
) -> None:
    """It is read where its -shm lies there too; otherwise the error says what to do."""
    folder = mount("read-only", "8m")
    path = crashed_copy(make_database(rows=1), folder, *suffixes)
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)

    if rows is None:
        with pytest.raises(KeeperError, match="has a WAL that holds changes") as caught:
            take_snapshot(path, tmp_path / "copy")
        assert "copy both files" in str(caught.value.hint)
    else:
        take_snapshot(path, tmp_path / "copy")
        assert count_rows(tmp_path / "copy") == rows


@needs_root
def test_write_behind_a_read_only_mount_is_noticed(
    make_database: MakeDatabase, mount: Mount, tmp_path: Path
) -> None:
    """A container may see as read-only what the host writes to: what was read does not count."""
    writable = mount("writable", "8m")
    make_database("writable/app.sqlite3", rows=40)
    shared = tmp_path / "shared"
    shared.mkdir()
    subprocess.run(["mount", "--bind", writable, shared], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", shared], check=True)

    def read_while_written() -> None:
        with open_database(shared / "app.sqlite3") as ours:
            ours.execute("SELECT count(*) FROM t").fetchall()
            other = apsw.Connection(str(writable / "app.sqlite3"))
            other.execute("INSERT INTO t (body) VALUES (1)").fetchall()
            other.close()

    try:
        with pytest.raises(BusyError, match="somebody opened it"):
            read_while_written()
    finally:
        subprocess.run(["umount", "--lazy", shared], check=True)


def test_own_read_only_wal_database_is_left_alone(
    make_database: MakeDatabase, other_user: OtherUser
) -> None:
    """Sidecars would be as read-only as the file, and stay."""
    path = other_user.folder / "app.sqlite3"
    make_database(rows=5).rename(path)
    os.chown(path, other_user.uid, other_user.gid)
    path.chmod(0o444)

    run = other_user.keeper("report", path, "--json")

    assert (run.status, run.entry["journal_mode"]) == (0, "wal")
    assert [file.name for file in other_user.folder.glob("app*")] == ["app.sqlite3"]


def test_symlink_that_changes_gives_one_database_or_the_other(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A release that is switched meanwhile: every snapshot is one of the two, as a whole."""
    one = make_database("one.sqlite3", rows=10)
    make_database("two.sqlite3", rows=20, journal_mode="delete")
    link = tmp_path / "app.sqlite3"
    link.symlink_to(one)
    flip = "for t in one two; do ln -sfn $t.sqlite3 new && mv -T new app.sqlite3; done"
    flip = f"while :; do {flip}; done"
    flipper = subprocess.Popen(["sh", "-c", flip], cwd=tmp_path)
    seen = set()
    try:
        for number in range(40):
            take_snapshot(link, tmp_path / f"copy{number}")
            seen.add(count_rows(tmp_path / f"copy{number}"))
    finally:
        flipper.kill()
        flipper.wait()

    assert seen <= {10, 20}
    assert {file.name for file in tmp_path.glob("*-*")} == set()


MEASURED = """
import resource, sys
from pathlib import Path
from sqlitekeeper.database.check import check_snapshot
from sqlitekeeper.filesystem.checksum import sha256_of
from sqlitekeeper.database.snapshot.snapshot import take_snapshot
from sqlitekeeper.report.tables import table_spaces
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
path, target = Path(sys.argv[2]), Path(sys.argv[3])
print(take_snapshot(path, target).method)
check_snapshot(target, sha256_of(target), "integrity")
table_spaces(path)
"""


@pytest.mark.parametrize("kind", ["plain", "unknown_collation_in_index"])
def test_database_larger_than_the_memory_is_worked_on(
    make_database: MakeDatabase, tmp_path: Path, kind: str
) -> None:
    """160 MB of address space for 200 MB of data: copied, hashed, checked and measured."""
    path = make_database() if kind == "plain" else make_strange(tmp_path / "app.sqlite3", kind)
    connection = apsw.Connection(str(path))
    connection.pragma("synchronous", "off")
    with connection:
        connection.execute("CREATE TABLE large (id INTEGER PRIMARY KEY, x)").fetchall()
        connection.executemany("INSERT INTO large (x) VALUES (zeroblob(?))", [(10**5,)] * 2000)
    connection.close()
    limit = 160 * 2**20

    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(limit), path, tmp_path / "copy"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )

    assert (done.stderr, done.stdout) == ("", "vacuum\n" if kind == "plain" else "pages\n")
    assert (tmp_path / "copy").stat().st_size > limit


def test_empty_file_is_said(tmp_path: Path) -> None:
    """0 bytes are a new database to SQLite, and nothing that could be backed up."""
    path = tmp_path / "app.sqlite3"
    path.touch()

    backup = command_line("backup", "--to", tmp_path / "shelf", path)
    report = command_line("report", path)

    assert (backup[0], report[0]) == (1, 0)
    assert "is empty" in backup[1]["error"]["message"]
    assert path.stat().st_size == 0


@pytest.mark.parametrize(
    "command",
    [
        ("report",),
        ("report", "--tables"),
        ("doctor",),
        ("vacuum",),
        ("vacuum", "--dry-run"),
        ("convert", "--yes"),
        ("backup", "--to", "to"),
        ("backup", "--to", "to", "--dry-run"),
    ],
    ids=" ".join,
)
def test_wal_beside_an_emptied_file_is_left_alone(
    keeper: Keeper, make_database: MakeDatabase, command: tuple[str, ...]
) -> None:
    """It may have all that is left, and SQLite deletes it whoever opens the file."""
    path = make_database(rows=3)
    connection = apsw.Connection(str(path))
    connection.execute("INSERT INTO t (body) VALUES ('an order')").fetchall()
    wal = path.with_name(f"{path.name}-wal")
    left = wal.read_bytes()
    connection.close()
    os.truncate(path, 0)
    wal.write_bytes(left)

    run = keeper(*command, path)

    assert run.status == 1
    assert f"{path.name}-wal beside it has transactions" in run.out + run.err
    assert wal.read_bytes() == left
    assert path.stat().st_size == 0


def test_latin_names_are_refused_and_latin_comments_are_not(tmp_path: Path) -> None:
    """SQLite takes any bytes for text; a schema that is not UTF-8 is told, with the name."""
    path = tmp_path / "app.sqlite3"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE t__ (a /*__*/); INSERT INTO t__ VALUES (1)").fetchall()
    connection.close()
    whole = path.read_bytes()

    path.write_bytes(whole.replace(b"/*__*/", b"/*\xf6\xe4*/"))
    commented = command_line("backup", "--to", tmp_path / "shelf", path)
    path.write_bytes(whole.replace(b"t__", b"t\xf6\xe4"))
    named = command_line("backup", "--to", tmp_path / "shelf", path)

    assert commented[0] == 0
    assert commented[1]["databases"][0]["tables"] == {"t__": 1}
    assert named[0] == 1
    assert "not valid UTF-8: b't\\xf6\\xe4'" in named[1]["error"]["message"]
