"""What is risky about one database, provoked for real."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from sqlitekeeper.doctor.database import (
    diagnose_database,
    find_twins,
    judge_last_writer,
    judge_wal_place,
)
from sqlitekeeper.doctor.finding import Finding
from tests.conftest import (
    Beside,
    MakeDatabase,
    Mount,
    OtherUser,
    contents,
    count_rows,
    needs_root,
)

# Begins a transaction too large for its cache, so that its journal is on the disk.
CUT_OFF = """
import apsw, sys
connection = apsw.Connection(sys.argv[1])
connection.execute("PRAGMA cache_size = 5").fetchall()
connection.execute("BEGIN").fetchall()
connection.execute("UPDATE t SET body = randomblob(900)").fetchall()
print("ready", flush=True)
sys.stdin.read()
"""


def finding(path: Path, check: str) -> Finding:
    """What one check says of a database called app."""
    (found,) = (one for one in diagnose_database("app", path).findings if one.check == check)
    return found


def last_written_by(path: Path, version: int) -> Path:
    """Write a version into the header of a closed database."""
    with path.open("r+b") as stream:
        stream.seek(96)
        stream.write(version.to_bytes(4, "big"))
    return path


@pytest.fixture
def in_transaction() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Start a process that stays inside a large transaction on a database."""
    started = []

    def start(path: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", CUT_OFF, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def cut_off(
    make_database: MakeDatabase, in_transaction: Callable[[Path], subprocess.Popen[str]]
) -> Path:
    """A database whose writer was killed in the middle of a transaction."""
    path = make_database(journal_mode="delete")
    process = in_transaction(path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert path.with_name("app.sqlite3-journal").stat().st_size > 0
    return path


def test_nothing_is_wrong_with_what_keeper_makes(make_database: MakeDatabase) -> None:
    """But that a test's folder lies in /tmp, perhaps."""
    findings = diagnose_database("app", make_database()).findings
    assert {one.check for one in findings if one.level != "ok"} <= {"place"}
    assert {one.database for one in findings} == {"app"}
    assert {one.fix for one in findings if one.level == "ok"} == {None}


def test_every_check_has_a_name_of_its_own(make_database: MakeDatabase) -> None:
    """Scripts rely on them."""
    checks = [one.check for one in diagnose_database("app", make_database()).findings]
    assert sorted(checks) == [
        "auto_vacuum",
        "hard_links",
        "hot_journal",
        "journal_mode",
        "litestream",
        "network",
        "open",
        "place",
        "sidecar_owner",
        "wal_reset_bug",
        "wal_size",
    ]


def test_looking_changes_nothing(make_database: MakeDatabase) -> None:
    """No byte, and no file beside it."""
    path = make_database()
    before = contents(path.parent)
    diagnose_database("app", path)
    assert contents(path.parent) == before


def test_file_that_can_never_shrink(make_database: MakeDatabase) -> None:
    """Conversion mends it."""
    path = make_database(auto_vacuum="none")
    found = finding(path, "auto_vacuum")
    assert (found.level, found.fix) == ("warn", f"keeper convert {path}")
    assert "auto_vacuum is none" in found.message


def test_file_that_shrinks_by_itself(make_database: MakeDatabase) -> None:
    """An application that asks for it at each open would undo what was advised."""
    found = finding(make_database(auto_vacuum="full"), "auto_vacuum")
    assert (found.level, found.fix) == ("ok", None)


def test_path_in_a_fix_is_quoted_for_the_shell(make_database: MakeDatabase) -> None:
    """A blank would make two arguments of it."""
    path = make_database("my app.sqlite3", auto_vacuum="none")
    assert finding(path, "auto_vacuum").fix == f"keeper convert '{path}'"


def test_empty_file(tmp_path: Path) -> None:
    """It counts as new."""
    path = tmp_path / "app.sqlite3"
    path.touch()
    found = finding(path, "auto_vacuum")
    assert (found.level, found.fix) == ("warn", f"keeper init {path}")


def test_rollback_journal_beside_a_running_application(
    make_database: MakeDatabase, beside: Beside
) -> None:
    """The application is named, and how to set WAL mode."""
    path = make_database(journal_mode="delete")
    application = beside("idle", path)
    found = finding(path, "journal_mode")
    assert found.level == "warn"
    assert f"pid {application.pid}" in found.message
    assert found.fix == (f"stop the application, then: sqlite3 {path} 'PRAGMA journal_mode = wal'")


def test_large_rollback_database_locks_its_writers_out(make_database: MakeDatabase) -> None:
    """For as long as reading it takes; nobody has to have it open at this moment."""
    path = make_database(rows=10, journal_mode="delete")
    connection = apsw.Connection(str(path))
    connection.execute("INSERT INTO t (body) VALUES (zeroblob(20000000))").fetchall()
    connection.close()

    found = finding(path, "journal_mode")

    assert found.level == "warn"
    assert "writers wait while a snapshot is made" in found.message


def test_rollback_journal_that_nobody_uses(make_database: MakeDatabase) -> None:
    """It disturbs nobody."""
    assert finding(make_database(journal_mode="delete"), "journal_mode").level == "ok"


def test_wal_mode_beside_a_running_application(make_database: MakeDatabase, beside: Beside) -> None:
    """As it should be."""
    path = make_database()
    beside("write", path)
    assert finding(path, "journal_mode").level == "ok"


@needs_root
def test_sidecar_that_the_owner_cannot_write(
    make_database: MakeDatabase, other_user: OtherUser
) -> None:
    """It locks the application out; the fix gives it back."""
    path = Path(shutil.move(make_database(), other_user.folder))
    os.chown(path, other_user.uid, other_user.gid)
    index = path.with_name("app.sqlite3-shm")
    index.touch(0o644)
    found = finding(path, "sidecar_owner")
    assert found.level == "fail"
    assert "app.sqlite3-shm" in found.message
    assert found.fix == f"chown --reference={path} {index}"
    subprocess.run(found.fix.split(), check=True)
    assert index.stat().st_uid == other_user.uid


@needs_root
def test_sidecar_that_the_owners_group_may_write(
    make_database: MakeDatabase, other_user: OtherUser
) -> None:
    """Unusual, and it works."""
    path = Path(shutil.move(make_database(), other_user.folder))
    os.chown(path, other_user.uid, other_user.gid)
    index = path.with_name("app.sqlite3-shm")
    index.touch()
    index.chmod(0o664)
    os.chown(index, 0, other_user.gid)
    assert finding(path, "sidecar_owner").level == "warn"


@needs_root
def test_database_of_somebody_else(make_database: MakeDatabase, other_user: OtherUser) -> None:
    """It cannot be looked at without leaving files; the fix runs keeper as its owner."""
    path = Path(shutil.move(make_database(), other_user.folder))
    done = other_user.keeper("doctor", "--json", path)
    assert done.status == 1
    (found,) = (one for one in done.json["findings"] if one["check"] == "open")
    assert found["level"] == "fail"
    assert found["fix"] == "run it as that user: sudo -u root keeper ..."


def test_wal_on_a_network_file_system() -> None:
    """Not with WAL mode; at one's own risk without."""
    found = judge_wal_place("app", "wal", "nfs4")
    assert found.level == "fail"
    assert "nfs4" in found.message
    assert found.fix is not None
    assert found.fix.startswith("move it to a disk")
    assert judge_wal_place("app", "delete", "nfs4").level == "warn"
    assert judge_wal_place("app", "wal", None).level == "ok"


def test_last_writer_with_the_wal_reset_bug(make_database: MakeDatabase) -> None:
    """Named as the header has it, with what to upgrade to."""
    found = finding(last_written_by(make_database(), 3_040_001), "wal_reset_bug")
    assert found.level == "warn"
    assert "SQLite 3.40.1" in found.message
    assert found.fix is not None
    assert "3.51.3" in found.fix


def test_wal_reset_bug_without_wal_mode(make_database: MakeDatabase) -> None:
    """It does not matter there."""
    path = last_written_by(make_database(journal_mode="delete"), 3_040_001)
    assert finding(path, "wal_reset_bug").level == "ok"


@pytest.mark.parametrize(
    ("number", "level"),
    [
        (0, "ok"),
        (3_006_023, "ok"),
        (3_007_000, "warn"),
        (3_044_005, "warn"),
        (3_044_006, "ok"),
        (3_045_000, "warn"),
        (3_050_006, "warn"),
        (3_050_007, "ok"),
        (3_051_000, "warn"),
        (3_051_002, "warn"),
        (3_051_003, "ok"),
    ],
)
def test_versions_with_the_wal_reset_bug(number: int, level: str) -> None:
    """3.7.0 to 3.51.2, but for the two branches that it was mended in."""
    assert judge_last_writer("app", "wal", number).level == level


def test_wal_larger_than_the_database(make_database: MakeDatabase, beside: Beside) -> None:
    """The reader that keeps it so is named."""
    path = make_database(rows=10)
    reader = beside("read", path)
    connection = apsw.Connection(str(path))
    connection.execute("INSERT INTO t (body) VALUES (zeroblob(?))", (18 * 2**20,)).fetchall()
    found = finding(path, "wal_size")
    connection.close()
    assert found.level == "warn"
    assert f"pid {reader.pid}" in found.message
    assert found.fix == f"keeper vacuum {path}"


def test_database_that_the_application_has_locked(
    make_database: MakeDatabase, beside: Beside
) -> None:
    """Not known what is in it, and nothing wrong with that."""
    path = make_database(journal_mode="delete")
    writer = beside("change", path)
    found = finding(path, "open")
    message = f"{path}: database is locked by pid {writer.pid} (python)"
    assert (found.level, found.message) == ("warn", message)
    assert found.fix == "another process holds a lock on it; try again when it is done"


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_database_that_is_locked_for_good(
    make_database: MakeDatabase, beside: Beside, journal_mode: str
) -> None:
    """A failure, for no backup will ever be made; who holds the lock is named."""
    path = make_database(journal_mode=journal_mode)
    application = beside("exclusive", path)
    found = finding(path, "open")
    assert found.level == "fail"
    assert f"locked by pid {application.pid} (python), which writes nothing" in found.message
    assert found.fix is not None
    assert "PRAGMA locking_mode = NORMAL" in found.fix


def test_hot_journal_after_a_crash(cut_off: Path) -> None:
    """Found, not touched; the fix rolls it back."""
    before = contents(cut_off.parent)
    found = finding(cut_off, "hot_journal")
    assert contents(cut_off.parent) == before
    assert found.level == "fail"
    assert found.fix is not None
    assert found.fix.endswith(f"keeper vacuum {cut_off}")


def test_hot_journal_is_gone_once_it_was_rolled_back(cut_off: Path) -> None:
    """By whoever writes next."""
    connection = apsw.Connection(str(cut_off))
    assert connection.pragma("quick_check") == "ok"
    connection.close()
    assert finding(cut_off, "hot_journal").level == "ok"
    assert count_rows(cut_off) == 400


def test_journal_of_a_running_transaction(
    make_database: MakeDatabase, in_transaction: Callable[[Path], subprocess.Popen[str]]
) -> None:
    """Nothing was cut off."""
    path = make_database(journal_mode="delete")
    in_transaction(path)
    found = [one for one in diagnose_database("app", path).findings if one.check == "hot_journal"]
    assert [one.level for one in found] == ["ok"]


def test_journal_that_is_kept_zeroed(make_database: MakeDatabase) -> None:
    """journal_mode PERSIST leaves one."""
    path = make_database(journal_mode="delete")
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "persist")
    connection.execute("DELETE FROM t WHERE id = 1").fetchall()
    connection.close()
    assert path.with_name("app.sqlite3-journal").stat().st_size > 0
    assert finding(path, "hot_journal").level == "ok"


