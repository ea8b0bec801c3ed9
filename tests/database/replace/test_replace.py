"""A database in the place of another: nothing is lost, whatever happens."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.files import sidecar
from sqlitekeeper.database.replace import replace as placing
from sqlitekeeper.database.replace import undo as undoing
from sqlitekeeper.database.replace.recover import settle, traces
from sqlitekeeper.database.set_aside import remove_unfinished, set_asides
from sqlitekeeper.errors import BusyError, KeeperError, NotADatabaseError
from tests.conftest import REPOSITORY, Beside, MakeDatabase, contents, count_rows, pragma

# The tests may run in a container, whose /proc does not show everybody.
place = partial(placing.place, assume_stopped=True)
undo = partial(undoing.undo, assume_stopped=True)

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
BEFORE = "app.sqlite3.before-20261123T030000Z"


@pytest.fixture
def work_folder(tmp_path: Path) -> Path:
    """A private folder on the database's file system."""
    folder = tmp_path / "workshop"
    folder.mkdir()
    return folder


INSERT = "INSERT INTO t (body) VALUES (randomblob(900))"
# The WAL then does not hold page 1, which would mend one that is damaged in the main file.
IN_PLACE = "UPDATE t SET body = zeroblob(900) WHERE id < 6"


def crash_with_wal(path: Path, commits: int, sql: str = INSERT) -> None:
    """Commit what reaches the WAL only, and die like a crashed application."""
    program = (
        "import apsw, os, sys\n"
        "connection = apsw.Connection(sys.argv[1])\n"
        "connection.wal_autocheckpoint(0)\n"
        f"for _ in range({commits}):\n"
        f"    connection.execute({sql!r}).fetchall()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL


def crash_with_journal(path: Path) -> None:
    """Leave a hot journal: pages already in the file, the transaction not committed."""
    program = (
        "import apsw, os, sys\n"
        "connection = apsw.Connection(sys.argv[1])\n"
        "connection.pragma('cache_size', 1)\n"
        "connection.execute('BEGIN; UPDATE t SET body = zeroblob(900)').fetchall()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.with_name(path.name + "-journal").stat().st_size > 0


def test_new_database_takes_the_place_and_the_old_one_is_kept(
    make_database: MakeDatabase, work_folder: Path
) -> None:
    """The set-aside file is the old database under a timestamped name."""
    old = make_database(rows=10)
    new = make_database("workshop/new", rows=20)

    kept = place(new, old, NOW, work_folder, replace=True).set_aside

    assert count_rows(old) == 20
    assert [path.name for path in kept] == [BEFORE]
    assert count_rows(kept[0]) == 10


def test_stale_wal_never_meets_the_new_database(
    make_database: MakeDatabase, work_folder: Path
) -> None:
    """SQLite would mix its frames in, and integrity_check could still say ok."""
    old = make_database(rows=10)
    crash_with_wal(old, 5)
    new = make_database("workshop/new", rows=20)

    place(new, old, NOW, work_folder, replace=True)

    assert not old.with_name("app.sqlite3-wal").exists()
    assert count_rows(old) == 20
    assert pragma(old, "integrity_check") == "ok"


def test_wal_of_the_old_database_is_kept_with_it(
    make_database: MakeDatabase, work_folder: Path
) -> None:
    """Transactions that were in the WAL only are in the set-aside database too."""
    old = make_database(rows=10)
    crash_with_wal(old, 5)
    main_before = old.read_bytes()
    wal_before = old.with_name("app.sqlite3-wal").read_bytes()

    kept = place(
        make_database("workshop/new", rows=20), old, NOW, work_folder, replace=True
    ).set_aside

    assert [path.name for path in kept] == [BEFORE, f"{BEFORE}-wal"]
    assert kept[0].read_bytes() == main_before
    assert kept[1].read_bytes() == wal_before
    assert count_rows(kept[0]) == 15


def test_hot_journal_is_kept_with_the_old_database(
    make_database: MakeDatabase, work_folder: Path
) -> None:
    """Without its journal the old file would hold half of a transaction."""
    old = make_database(rows=200, journal_mode="delete")
    crash_with_journal(old)

    kept = place(
        make_database("workshop/new", rows=20), old, NOW, work_folder, replace=True
    ).set_aside

    assert [path.name for path in kept] == [BEFORE, f"{BEFORE}-journal"]
    assert not old.with_name("app.sqlite3-journal").exists()
    assert count_rows(old) == 20
    connection = apsw.Connection(str(kept[0]))
    assert connection.execute("SELECT count(*) FROM t WHERE body = zeroblob(900)").get == 0
    connection.close()


@pytest.mark.parametrize("offset", [0, 100])
def test_old_database_too_damaged_to_open_is_kept_as_it_is(
    make_database: MakeDatabase, work_folder: Path, offset: int
) -> None:
    """A restore is wanted most when the old file is broken."""
    old = make_database(rows=10)
    crash_with_wal(old, 5)
    with old.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 3000)
    damaged = old.read_bytes()

    kept = place(
        make_database("workshop/new", rows=20), old, NOW, work_folder, replace=True
    ).set_aside

    assert kept[0].read_bytes() == damaged
    assert count_rows(old) == 20


DAMAGES = {
    "magic": (0, b"X"),
    "header": (16, b"\xff" * 84),
    "write version": (18, b"\x07"),
    "size in pages": (28, b"\xff" * 4),
    "schema page": (100, b"\xff" * 3000),
    "all of page 1": (0, b"\xff" * 4096),
}


@pytest.fixture(params=[(mode, damage) for mode in ("wal", "delete") for damage in DAMAGES])
def damaged(request: pytest.FixtureRequest, make_database: MakeDatabase) -> Path:
    """A damaged database; its WAL or its hot journal has what the main file lacks."""
    journal_mode, damage = request.param
    path = make_database(rows=200, journal_mode=journal_mode)
    if journal_mode == "wal":
        crash_with_wal(path, 5, IN_PLACE)
    else:
        crash_with_journal(path)
    offset, rubbish = DAMAGES[damage]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(rubbish)
    return path


def with_content(path: Path) -> dict[str, bytes]:
    """A database and what has its transactions, byte for byte, by suffix."""
    parts = {suffix: sidecar(path, suffix) for suffix in ("", "-wal", "-journal")}
    return {suffix: part.read_bytes() for suffix, part in parts.items() if part.exists()}


def test_damaged_database_is_set_aside_byte_for_byte(
    damaged: Path, make_database: MakeDatabase, work_folder: Path
) -> None:
    """Whoever salvages it needs its last commits, and nothing that SQLite did to it since."""
    before = with_content(damaged)
    assert len(before) == 2

    kept = place(
        make_database("workshop/new", rows=20), damaged, NOW, work_folder, replace=True
    ).set_aside

    assert count_rows(damaged) == 20
    assert with_content(kept[0]) == before


def test_damaged_database_comes_back_byte_for_byte(
    damaged: Path, make_database: MakeDatabase, work_folder: Path
) -> None:
    """Where SQLite can join the two the undo does so; else they come back as they were."""
    before = with_content(damaged)
    place(make_database("workshop/new", rows=20), damaged, NOW, work_folder, replace=True)

    undo(damaged, NOW, work_folder)

    after = with_content(damaged)
    assert after == before or list(after) == [""]
    assert len(set_asides(damaged)) == 1


def test_attempt_to_settle_a_damaged_database_leaves_it_alone(make_database: MakeDatabase) -> None:
    """A connection that closes would write its WAL into the file, whatever that is."""
    path = make_database(rows=200)
    crash_with_wal(path, 5, IN_PLACE)
    with path.open("r+b") as file:
        file.write(b"X")
    before = with_content(path)

    with pytest.raises(NotADatabaseError):
        settle(path)

    assert with_content(path) == before


def test_commit_after_the_copy_was_made_is_not_settled(make_database: MakeDatabase) -> None:
    """It would be in no copy, and gone with the file that is replaced."""
    path = make_database(rows=10)
    crash_with_wal(path, 1)
    before = traces(path)
    crash_with_wal(path, 1)
    written = with_content(path)

    with pytest.raises(BusyError, match="somebody wrote to it meanwhile"):
        settle(path, before)

    assert with_content(path) == written


def test_sidecars_without_a_database_are_moved_away(
    tmp_path: Path, make_database: MakeDatabase, work_folder: Path
) -> None:
    """A new file put beside a forgotten -wal would be mixed with it."""
    target = tmp_path / "app.sqlite3"
    target.with_name("app.sqlite3-wal").write_bytes(b"forgotten")

    kept = place(
        make_database("workshop/new", rows=20), target, NOW, work_folder, replace=True
    ).set_aside

    assert [path.name for path in kept] == [f"{BEFORE}-wal"]
    assert count_rows(target) == 20


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_database_that_is_open_is_not_replaced(
    make_database: MakeDatabase, work_folder: Path, beside: Beside, journal_mode: str
) -> None:
    """Not even idle connections are surprised; in rollback mode only /proc tells of them."""
    old = make_database(rows=10, journal_mode=journal_mode)
    companion = beside("idle", old)

    with pytest.raises(BusyError, match=f"pid {companion.pid}"):
        place(make_database("workshop/new", rows=20), old, NOW, work_folder, replace=True)

    companion.end()
    assert count_rows(old) == 10
    assert set_asides(old) == []


@pytest.mark.parametrize("gone", [("",), ("", "-wal", "-shm")])
@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_deleted_database_that_is_still_open_is_not_replaced(
    make_database: MakeDatabase,
    work_folder: Path,
    beside: Beside,
    journal_mode: str,
    gone: tuple[str, ...],
) -> None:
    """Its application goes on with it, and would put its sidecars beside the new one."""
    old = make_database(rows=10, journal_mode=journal_mode)
    companion = beside("idle", old)
    for suffix in gone:
        sidecar(old, suffix).unlink(missing_ok=True)
    before = contents(old.parent)
    new = make_database("workshop/new", rows=20)

    with pytest.raises(BusyError, match=f"was deleted, and is still open in pid {companion.pid} "):
        place(new, old, NOW, work_folder, replace=True)

    assert contents(old.parent) == before | {"workshop/new": new.read_bytes()}
    companion.end()


def test_database_is_not_replaced_unless_that_was_asked_for(
    make_database: MakeDatabase, work_folder: Path
) -> None:
    """Whoever asked before may have had no answer yet that counts now."""
    old = make_database(rows=10)
    crash_with_wal(old, 5)
    before = with_content(old)

    with pytest.raises(KeeperError, match="exists already, left as it is"):
        place(make_database("workshop/new", rows=20), old, NOW, work_folder)

    assert with_content(old) == before
    assert set_asides(old) == []


def test_set_aside_database_does_not_come_back_under_an_application(
    make_database: MakeDatabase, work_folder: Path, beside: Beside
) -> None:
    """An undo is no safer than a restore where somebody works on a deleted file."""
    old = make_database(rows=10)
    place(make_database("workshop/new", rows=20), old, NOW, work_folder, replace=True)
    companion = beside("idle", old)
    old.unlink()

    with pytest.raises(BusyError, match=f"pid {companion.pid}"):
        undo(old, NOW, work_folder)

    assert not old.exists()
    assert len(set_asides(old)) == 1


def test_undo_brings_back_the_transactions_of_the_wal(
    make_database: MakeDatabase, work_folder: Path
) -> None:
    """Exactly what was there before, WAL included."""
    old = make_database(rows=10)
    crash_with_wal(old, 5)
    place(make_database("workshop/new", rows=20), old, NOW, work_folder, replace=True)

    undo(old, NOW, work_folder)

    assert count_rows(old) == 15
    assert pragma(old, "integrity_check") == "ok"
    assert pragma(old, "journal_mode") == "wal"


@pytest.mark.parametrize("name", ["aside", "aside-wal", "part", "loose-wal", "back", ".keeper"])
def test_name_of_a_database_is_none_of_the_workshop(
    make_database: MakeDatabase, work_folder: Path, name: str
) -> None:
    """keeper's own files have names too, which anybody may like."""
    old = make_database(name, rows=10)
    crash_with_wal(old, 5)
    place(make_database("workshop/new", rows=20), old, NOW, work_folder, replace=True)

    undo(old, NOW, work_folder)

    assert count_rows(old) == 15
    (kept,) = set_asides(old)
    assert count_rows(kept) == 20


def test_undo_can_be_undone(make_database: MakeDatabase, work_folder: Path) -> None:
    """Back and forth between the two, as often as wanted."""
    old = make_database(rows=10)
    place(make_database("workshop/new", rows=20), old, NOW, work_folder, replace=True)

    rows = []
    for _ in range(3):
        undo(old, NOW, work_folder)
        rows.append(count_rows(old))

    assert rows == [10, 20, 10]
    assert len(set_asides(old)) == 1


KILL_UNDO = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from sqlitekeeper.database.replace.undo import undo
target, work_folder, left = *map(Path, sys.argv[1:3]), int(sys.argv[3])
def hook(event, arguments):
    global left
    if event in {'os.rename', 'os.remove', 'os.link'}:
        if left == 0:
            os.kill(os.getpid(), 9)
        left -= 1
sys.addaudithook(hook)
undo(target, datetime.now(UTC), work_folder)
"""


def test_undo_killed_at_any_system_call_leaves_no_sidecar_without_its_database(
    tmp_path: Path, make_database: MakeDatabase
) -> None:
    """Who has looked at what was set aside, and was killed, has left it an empty WAL."""
    for limit in range(40):
        home = tmp_path / f"case{limit}"
        old = make_database(f"case{limit}/app.sqlite3", rows=10)
        (work_folder := home / "workshop").mkdir()
        place(
            make_database(f"case{limit}/workshop/new", rows=20), old, NOW, work_folder, replace=True
        )
        (aside,) = set_asides(old)
        aside.with_name(f"{aside.name}-wal").touch()
        aside.with_name(f"{aside.name}-shm").write_bytes(bytes(32768))

        done = subprocess.run(
            [sys.executable, "-c", KILL_UNDO, old, work_folder, str(limit)],
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            check=False,
        )

        assert count_rows(old) in (10, 20)
        whole = {path.name for path in set_asides(old)}
        for part in home.glob("*.before-*-*"):
            assert part.name.removesuffix("-wal").removesuffix("-shm") in whole
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
    else:
        pytest.fail("undo never came to its end")
    assert count_rows(old) == 10


def test_undo_without_a_restore_says_so(make_database: MakeDatabase, work_folder: Path) -> None:
    """There is nothing to bring back, and nothing changes."""
    path = make_database(rows=10)
    with pytest.raises(KeeperError, match="nothing was set aside"):
        undo(path, NOW, work_folder)
    assert count_rows(path) == 10


KILL_PLACE = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from sqlitekeeper.database.replace.replace import place
new, target, work_folder, left = *map(Path, sys.argv[1:4]), int(sys.argv[4])
def hook(event, arguments):
    global left
    if event in {'os.rename', 'os.remove', 'os.link', 'os.chmod', 'os.chown'}:
        if left == 0:
            os.kill(os.getpid(), 9)
        left -= 1
sys.addaudithook(hook)
place(new, target, datetime.now(UTC), work_folder, replace=True, assume_stopped=True)
"""


def place_until(limit: int, new: Path, target: Path) -> bool:
    """Put a file in place, killed before the call with this number; whether it came to its end."""
    done = subprocess.run(
        [sys.executable, "-c", KILL_PLACE, new, target, new.parent, str(limit)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL)
    return done.returncode == 0


def test_killed_at_any_system_call_one_complete_database_is_in_place(
    make_database: MakeDatabase,
) -> None:
    """SIGKILL before each call that changes a name: old with its WAL, or new, never a mixture."""
    outcomes = set()
    for limit in range(40):
        old = make_database(f"case{limit}/app.sqlite3", rows=10)
        crash_with_wal(old, 5)
        ended = place_until(limit, make_database(f"case{limit}/workshop/new", rows=20), old)
        outcomes.add(count_rows(old))
        assert pragma(old, "integrity_check") == "ok"
        assert outcomes <= {15, 20}
        for kept in set_asides(old):
            assert count_rows(kept) == 15
        if ended:
            break
    else:
        pytest.fail("place never came to its end")
    assert outcomes == {15, 20}


def test_killed_at_any_system_call_nothing_of_a_damaged_database_is_lost(
    make_database: MakeDatabase,
) -> None:
    """In place or set aside, the file and its WAL are somewhere together, byte for byte."""
    for limit in range(40):
        old = make_database(f"case{limit}/app.sqlite3", rows=200)
        crash_with_wal(old, 5, IN_PLACE)
        with old.open("r+b") as file:
            file.write(b"X")
        before = with_content(old)
        ended = place_until(limit, make_database(f"case{limit}/workshop/new", rows=20), old)
        assert before in [with_content(path) for path in (old, *set_asides(old))]
        if ended:
            break
    else:
        pytest.fail("place never came to its end")
    assert count_rows(old) == 20


LATECOMER = """
import apsw, sys
connection = apsw.Connection(sys.argv[1])
connection.set_busy_timeout(20_000)
try:
    connection.execute('INSERT INTO t (body) VALUES (zeroblob(900))').fetchall()
except apsw.Error as error:
    print(type(error).__name__)
else:
    print('committed')
"""

PLACE_BESIDE_A_LATECOMER = """
import subprocess, sys
from datetime import UTC, datetime
from pathlib import Path
from sqlitekeeper.database import processes
from sqlitekeeper.database.replace import replace
new, target, work_folder = map(Path, sys.argv[1:4])
apps = []
def hook(event, arguments):
    if event == 'os.link' and not apps:
        apps.append(None)
        apps[0] = subprocess.Popen([sys.executable, '-c', sys.argv[4], str(target)])
        while apps[0].pid not in [process.pid for process in processes.openers([target])]:
            assert apps[0].poll() is None
sys.addaudithook(hook)
placed = replace.place(new, target, datetime.now(UTC), work_folder, replace=True)
apps[0].wait()
print('latecomer named:', [p.pid for p in placed.late_openers] == [apps[0].pid])
"""


def test_application_that_opens_the_old_file_meanwhile_cannot_harm_the_new(
    make_database: MakeDatabase,
) -> None:
    """It waits for the lock with the old file in hand, and would put a -wal beside the new one."""
    old = make_database("home/app.sqlite3", rows=10)
    new = make_database("home/workshop/new", rows=20)

    done = subprocess.run(
        [sys.executable, "-c", PLACE_BESIDE_A_LATECOMER, new, old, new.parent, LATECOMER],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "latecomer named: True" in done.stdout
    assert "NotADBError" in done.stdout
    assert count_rows(old) == 20
    assert pragma(old, "integrity_check") == "ok"
    (kept,) = set_asides(old)
    assert count_rows(kept) == 10


def test_wal_of_a_damaged_database_survives_a_failed_restore(
    make_database: MakeDatabase, work_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hold the only copy of the last commits."""
    old = make_database(rows=4000)
    crash_with_wal(old, 5)
    os.truncate(old, 8192)
    wal = old.with_name("app.sqlite3-wal").read_bytes()
    new = make_database("workshop/new", rows=20)
    rename = Path.rename

    def refuse_the_last_step(self: Path, target: Path) -> Path:
        if self == new:
            raise PermissionError(1, "not permitted", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_the_last_step)
    with pytest.raises(PermissionError):
        place(new, old, NOW, work_folder, replace=True)

    # Beside it or set aside: only not gone.
    assert wal in [path.read_bytes() for path in old.parent.glob("app.sqlite3*-wal")]


def test_damaged_database_comes_back_as_it_was(
    make_database: MakeDatabase, work_folder: Path
) -> None:
    """An undo brings back the main file and its WAL, though SQLite cannot join them."""
    old = make_database(rows=4000)
    crash_with_wal(old, 5)
    os.truncate(old, 8192)
    main, wal = old.read_bytes(), old.with_name("app.sqlite3-wal").read_bytes()
    place(make_database("workshop/new", rows=20), old, NOW, work_folder, replace=True)

    undo(old, NOW, work_folder)

    assert old.read_bytes() == main
    assert old.with_name("app.sqlite3-wal").read_bytes() == wal


def test_journal_that_persists_is_no_obstacle(
    make_database: MakeDatabase, work_folder: Path
) -> None:
    """journal_mode PERSIST keeps a journal with a zeroed header beside the database."""
    old = make_database(rows=10, journal_mode="persist")
    assert old.with_name("app.sqlite3-journal").stat().st_size > 0

    place(make_database("workshop/new", rows=20), old, NOW, work_folder, replace=True)

    assert count_rows(old) == 20


def test_clock_that_was_set_back_does_not_confuse_undo(
    make_database: MakeDatabase, work_folder: Path
) -> None:
    """The last one that was set aside is the newest by name."""
    old = make_database(rows=10)
    place(make_database("workshop/new", rows=20), old, NOW, work_folder, replace=True)
    place(
        make_database("workshop/new2", rows=30),
        old,
        NOW.replace(year=2020),
        work_folder,
        replace=True,
    )

    undo(old, NOW, work_folder)

    assert count_rows(old) == 20


def test_name_that_a_killed_restore_gave_to_the_live_file_is_removed(
    make_database: MakeDatabase,
) -> None:
    """Otherwise an undo would take the live file for what was there before."""
    path = make_database(rows=10)
    unfinished = path.with_name(BEFORE)
    unfinished.hardlink_to(path)

    assert remove_unfinished(path) == [unfinished]

    assert not unfinished.exists()
    assert count_rows(path) == 10
