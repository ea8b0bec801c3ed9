"""What keeper does not open for the sake of what would be lost or mixed."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sqlitekeeper.database.measure import measure
from tests.conftest import Beside, Keeper, MakeDatabase, needs_root


@pytest.fixture(params=["hard link", pytest.param("mount", marks=needs_root)])
def second_name(
    request: pytest.FixtureRequest, make_database: MakeDatabase, tmp_path: Path
) -> Iterator[Path]:
    """Another name of app.sqlite3, which an application writes to by its first."""
    path, other = make_database(rows=10, deleted=5), tmp_path / "data/app.sqlite3"
    other.parent.mkdir()
    if request.param == "hard link":
        other.hardlink_to(path)
        yield other
        return
    other.touch()
    if subprocess.run(["mount", "--bind", path, other], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("nothing can be mounted here")
    yield other
    subprocess.run(["umount", "--lazy", other], check=True)


@pytest.mark.parametrize("command", [("vacuum",), ("backup", "--to", "to"), ("report",)])
def test_database_is_not_opened_by_its_second_name(
    keeper: Keeper, beside: Beside, second_name: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """What the application has in its WAL would be missing there, and overwritten."""
    path = tmp_path / "app.sqlite3"
    beside("idle", path)

    run = keeper(*command, second_name)

    assert run.status == 1
    assert "keeper would damage the database" in run.out + run.err
    assert list(second_name.parent.iterdir()) == [second_name]


def test_database_with_two_names_is_opened_by_the_one_in_use(
    keeper: Keeper, make_database: MakeDatabase, beside: Beside, tmp_path: Path
) -> None:
    """The WAL beside it says so."""
    path = make_database(rows=3)
    (tmp_path / "link.sqlite3").hardlink_to(path)
    beside("idle", path)

    assert keeper("backup", path, "--to", tmp_path / "to").status == 0


def test_name_that_a_killed_restore_has_given_is_no_second_one(
    make_database: MakeDatabase,
) -> None:
    """No application opens that."""
    path = make_database(rows=3)
    path.with_name(f"{path.name}.before-20261126T030000Z").hardlink_to(path)

    assert measure(path).bytes == path.stat().st_size


def test_second_name_outside_wal_mode_is_no_obstacle(make_database: MakeDatabase) -> None:
    """Locks go by the file there, whatever it is called."""
    path = make_database(rows=3, journal_mode="delete")
    other = path.with_name("link.sqlite3")
    other.hardlink_to(path)

    assert measure(other).bytes == path.stat().st_size