def test_database_in_tmp(make_database: MakeDatabase) -> None:
    """It does not outlive the next start of the host."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(shutil.move(make_database(), folder))
        found = finding(path, "place")
    assert found.level == "warn"
    assert "/tmp" in found.message
    assert found.fix is not None
    assert f"mv {path}" in found.fix


def test_database_on_a_file_system_in_memory(make_database: MakeDatabase, mount: Mount) -> None:
    """Wherever it is mounted."""
    folder = mount("memory", "4m")
    found = finding(make_database("memory/app.sqlite3"), "place")
    assert found.level == "warn"
    assert "tmpfs" in found.message
    assert folder.is_dir()


def test_database_on_a_disk(make_database: MakeDatabase) -> None:
    """Where it belongs."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = Path(shutil.move(make_database(), folder))
        assert finding(path, "place").level == "ok"


def test_two_hard_links(make_database: MakeDatabase) -> None:
    """Each name would get a WAL of its own."""
    path = make_database()
    other = path.with_name("other.sqlite3")
    other.hardlink_to(path)
    found = finding(path, "hard_links")
    assert found.level == "warn"
    assert found.fix is not None
    assert found.fix.startswith(f"find {path.parent} -xdev -samefile {path}")


def test_one_file_under_two_names(make_database: MakeDatabase) -> None:
    """Both are named."""
    path = make_database()
    other = path.with_name("other.sqlite3")
    other.hardlink_to(path)
    (found,) = find_twins([("app", path), ("other", other)])
    assert (found.level, found.database, found.check) == ("fail", "other", "twin")
    assert found.fix == f"leave one of them out of keeper.toml: {other} or {path}"


