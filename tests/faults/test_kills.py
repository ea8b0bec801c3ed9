"""SIGKILL at any moment of any command: nothing is lost, and the next run clears up and succeeds.

KEEPER_TEST_KILLS says how often each command is killed (default 20);
what has two tests shares them. A writer commits entries all the while, and what
it was told is committed must be there.
"""

from collections import Counter
from itertools import count
from pathlib import Path

import pytest

from sqlitekeeper.database.files import sidecar, size_of
from sqlitekeeper.database.set_aside import set_asides, with_sidecars
from tests.catalogs import newest
from tests.conftest import BackupConfig, Keeper, Outcome, pragma
from tests.database.references import add_references, answers
from tests.faults.conftest import StartWriter
from tests.faults.killing import Killing, kills_asked
from tests.faults.ledger import (
    commit,
    commit_and_die,
    entries,
    make_ledger,
    make_slack,
    problems_of,
    roll_back,
)
from tests.faults.scene import age, assert_tidy, assert_whole, forget_set_aside, litter

BALLAST = 2_000_000
CLEARED = "left by a "


@pytest.fixture
def killing(tmp_path: Path, temporary: Path, staging: Path) -> Killing:
    """Kills keeper in tmp_path."""
    (tmp_path / "data").mkdir()
    return Killing(tmp_path, seed=20261123)


@pytest.fixture
def path(killing: Killing, tmp_path: Path) -> Path:
    """A ledger, in a folder that holds nothing else."""
    path = tmp_path / "data" / "app.sqlite3"
    make_ledger(path, bytes_of_ballast=BALLAST)
    return path


def names(folder: Path) -> set[str]:
    """What lies in a folder."""
    return {entry.name for entry in folder.iterdir()}


def assert_clears_up(run: Outcome, found: set[str]) -> None:
    """A run succeeded, and told what it has removed of the one before."""
    assert run.status == 0, run.err
    for name in found:
        assert name in run.err
        assert CLEARED in run.err


def test_init(killing: Killing, keeper: Keeper, tmp_path: Path) -> None:
    """There is no database or a whole one with every setting, and never a half."""
    folder = tmp_path / "data"
    paths = (folder / f"{number}.sqlite3" for number in count())
    for moment in killing.moments(lambda: ["init", next(paths)]):
        path = next(paths)
        killing.kill(moment, ["init", path])
        found = litter(folder)
        if path.exists():
            assert (pragma(path, "auto_vacuum"), pragma(path, "journal_mode")) == (2, "wal")

        assert_clears_up(keeper("init", path, "--exist-ok"), found)

        assert litter(folder) == set()
        assert (pragma(path, "auto_vacuum"), pragma(path, "journal_mode")) == (2, "wal")
        # A run that was reading its settings back leaves what any killed reader leaves.
        assert size_of(sidecar(path, "-wal")) == size_of(sidecar(path, "-journal")) == 0


