"""recipes/nas: what happens to a backup when the mount is there, and when it is gone."""

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Keeper, MakeDatabase, Mount, OtherUser, needs_root
from tests.recipes.remotes import RECIPES, edited
from tests.recipes.test_cron import commands, variables

NAS = RECIPES / "nas"


def configuration(storage: Path, mount: Path) -> str:
    """The recipe's keeper.toml with a test's folders."""
    return edited("nas", "keeper.toml", {"/srv/app/storage": str(storage), "/mnt/nas": str(mount)})


@pytest.mark.skipif(shutil.which("findmnt") is None, reason="needs findmnt: util-linux")
def test_lines_for_fstab_are_well_formed(tmp_path: Path) -> None:
    """Options as mount knows them; each line alone, for they share the mount point."""
    lines = [one for one in (NAS / "fstab").read_text().splitlines() if not one.startswith("#")]
    assert [line.split()[2] for line in lines] == ["nfs4", "cifs"]
    for line in lines:
        file = tmp_path / "fstab"
        file.write_text(line.replace("/mnt/nas", str(tmp_path)) + "\n")
        command = ["findmnt", "--verify", "--verbose", "--tab-file", str(file)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "[E]" not in done.stdout


def test_drop_in_opens_the_folder_that_the_configuration_names() -> None:
    """And has it mounted first."""
    drop_in = configparser.ConfigParser(interpolation=None, strict=True)
    drop_in.read(NAS / "mount.conf")
    assert drop_in["Unit"]["RequiresMountsFor"] == drop_in["Service"]["ReadWritePaths"]
    assert f'to = "{drop_in["Service"]["ReadWritePaths"]}/' in (NAS / "keeper.toml").read_text()


@needs_root
def test_user_writes_into_the_mount_and_not_into_an_empty_mount_point(
    other_user: OtherUser, tmp_path: Path
) -> None:
    """The mount point is root's, the folder below it the user's."""
    point = other_user.folder / "mnt"
    database = other_user.folder / "production.sqlite3"
    config = other_user.folder / "keeper.toml"
    config.write_text(configuration(other_user.folder, point))
    config.chmod(0o644)
    assert other_user.keeper("init", database).status == 0
    point.mkdir(mode=0o755)

    done = other_user.keeper("backup", "-c", config)
    assert done.status == 1
    assert "Permission denied" in done.err
    assert not list(point.iterdir())

    (point / "keeper").mkdir()
    shutil.chown(point / "keeper", other_user.uid, other_user.gid)
    assert other_user.keeper("backup", "-c", config).status == 0
    (snapshot,) = point.rglob("production-*.sqlite3")
    assert oct(snapshot.stat().st_mode)[-3:] == "600"


@needs_root
def test_immutable_mount_point_keeps_root_out_too(
    tmp_path: Path, make_database: MakeDatabase, keeper: Keeper
) -> None:
    """By chattr +i, where the file system knows that."""
    point = tmp_path / "mnt"
    point.mkdir()
    make_database("production.sqlite3")
    (tmp_path / "keeper.toml").write_text(configuration(tmp_path, point))
    if subprocess.run(["chattr", "+i", point], capture_output=True).returncode:
        pytest.skip("this file system has no immutable folders")
    try:
        done = keeper("backup")
    finally:
        subprocess.run(["chattr", "-i", point], check=True)
    assert done.status == 1
    assert "Operation not permitted" in done.err
    assert not list(point.iterdir())


def test_job_for_cron_asks_for_the_mount_first(
    tmp_path: Path, make_database: MakeDatabase, mount: Mount
) -> None:
    """Without it keeper is not even started, and cron has something to mail."""
    _, backup = commands(NAS / "keeper.crontab")
    assert variables(NAS / "keeper.crontab")["NAS"] == "/mnt/nas"
    make_database("production.sqlite3", rows=20)
    empty = tmp_path / "empty"
    empty.mkdir()
    config = tmp_path / "keeper.toml"

    def run(point: Path) -> "subprocess.CompletedProcess[str]":
        config.write_text(configuration(tmp_path, point))
        program = Path(sys.executable).with_name("keeper")
        environment = [f"KEEPER={program}", f"KEEPER_CONFIG={config}", f"NAS={point}"]
        environment += ["PATH=/usr/bin:/bin", f"KEEPER_STATE={tmp_path / 'state'}"]
        command = ["env", "-i", *environment, "/bin/sh", "-c", backup]
        return subprocess.run(command, capture_output=True, text=True)

    done = run(empty)
    assert (done.returncode, done.stdout) == (
        1,
        f"backup failed, or {empty} is not mounted\n",
    )
    assert not list(empty.iterdir())

    mounted = mount("nas", "4m")
    done = run(mounted)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(mounted.rglob("production-*.sqlite3"))
