"""The progress line of real commands: on a terminal, and nowhere else."""

from pathlib import Path

import pytest

from tests.conftest import BackupConfig, Keeper, MakeDatabase, WrapRclone

# How far an upload is that takes longer than a second.
SLOW = """
n=$(cat FILE 2>/dev/null || echo 0)
echo $((n + 1000)) > FILE
echo "{\\"bytes\\": $n}"
exit 0
"""


@pytest.fixture
def slow_upload(
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    wrap_rclone: WrapRclone,
    tmp_path: Path,
) -> None:
    """A backup that takes a while to upload the snapshot."""
    backup_config(make_database(rows=100), to="dest")
    wrap_rclone(
        copy='case "$to" in *.sqlite3) sleep 3;; esac',
        stats=SLOW.replace("FILE", f"{tmp_path}/moved"),
    )


def test_upload_has_a_line_of_progress(slow_upload: None, terminal: Keeper) -> None:
    """With share, rate and time left; it is gone when the results are there."""
    run = terminal("backup", "--no-color", env={"COLUMNS": "100"})

    assert run.status == 0
    shown = [text for text in run.out.split("\r") if text.startswith("app upload [")]
    assert shown
    assert all("/s" in text and " left" in text and len(text) <= 99 for text in shown)
    assert run.out.splitlines()[-1].startswith("1 database: 1 shipped")


@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_there_is_none_where_nobody_watches(
    slow_upload: None, terminal: Keeper, option: str, tmp_path: Path
) -> None:
    """Quiet is quiet, and JSON is for programs."""
    run = terminal("backup", option)

    assert run.status == 0
    assert "upload [" not in run.out


def test_there_is_none_in_a_log(slow_upload: None, keeper: Keeper) -> None:
    """Without a terminal each step has its line."""
    run = keeper("backup")

    assert run.status == 0
    assert "upload [" not in run.err
    assert "\r" not in run.out + run.err
