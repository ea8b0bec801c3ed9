"""Which destinations are local folders, and where paths lead."""

import os
import subprocess
from pathlib import Path

import pytest

from sqlitekeeper.config import is_local, local_folder
from sqlitekeeper.config.paths import absolute, split_remote
from sqlitekeeper.errors import ConfigError

LOCAL = [
    "/backups",
    "./backups",
    "../backups",
    "backups",
    "back,ups",
    "/back:ups",
    "./b2:ups",
    "a/b:c",
    "a\\b:c",
    "a/b,c:d",
    "~/backups",
    ".",
]
REMOTE = [
    "b2:",
    "b2:bucket/path",
    "my remote:x",
    ":s3:bucket",
    ":s3,provider=AWS:bucket",
    ":local:/tmp/x",
    "b2,hard_delete:bucket",
    'b2,x="a/b:c":bucket',
    ":/srv",
    ":",
]


@pytest.mark.parametrize("to", LOCAL)
def test_local_folders_are_told_by_rclones_rule(to: str) -> None:
    """No colon before the first slash: a folder."""
    assert is_local(to)


@pytest.mark.parametrize("to", REMOTE)
def test_remotes_are_told_by_rclones_rule(to: str) -> None:
    """A name, or a backend with options, and a colon: a remote."""
    assert not is_local(to)


@pytest.mark.parametrize("to", [to for to in LOCAL if not to.startswith(("~", "/"))])
def test_rclone_agrees_on_what_is_local(to: str, folder: Path, rclone: Path) -> None:
    """The real rclone makes the folder that local_folder names."""
    subprocess.run([rclone, "mkdir", to], check=True, capture_output=True)
    assert Path(local_folder(to, Path())).is_dir()


@pytest.mark.parametrize("to", [to for to in REMOTE if not to.startswith((":s3", ":local"))])
def test_rclone_agrees_on_what_is_remote(to: str, folder: Path, rclone: Path) -> None:
    """The real rclone, which has no such remote, makes no folder."""
    command = [str(rclone), "mkdir", to, "--config", os.devnull]
    done = subprocess.run(command, check=False, capture_output=True, timeout=30)
    assert done.returncode != 0
    assert not list(folder.iterdir())


def test_a_local_destination_is_made_absolute() -> None:
    """A relative folder is below the base, with .. folded."""
    assert local_folder("../backups", Path("/srv/app")) == "/srv/backups"


@pytest.mark.parametrize(
    ("to", "plain"),
    [
        ("b2:bucket//a/./b/", "b2:bucket/a/b"),
        ("b2:bucket/", "b2:bucket"),
        ("b2:./bucket", "b2:bucket"),
        ("b2:", "b2:"),
        ("b2:.", "b2:"),
        ("sftp:/srv//x/", "sftp:/srv/x"),
        ("sftp://", "sftp:/"),
        ("b2:bucket/.hidden/a..b/...", "b2:bucket/.hidden/a..b/..."),
        ("b2:bucket/a:b//c", "b2:bucket/a:b/c"),
        (":local:/srv//x", ":local:/srv/x"),
        ("b2,a='x//../y':bucket//z", "b2,a='x//../y':bucket/z"),
        (':s3,endpoint="http://a/../b:1":x/', ':s3,endpoint="http://a/../b:1":x'),
        (':s3,x="a"":/./""b",y:x//z', ':s3,x="a"":/./""b",y:x/z'),
        (":sftp,host=a'b,y=:x//z", ":sftp,host=a'b,y=:x/z"),
        ("b2,x='unended:y//z", "b2,x='unended:y//z"),
    ],
)
def test_the_path_of_a_remote_is_written_in_one_way(to: str, plain: str) -> None:
    """Without empty steps and dots; names, options and a slash at the start stay."""
    assert local_folder(to, Path("/srv")) == plain


@pytest.mark.parametrize("to", ["b2:bucket/x/../y", "b2:..", "sftp:/a/..", ":s3,a='x':b/../c"])
def test_a_remote_without_its_way_back_up(to: str) -> None:
    """rclone makes a name of .. on an object store, where no listing finds it again."""
    with pytest.raises(ConfigError, match=r"the path of a remote must not have \.\. in it"):
        local_folder(to, Path("/srv"))


@pytest.mark.parametrize(
    "to",
    [
        ':local,x="a""b:/c":one',
        ":local,x='a:b',y:one",
        ":local,x=a'b,y=:one",
        ":local,x=:one",
        ":local:one",
    ],
)
def test_rclone_agrees_on_where_the_path_of_a_remote_begins(
    to: str, folder: Path, rclone: Path
) -> None:
    """The real rclone makes a folder of the path alone."""
    subprocess.run([rclone, "mkdir", to], check=True, capture_output=True)

    parts = split_remote(to)

    assert parts
    assert parts[2] == "one"
    assert [one.name for one in folder.iterdir()] == ["one"]


@pytest.mark.parametrize(("to", "below"), [("~", ""), ("~/x", "x")])
def test_a_tilde_is_the_home_folder(to: str, below: str, tmp_path: Path) -> None:
    """~ and ~/x are expanded as a shell would."""
    assert local_folder(to, Path("/srv")) == str(tmp_path / "home" / below)


def test_a_tilde_elsewhere_is_a_plain_character() -> None:
    """~user and a~ are names of folders."""
    assert local_folder("~root", Path("/srv")) == "/srv/~root"


def test_a_tilde_without_a_home_folder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user that the system does not know, without $HOME, has to write the path in full."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999)
    with pytest.raises(ConfigError, match="~/x: this user has no home folder"):
        local_folder("~/x", Path("/srv"))


@pytest.mark.parametrize("to", ["", "-v:x"])
def test_a_destination_that_rclone_would_misread_is_refused(to: str) -> None:
    """An empty text is no folder, and a leading dash would be an option."""
    with pytest.raises(ConfigError):
        local_folder(to, Path("/srv"))


def test_symlinks_are_not_resolved(folder: Path) -> None:
    """A path stays the one that the user knows."""
    (folder / "link").symlink_to("/srv")
    assert absolute("link/a/../b") == folder / "link/b"


def test_a_removed_working_folder_only_matters_to_relative_paths(folder: Path) -> None:
    """A full path works from anywhere; a relative one says what is wrong."""
    folder.rmdir()
    assert absolute("/srv/x") == Path("/srv/x")
    with pytest.raises(ConfigError, match="has been removed"):
        absolute("x")
