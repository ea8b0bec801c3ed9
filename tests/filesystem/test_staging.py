"""The private folder for snapshots, and the litter of killed runs."""

import fcntl
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sqlitekeeper.errors import KeeperError
from sqlitekeeper.filesystem.private_folder import (
    MARKER,
    STAGING,
    remove_staging_litter,
    staging_folder,
)
from tests.conftest import NOBODY


def litter(parent: Path, name: str = "killed_1", *, marked: bool = True) -> Path:
    """What a run leaves that was killed while it had a snapshot in its folder."""
    folder = parent / f"{STAGING}{name}"
    folder.mkdir(mode=0o700, parents=True)
    (folder / "snapshots").mkdir()
    (folder / "snapshots" / "app.sqlite3").write_bytes(b"a part of a snapshot")
    if marked:
        (folder / MARKER).touch()
    return folder


def test_folder_is_private_and_gone_in_the_end(staging: Path) -> None:
    """Nobody else can look into it, and nothing of it stays."""
    with staging_folder(staging) as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert folder.parent == staging
        (folder / "file").touch()

    assert list(staging.iterdir()) == []


def test_folder_is_private_whatever_the_umask(staging: Path) -> None:
    """A generous umask does not open it."""
    before = os.umask(0)
    try:
        with staging_folder(staging) as folder:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert stat.S_IMODE((folder / MARKER).stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_folder_is_gone_after_an_error(staging: Path) -> None:
    """What goes wrong inside leaves nothing either."""
    with suppress(ZeroDivisionError), staging_folder(staging) as folder:
        (folder / "file").touch()
        raise ZeroDivisionError

    assert list(staging.iterdir()) == []


def test_folder_names_cannot_be_foreseen(staging: Path) -> None:
    """Two runs have two folders, of names that nobody can take in advance."""
    with staging_folder(staging) as one, staging_folder(staging) as other:
        assert one != other


def test_absent_staging_folder_is_named(tmp_path: Path) -> None:
    """The message says which folder is missing, the hint which key names it."""
    with (
        pytest.raises(KeeperError, match="nowhere: staging folder: No such file") as caught,
        staging_folder(tmp_path / "nowhere"),
    ):
        pass

    assert "backup.staging" in str(caught.value.hint)


def test_litter_of_a_killed_run_is_removed(staging: Path) -> None:
    """A folder whose run is gone goes, with all that is in it."""
    folder = litter(staging)

    assert remove_staging_litter(staging) == [folder]
    assert not folder.exists()


def test_litter_in_a_folder_of_a_group_is_removed(staging: Path) -> None:
    """What is made there inherits its group, and the bit that says so."""
    staging.chmod(0o2775)
    folder = litter(staging)

    assert folder.stat().st_mode & stat.S_ISGID
    assert remove_staging_litter(staging) == [folder]


def test_folder_of_a_live_run_stays(staging: Path) -> None:
    """What a running keeper is using is no litter."""
    with staging_folder(staging) as folder:
        assert remove_staging_litter(staging) == []
        assert folder.exists()


def test_folder_without_a_marker_stays(staging: Path) -> None:
    """What is in it is not keeper's."""
    folder = litter(staging, marked=False)

    assert remove_staging_litter(staging) == []
    assert folder.exists()


def test_empty_folder_is_removed(staging: Path) -> None:
    """A run that was killed before it made its marker leaves litter too."""
    folder = litter(staging, marked=False)
    shutil.rmtree(folder / "snapshots")

    assert remove_staging_litter(staging) == [folder]


def test_empty_folder_of_a_live_run_stays(staging: Path) -> None:
    """The lock counts, not what is in it."""
    with staging_folder(staging) as folder:
        (folder / MARKER).unlink()

        assert remove_staging_litter(staging) == []
        assert folder.exists()


def test_folder_of_a_person_that_is_named_like_litter_stays(staging: Path) -> None:
    """Only what mkdtemp names, is private, and was marked, is keeper's."""
    named = litter(staging, "notes", marked=False)
    unwritten = litter(staging, "aaaabbbb", marked=False)
    public = litter(staging, "ccccdddd")
    public.chmod(0o755)

    assert remove_staging_litter(staging) == []
    assert all(folder.exists() for folder in (named, unwritten, public))


@pytest.mark.parametrize("step", ["open", "flock"])
def test_folder_that_is_taken_for_litter_at_once_is_made_anew(
    staging: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Until it has its lock it looks like one of a killed run."""
    module, removed = {"open": os, "flock": fcntl}[step], list[Path]()
    real = getattr(module, step)

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(module, step, real)
        removed.extend(remove_staging_litter(staging))
        return real(*arguments, **options)

    monkeypatch.setattr(module, step, meanwhile)
    with staging_folder(staging) as folder:
        assert len(removed) == 1
        assert list(staging.iterdir()) == [folder]
        assert remove_staging_litter(staging) == []

    assert list(staging.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_folder_of_another_user_stays(staging: Path) -> None:
    """Staging may be a folder for everyone: others' litter is theirs."""
    folder = litter(staging)
    os.chown(folder, NOBODY, NOBODY)

    assert remove_staging_litter(staging) == []
    assert folder.exists()


def test_link_that_is_named_like_litter_stays(staging: Path, tmp_path: Path) -> None:
    """A planted symlink does not lead the removal anywhere."""
    target = litter(tmp_path, "target_1")
    link = staging / f"{STAGING}planted1"
    link.symlink_to(target)

    assert remove_staging_litter(staging) == []
    assert (target / "snapshots" / "app.sqlite3").exists()
    assert link.is_symlink()


def test_link_inside_litter_is_not_followed(staging: Path, tmp_path: Path) -> None:
    """What a link in litter points to stays."""
    folder = litter(staging)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    (folder / "link").symlink_to(precious)

    remove_staging_litter(staging)

    assert not folder.exists()
    assert (precious / "file").exists()


def test_marker_that_is_a_link_is_not_followed(staging: Path, tmp_path: Path) -> None:
    """A folder with a planted marker is left alone."""
    folder = litter(staging, marked=False)
    (folder / MARKER).symlink_to(tmp_path / "elsewhere")

    assert remove_staging_litter(staging) == []
    assert not (tmp_path / "elsewhere").exists()


def test_other_files_stay(staging: Path) -> None:
    """Only folders of keeper's own name are looked at."""
    (staging / "notes").mkdir()
    (staging / f"{STAGING}file1234").touch()

    assert remove_staging_litter(staging) == []
    assert len(list(staging.iterdir())) == 2


def test_absent_folder_has_no_litter(tmp_path: Path) -> None:
    """Looking for litter where there is no folder finds none."""
    assert remove_staging_litter(tmp_path / "nowhere") == []
