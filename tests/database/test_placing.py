"""A database in the place of another: nothing is lost, whatever happens."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.placing import place, set_asides, undo
from sqlitekeeper.errors import BusyError, KeeperError
from tests.conftest import REPOSITORY, Beside, MakeDatabase, count_rows, pragma

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
BEFORE = "app.sqlite3.before-20261123T030000Z"


@pytest.fixture
def workshop(tmp_path: Path) -> Path:
    """A private folder on the database's file system."""
    folder = tmp_path / "workshop"
    folder.mkdir()
    return folder


def crash_with_wal(path: Path, rows: int) -> None:
    """Commit rows that reach the WAL only, and die like a crashed application."""
    program = (
        "import apsw, os, sys\n"
        "connection = apsw.Connection(sys.argv[1])\n"
        "connection.wal_autocheckpoint(0)\n"
        f"for _ in range({rows}):\n"
        "    connection.execute('INSERT INTO t (body) VALUES (randomblob(900))')\n"
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
    make_database: MakeDatabase, workshop: Path
) -> None:
    """The set-aside file is the old database under a timestamped name."""
    old = make_database(rows=10)
    new = make_database("workshop/new", rows=20)

    kept = place(new, old, NOW, workshop)

    assert count_rows(old) == 20
    assert [path.name for path in kept] == [BEFORE]
    assert count_rows(kept[0]) == 10


def test_stale_wal_never_meets_the_new_database(
    make_database: MakeDatabase, workshop: Path
) -> None:
    """SQLite would mix its frames in, and integrity_check could still say ok."""
    old = make_database(rows=10)
    crash_with_wal(old, 5)
    new = make_database("workshop/new", rows=20)

    place(new, old, NOW, workshop)

    assert not old.with_name("app.sqlite3-wal").exists()
    assert count_rows(old) == 20
    assert pragma(old, "integrity_check") == "ok"


def test_wal_of_the_old_database_is_kept_with_it(
    make_database: MakeDatabase, workshop: Path
) -> None:
    """Transactions that were in the WAL only are in the set-aside database too."""
    old = make_database(rows=10)
    crash_with_wal(old, 5)
    main_before = old.read_bytes()
    wal_before = old.with_name("app.sqlite3-wal").read_bytes()

    kept = place(make_database("workshop/new", rows=20), old, NOW, workshop)

    assert [path.name for path in kept] == [BEFORE, f"{BEFORE}-wal"]
    assert kept[0].read_bytes() == main_before
    assert kept[1].read_bytes() == wal_before
    assert count_rows(kept[0]) == 15


def test_hot_journal_is_kept_with_the_old_database(
    make_database: MakeDatabase, workshop: Path
) -> None:
    """Without its journal the old file would hold half of a transaction."""
    old = make_database(rows=200, journal_mode="delete")
    crash_with_journal(old)

    kept = place(make_database("workshop/new", rows=20), old, NOW, workshop)

    assert [path.name for path in kept] == [BEFORE, f"{BEFORE}-journal"]
    assert not old.with_name("app.sqlite3-journal").exists()
    assert count_rows(old) == 20
    connection = apsw.Connection(str(kept[0]))
    assert connection.execute("SELECT count(*) FROM t WHERE body = zeroblob(900)").get == 0
    connection.close()


@pytest.mark.parametrize("offset", [0, 100])
def test_old_database_too_damaged_to_open_is_kept_as_it_is(
    make_database: MakeDatabase, workshop: Path, offset: int
) -> None:
    """A restore is wanted most when the old file is broken."""
    old = make_database(rows=10)
    crash_with_wal(old, 5)
    with old.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 3000)
    damaged = old.read_bytes()

    kept = place(make_database("workshop/new", rows=20), old, NOW, workshop)

    assert kept[0].read_bytes() == damaged
    assert count_rows(old) == 20


