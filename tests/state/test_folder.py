"""The state folder: keeper's own, and closed to others."""

from pathlib import Path

import pytest

from sqlitekeeper.errors import KeeperError
from sqlitekeeper.state.folder import prepare_state_folder
from tests.conftest import needs_root


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_folder_is_made_private(tmp_path: Path) -> None:
    """Made with its parents, for this user only."""
    assert mode(prepare_state_folder(tmp_path / "var" / "state")) == 0o700


def test_loose_folder_of_keepers_own_is_closed(tmp_path: Path) -> None:
    """An empty folder, or one that holds only keeper's things, becomes private."""
    tmp_path.joinpath("state", "locks").mkdir(parents=True)
    (tmp_path / "state" / "history.sqlite3").touch()
    (tmp_path / "state").chmod(0o755)

    assert mode(prepare_state_folder(tmp_path / "state")) == 0o700


def test_folder_of_the_application_stays_open(tmp_path: Path) -> None:
    """Closing a folder that others use too would lock the application out."""
    (tmp_path / "shared").mkdir(mode=0o755)
    (tmp_path / "shared" / "app.sqlite3").touch()

    assert mode(prepare_state_folder(tmp_path / "shared")) == 0o755


def test_folder_that_everyone_writes_to_is_refused(tmp_path: Path) -> None:
    """In a folder such as /tmp, anybody could take keeper's names; nor is it changed."""
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "somebody's").touch()
    (tmp_path / "public").chmod(0o1777)

    with pytest.raises(KeeperError, match="everyone may write to it") as caught:
        prepare_state_folder(tmp_path / "public")

    assert "KEEPER_STATE" in (caught.value.hint or "")
    assert mode(tmp_path / "public") == 0o1777


def test_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    """A file where the folder should be is said, with what to set instead."""
    (tmp_path / "state").touch()

    with pytest.raises(KeeperError, match="state folder") as caught:
        prepare_state_folder(tmp_path / "state")

    assert "KEEPER_STATE" in (caught.value.hint or "")


@needs_root
def test_folder_on_proc_cannot_be_made() -> None:
    """A place that not even root can write is an error with a hint, too."""
    with pytest.raises(KeeperError, match="state folder"):
        prepare_state_folder(Path("/proc/keeper"))