@pytest.mark.parametrize("beside", ["beside a writer", "alone"])
@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_convert(
    killing: Killing,
    keeper: Keeper,
    tmp_path: Path,
    start_writer: StartWriter,
    journal_mode: str,
    beside: str,
) -> None:
    """The old database or the new one, whole, and every query has the same answer."""
    path = tmp_path / "data" / "app.sqlite3"
    make_ledger(path, bytes_of_ballast=BALLAST, journal_mode=journal_mode)
    add_references(path)
    expected = answers(path)
    writer = start_writer(path) if beside != "alone" else None
    outcomes: Counter[str] = Counter()

    def command() -> list[object]:
        wanted = "none" if pragma(path, "auto_vacuum") else "incremental"
        return ["convert", path, "--yes", "--auto-vacuum", wanted]

    def assert_whole_and_the_same() -> None:
        assert problems_of(path, writer.committed if writer else 0) == []
        assert answers(path) == expected

    for moment in killing.moments(command, kills_asked() // 4):
        arguments = command()
        number = {"none": 0, "incremental": 2}[str(arguments[-1])]
        was_killed = killing.kill(moment, arguments)
        roll_back(path)
        outcomes[f"killed {was_killed}, converted {pragma(path, 'auto_vacuum') == number}"] += 1
        assert_whole_and_the_same()

        assert keeper(*arguments).status == 0

        assert_whole_and_the_same()
        assert pragma(path, "auto_vacuum") == number
        assert_tidy(tmp_path)
    print(dict(outcomes))
    if writer:
        writer.end()
    roll_back(path)
    assert names(path.parent) == {"app.sqlite3"}


@pytest.mark.parametrize("extent", ["--pages=300", "--all"])
def test_vacuum(
    killing: Killing,
    keeper: Keeper,
    path: Path,
    tmp_path: Path,
    start_writer: StartWriter,
    extent: str,
) -> None:
    """What was freed before stays freed, what was not is freed by the next run."""
    writer = start_writer(path)

    def command() -> list[object]:
        make_slack(path, 400)
        return ["vacuum", path, extent]

    for moment in killing.moments(command, kills_asked() // 2):
        killing.kill(moment, command())
        assert problems_of(path, writer.committed) == []

        run = keeper("vacuum", path, "--all", "--json")

        assert (run.status, run.entry["free_pages_left"]) == (0, 0)
        assert problems_of(path, writer.committed) == []
        assert_tidy(tmp_path)
    writer.end()
    assert names(path.parent) == {"app.sqlite3"}


def test_backup(
    killing: Killing,
    keeper: Keeper,
    path: Path,
    tmp_path: Path,
    staging: Path,
    destination: tuple[str, Path],
    backup_config: BackupConfig,
    start_writer: StartWriter,
) -> None:
    """What has a manifest is whole, and the next run ships."""
    to, folder = destination
    backup_config(path, to=to)
    writer = start_writer(path)
    for moment in killing.moments(lambda: ["backup"], kills_asked() // 2):
        killing.kill(moment, ["backup"])
        assert problems_of(path, writer.committed) == []
        assert_whole(folder)
        found, committed = litter(staging), writer.committed

        assert_clears_up(keeper("backup"), found)

        assert problems_of(newest(folder), committed) == []
        assert_whole(folder)
        assert_tidy(tmp_path)
    writer.end()
    assert names(path.parent) == {"app.sqlite3"}


@pytest.mark.parametrize("keep_last", [2, 20])
def test_backup_as_deltas(
    killing: Killing,
    keeper: Keeper,
    path: Path,
    tmp_path: Path,
    staging: Path,
    destination: tuple[str, Path],
    backup_config: BackupConfig,
    keep_last: int,
) -> None:
    """No delta is ever without its base, nor more than one base in the state folder."""
    to, folder = destination
    backup_config(path, to=to, store="delta", keep_last=keep_last, keep_daily=0)
    assert keeper("backup").status == 0

    def command() -> list[object]:
        commit(path)
        return ["backup"]

    for moment in killing.moments(command, kills_asked() // 4):
        killing.kill(moment, command())
        assert_whole(folder)
        commit(path)
        found = litter(staging)

        assert_clears_up(keeper("backup"), found)

        assert_whole(folder)
        assert_tidy(tmp_path)
        assert len(list((tmp_path / "state/bases").glob("*/*"))) <= 1
        target = tmp_path / "back.sqlite3"
        assert keeper("restore", "app", "--to", target).status == 0
        assert entries(target) == entries(path)
        target.unlink()


def test_prune(
    killing: Killing, keeper: Keeper, tmp_path: Path, staging: Path, backup_config: BackupConfig
) -> None:
    """A snapshot is there with its manifest, or its manifest goes first."""
    path = tmp_path / "data" / "app.sqlite3"
    make_ledger(path, bytes_of_ballast=100_000)
    rules = dict.fromkeys(["keep_daily", "keep_weekly", "keep_monthly", "keep_yearly"], 0)
    backup_config(path, to=tmp_path / "dest", **rules | {"keep_last": 2})
    assert keeper("backup").status == 0
    kept = {newest(tmp_path / "dest").name}

    def command() -> list[object]:
        age(tmp_path / "dest", range(1, 9))
        return ["prune"]

    for moment in killing.moments(command):
        killing.kill(moment, command())
        assert_whole(tmp_path / "dest")

        assert keeper("prune").status == 0

        assert_whole(tmp_path / "dest")
        assert len(list((tmp_path / "dest/app").glob("*.sqlite3"))) == 2
        assert kept < names(tmp_path / "dest/app")
        assert_tidy(tmp_path)


def all_set_aside(path: Path) -> list[Path]:
    """The databases that restores have set aside; each has its main file."""
    whole = set_asides(path)
    expected = {part for aside in whole for part in with_sidecars(aside)}
    assert set(path.parent.glob("*.before-*")) == expected
    return whole


def test_restore(killing: Killing, keeper: Keeper, path: Path, tmp_path: Path) -> None:
    """The old database with all that was committed, or the snapshot; never a part of either."""
    assert keeper("backup", path, "--to", "dest").status == 0
    arguments: list[object] = ["restore", path, "--from", "dest", "--replace"]
    in_wal = True

    def command() -> list[object]:
        nonlocal in_wal
        in_wal = not in_wal
        forget_set_aside(path)
        (commit_and_die if in_wal else commit)(path)
        return arguments

    for moment in killing.moments(command):
        killing.kill(moment, command())
        assert entries(path) in (0, 1)
        assert problems_of(path) == []
        found = litter(path.parent)

        assert_clears_up(keeper(*arguments), found)

        assert entries(path) == 0
        assert problems_of(path) == []
        assert 1 in map(entries, all_set_aside(path))
        assert not [aside for aside in all_set_aside(path) if problems_of(aside)]
        assert_tidy(tmp_path)


def test_undo(killing: Killing, keeper: Keeper, path: Path, tmp_path: Path) -> None:
    """One database is in place, the other one is set aside, and the next undo swaps them."""
    assert keeper("backup", path, "--to", "dest").status == 0
    commit_and_die(path)
    assert keeper("restore", path, "--from", "dest", "--replace").status == 0
    arguments: list[object] = ["restore", path, "--undo"]
    for moment in killing.moments(lambda: arguments):
        killing.kill(moment, arguments)
        in_place = entries(path)
        assert problems_of(path) == []
        found = litter(path.parent)

        assert_clears_up(keeper(*arguments), found)

        assert entries(path) == 1 - in_place
        assert problems_of(path) == []
        assert in_place in map(entries, all_set_aside(path))
        assert_tidy(tmp_path)