def test_sidecars_without_a_database_are_moved_away(
    tmp_path: Path, make_database: MakeDatabase, workshop: Path
) -> None:
    """A new file put beside a forgotten -wal would be mixed with it."""
    target = tmp_path / "app.sqlite3"
    target.with_name("app.sqlite3-wal").write_bytes(b"forgotten")

    kept = place(make_database("workshop/new", rows=20), target, NOW, workshop)

    assert [path.name for path in kept] == [f"{BEFORE}-wal"]
    assert count_rows(target) == 20


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_database_that_is_open_is_not_replaced(
    make_database: MakeDatabase, workshop: Path, beside: Beside, journal_mode: str
) -> None:
    """Not even idle connections are surprised; in rollback mode only /proc tells of them."""
    old = make_database(rows=10, journal_mode=journal_mode)
    companion = beside("idle", old)

    with pytest.raises(BusyError, match=f"pid {companion.pid}"):
        place(make_database("workshop/new", rows=20), old, NOW, workshop)

    companion.end()
    assert count_rows(old) == 10
    assert set_asides(old) == []


def test_undo_brings_back_the_transactions_of_the_wal(
    make_database: MakeDatabase, workshop: Path
) -> None:
    """Exactly what was there before, WAL included."""
    old = make_database(rows=10)
    crash_with_wal(old, 5)
    place(make_database("workshop/new", rows=20), old, NOW, workshop)

    undo(old, NOW, workshop)

    assert count_rows(old) == 15
    assert pragma(old, "integrity_check") == "ok"
    assert pragma(old, "journal_mode") == "wal"


def test_undo_can_be_undone(make_database: MakeDatabase, workshop: Path) -> None:
    """Back and forth between the two, as often as wanted."""
    old = make_database(rows=10)
    place(make_database("workshop/new", rows=20), old, NOW, workshop)

    rows = []
    for _ in range(3):
        undo(old, NOW, workshop)
        rows.append(count_rows(old))

    assert rows == [10, 20, 10]
    assert len(set_asides(old)) == 1


def test_undo_without_a_restore_says_so(make_database: MakeDatabase, workshop: Path) -> None:
    """There is nothing to bring back, and nothing changes."""
    path = make_database(rows=10)
    with pytest.raises(KeeperError, match="nothing was set aside"):
        undo(path, NOW, workshop)
    assert count_rows(path) == 10


def test_killed_at_any_system_call_one_complete_database_is_in_place(
    tmp_path: Path, make_database: MakeDatabase
) -> None:
    """SIGKILL before each call that changes a name: old with its WAL, or new, never a mixture."""
    program = (
        "import os, sys\n"
        "from datetime import UTC, datetime\n"
        "from pathlib import Path\n"
        "from sqlitekeeper.database import placing\n"
        "new, target, workshop, limit = *map(Path, sys.argv[1:4]), int(sys.argv[4])\n"
        "events = {'os.rename', 'os.remove', 'os.link', 'os.chmod', 'os.chown'}\n"
        "left = limit\n"
        "def hook(event, arguments):\n"
        "    global left\n"
        "    if event in events:\n"
        "        if left == 0:\n"
        "            os.kill(os.getpid(), 9)\n"
        "        left -= 1\n"
        "sys.addaudithook(hook)\n"
        "placing.place(new, target, datetime.now(UTC), workshop)\n"
    )
    outcomes = set()
    for limit in range(40):
        home = f"case{limit}"
        old = make_database(f"{home}/app.sqlite3", rows=10)
        crash_with_wal(old, 5)
        workshop = tmp_path / home / "workshop"
        new = make_database(f"{home}/workshop/new", rows=20)
        arguments = [str(new), str(old), str(workshop), str(limit)]
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            check=False,
        )
        outcomes.add(count_rows(old))
        assert pragma(old, "integrity_check") == "ok"
        assert outcomes <= {15, 20}
        for kept in set_asides(old):
            assert count_rows(kept) == 15
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
    else:
        pytest.fail("place never came to its end")
    assert outcomes == {15, 20}
