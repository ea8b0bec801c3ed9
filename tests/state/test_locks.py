"""One keeper run at a time on each database."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sqlitekeeper.errors import KeeperError, LockedError
from sqlitekeeper.state.locks import database_lock, lock_path
from tests.conftest import REPOSITORY, WAIT_SECONDS

HOLD = """
import sys
from pathlib import Path
from sqlitekeeper.state.locks import database_lock
with database_lock(Path(sys.argv[1]), Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""

Hold = Callable[[Path, Path], subprocess.Popen[str]]


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Hold keeper's lock on a database in another process."""
    with ExitStack() as stack:

        def start(state: Path, database: Path) -> subprocess.Popen[str]:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", HOLD, str(state), str(database)],
                    cwd=REPOSITORY,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            return process

        yield start


def test_second_process_is_refused(tmp_path: Path, hold: Hold) -> None:
    """Exit status 11 belongs to this."""
    hold(tmp_path / "state", tmp_path / "app.db")

    with (
        pytest.raises(LockedError, match="another keeper run") as caught,
        database_lock(tmp_path / "state", tmp_path / "app.db"),
    ):
        pass

    assert caught.value.exit_code == 11


def test_other_databases_are_free(tmp_path: Path, hold: Hold) -> None:
    """Each database has a lock of its own."""
    hold(tmp_path / "state", tmp_path / "app.db")

    with database_lock(tmp_path / "state", tmp_path / "other.db"):
        pass


def test_killed_process_holds_nothing(tmp_path: Path, hold: Hold) -> None:
    """The kernel drops the lock with the process, however that ends."""
    holder = hold(tmp_path / "state", tmp_path / "app.db")
    holder.kill()
    holder.wait(WAIT_SECONDS)

    with database_lock(tmp_path / "state", tmp_path / "app.db"):
        pass


def test_lock_is_waited_for(tmp_path: Path, hold: Hold) -> None:
    """A run that may wait gets the lock when the other one ends."""
    holder = hold(tmp_path / "state", tmp_path / "app.db")
    assert holder.stdin is not None
    holder.stdin.close()

    with database_lock(tmp_path / "state", tmp_path / "app.db", wait_seconds=WAIT_SECONDS):
        assert holder.wait(WAIT_SECONDS) == 0


def test_lock_is_free_after_an_error(tmp_path: Path) -> None:
    """An exception gives the lock back."""
    with (
        pytest.raises(ZeroDivisionError),
        database_lock(tmp_path / "state", tmp_path / "app.db"),
    ):
        raise ZeroDivisionError

    with database_lock(tmp_path / "state", tmp_path / "app.db"):
        pass


def test_every_name_of_a_database_is_one_lock(tmp_path: Path) -> None:
    """Through a symlink it is the same database."""
    (tmp_path / "link.db").symlink_to(tmp_path / "app.db")

    assert lock_path(tmp_path, tmp_path / "link.db") == lock_path(tmp_path, tmp_path / "app.db")


def test_lock_files_are_private(tmp_path: Path) -> None:
    """Nobody else can take or look at keeper's locks."""
    with database_lock(tmp_path / "state", tmp_path / "app.db"):
        path = lock_path(tmp_path / "state", tmp_path / "app.db")

        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700


def test_nothing_is_put_beside_the_database(tmp_path: Path) -> None:
    """Locks live in the state folder only."""
    (tmp_path / "data").mkdir()

    with database_lock(tmp_path / "state", tmp_path / "data" / "app.db"):
        assert list((tmp_path / "data").iterdir()) == []


def test_symlink_in_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    """Nobody makes keeper create a file elsewhere."""
    path = lock_path(tmp_path / "state", tmp_path / "app.db")
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "elsewhere")

    with (
        pytest.raises(KeeperError, match="lock file"),
        database_lock(tmp_path / "state", tmp_path / "app.db"),
    ):
        pass

    assert not (tmp_path / "elsewhere").exists()
