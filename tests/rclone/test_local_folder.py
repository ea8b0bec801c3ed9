"""A local folder as a destination: what rclone would do there, done by keeper."""

import os
import stat
from pathlib import Path

import pytest

from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.errors import RcloneError
from tests.conftest import as_ordinary_user, contents


@pytest.fixture
def rclone() -> Rclone:
    """One that cannot be run."""
    return Rclone("/no/such/rclone")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with the file app/x in it."""
    (tmp_path / "from" / "app").mkdir(parents=True)
    (tmp_path / "from" / "app" / "x").write_bytes(b"content")
    return tmp_path / "from"


def test_file_arrives_whole_and_private(rclone: Rclone, source: Path, tmp_path: Path) -> None:
    """Whatever the umask is, nobody else may read it."""
    heard: list[int] = []
    before = os.umask(0)
    try:
        report = rclone.copy(source, str(tmp_path / "deep" / "to"), ["app/x"], heard.append)
    finally:
        os.umask(before)

    assert (set(report.done), report.error, heard) == ({"app/x"}, None, [7])
    made = [tmp_path / "deep", *(tmp_path / "deep").rglob("*")]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_dir()}
    assert modes == {0o700}
    assert stat.S_IMODE((tmp_path / "deep/to/app/x").stat().st_mode) == 0o600


def test_relative_folder_is_a_folder(
    rclone: Rclone, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written, flushed and read back as any other."""
    monkeypatch.chdir(tmp_path)

    assert rclone.copy(source, "to", ["app/x"]).done == {"app/x"}
    held = rclone.confirm("to", ["app/x"], hashes=True)

    assert held["app/x"].hashes["sha256"].startswith("ed7002b439e9ac84")


def test_what_is_replaced_is_replaced_at_once(rclone: Rclone, source: Path, tmp_path: Path) -> None:
    """Who has the old file open goes on reading it."""
    (tmp_path / "to/app").mkdir(parents=True)
    (tmp_path / "to/app/x").write_bytes(b"old")
    with (tmp_path / "to/app/x").open("rb") as old:
        assert rclone.copy(source, str(tmp_path / "to"), ["app/x"]).error is None
        assert old.read() == b"old"
    assert contents(tmp_path / "to") == {"app/x": b"content"}


def test_one_that_fails_stops_no_other_and_leaves_no_part(
    rclone: Rclone, source: Path, tmp_path: Path
) -> None:
    """A folder is in its way, a source is gone."""
    (source / "app/y").write_bytes(b"y")
    (tmp_path / "to/app/y").mkdir(parents=True)

    report = rclone.copy(source, str(tmp_path / "to"), ["app/gone", "app/x", "app/y"])

    assert report.done == {"app/x"}
    assert "No such file" in report.problem_of("app/gone")
    assert f"{tmp_path}/to/app/y" in report.problem_of("app/y")
    assert contents(tmp_path / "to") == {"app/x": b"content"}


def test_folder_that_is_not_there_is_told_from_an_empty_one(rclone: Rclone, tmp_path: Path) -> None:
    """The one has nothing yet, of the other all may be gone."""
    assert rclone.list_objects(str(tmp_path / "never")) is None
    (tmp_path / "empty").mkdir()
    assert rclone.list_objects(str(tmp_path / "empty")) == {}


def test_folder_that_may_not_be_read_is_an_error(rclone: Rclone, tmp_path: Path) -> None:
    """It is not an empty one."""
    closed = tmp_path / "to" / "app"
    closed.mkdir(parents=True)
    tmp_path.chmod(0o755)
    closed.chmod(0)

    with as_ordinary_user(), pytest.raises(RcloneError, match="Permission denied") as caught:
        rclone.list_objects(str(tmp_path / "to"))

    assert str(tmp_path / "to") in str(caught.value)
    assert "may not read or write" in str(caught.value.hint)


def test_what_is_no_folder_is_an_error(rclone: Rclone, source: Path) -> None:
    """A file that bears the destination's name."""
    with pytest.raises(RcloneError, match="Not a directory"):
        rclone.list_objects(str(source / "app/x"))


@pytest.mark.parametrize("follow", [False, True])
def test_symlinks_below_are_not_followed_unless_that_is_asked_for(
    source: Path, tmp_path: Path, follow: bool
) -> None:
    """As by rclone: a link may lead to the staging folder, or round in a circle."""
    to = tmp_path / "to"
    to.mkdir()
    (to / "app").symlink_to(source / "app")
    (to / "circle").symlink_to(to)
    rclone = Rclone("/no/such/rclone", ["--copy-links"] if follow else [])
    there = {"app/x"} if follow else set()

    assert (rclone.list_objects(str(to)) or {}).keys() == there
    assert rclone.confirm(str(to), ["app/x"]).keys() == there
    assert rclone.fetch(str(to), ["app/x"], tmp_path / "back").done == there
    assert rclone.delete(str(to), ["app/x"]).done == there
    assert (source / "app/x").exists() is not follow


def test_what_is_not_there_is_deleted_without_an_error(rclone: Rclone, source: Path) -> None:
    """Nor is it claimed to have been."""
    report = rclone.delete(str(source), ["app/x", "app/never"])

    assert (set(report.done), report.error) == ({"app/x"}, None)
    assert contents(source) == {}