def test_two_databases_are_no_twins(make_database: MakeDatabase, tmp_path: Path) -> None:
    """Nor is one that is not there."""
    one, other = make_database("one.sqlite3"), make_database("other.sqlite3")
    pairs = [("one", one), ("other", other), ("gone", tmp_path / "gone.sqlite3")]
    assert list(find_twins(pairs)) == []


def test_missing_database(tmp_path: Path) -> None:
    """Nothing else can be said of it."""
    path = tmp_path / "gone.sqlite3"
    (found,) = diagnose_database("gone", path).findings
    assert (found.level, found.check) == ("fail", "open")
    assert found.fix == f"correct its path in keeper.toml, or: keeper init {path}"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"notes, not data\n" * 100, "but a text"),
        (bytes([31, 139]) + os.urandom(510), "but a gzip file"),
        (bytes(8) + b"DUCK" + os.urandom(500), "but one of DuckDB"),
        (b"** This file contains an SQLite 2.1 database **" + bytes(977), "but one of SQLite 2"),
        (b"\x07" * 512, "or it is encrypted"),
        (os.urandom(8191), "or it is encrypted"),
    ],
    ids=["text", "gzip", "DuckDB", "SQLite 2", "monotonous", "no whole pages"],
)
def test_file_that_is_no_database(tmp_path: Path, content: bytes, said: str) -> None:
    """What its first bytes tell is said, and no more."""
    path = tmp_path / "app.sqlite3"
    path.write_bytes(content)
    found = finding(path, "open")
    assert found.level == "fail"
    assert "is not an SQLite database" in found.message
    assert found.message.endswith(said)
    assert found.fix == "keeper restore app if it should be one; else leave it out of keeper.toml"


def test_database_that_is_encrypted_as_a_whole(tmp_path: Path) -> None:
    """Random bytes in whole pages: a restored snapshot would be none of its application's."""
    path = tmp_path / "app.sqlite3"
    path.write_bytes(os.urandom(8192))
    found = finding(path, "open")
    assert "is encrypted as a whole" in found.message
    assert found.fix is not None
    assert "restore" not in found.fix
    assert "[[files]]" in found.fix


def test_no_restore_is_proposed_over_what_an_application_works_with(tmp_path: Path) -> None:
    """It is told who has it open, or that somebody may have."""
    path = tmp_path / "app.sqlite3"
    path.write_bytes(b"\x07" * 5000)
    with subprocess.Popen(["tail", "-f", path], stdout=subprocess.PIPE) as application:
        assert application.stdout
        application.stdout.read(100)
        in_use = finding(path, "open").fix
        application.kill()
    path.with_name("app.sqlite3-wal").write_bytes(b"frames")
    beside_a_wal = finding(path, "open").fix

    assert in_use is not None
    assert in_use.startswith(f"pid {application.pid} (tail) works with it: leave it out")
    assert beside_a_wal is not None
    assert "restore" not in in_use + beside_a_wal


def test_journal_mode_of_a_branch_of_sqlite(make_database: MakeDatabase) -> None:
    """wal2: bytes 18 and 19 of the header are 3."""
    path = make_database()
    with path.open("r+b") as stream:
        stream.seek(18)
        stream.write(b"\3\3")
    found = finding(path, "open")
    assert "is in journal mode wal2" in found.message
    assert found.fix is not None
    assert "PRAGMA journal_mode = delete" in found.fix


def test_last_writer_is_not_known_where_turso_was_it(tmp_path: Path) -> None:
    """It writes the number of an SQLite with the WAL-reset bug, which it has not."""
    turso = pytest.importorskip("turso", reason="pyturso is not installed")
    path = tmp_path / "app.sqlite3"
    connection = turso.connect(str(path))
    connection.execute("CREATE TABLE t (body)")
    connection.commit()
    connection.close()
    found = finding(path, "wal_reset_bug")
    assert found.level == "ok"
    assert "does not record which SQLite wrote it last" in found.message
