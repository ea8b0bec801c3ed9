"""The crontabs of recipes/cron, run line by line as cron would run them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, MakeDatabase, count_rows, pragma

CRONTAB = REPOSITORY / "recipes/cron/keeper.crontab"
LOGGED = REPOSITORY / "recipes/cron/logged.crontab"
JOB = re.compile(r"^(\S+ ){5}(?P<command>.+)$")


def variables(crontab: Path) -> dict[str, str]:
    """The crontab's own environment lines."""
    lines = (line.partition("=") for line in crontab.read_text().splitlines())
    return {name: value for name, equals, value in lines if equals and name.isidentifier()}


def commands(crontab: Path) -> list[str]:
    """The command of each job, as cron hands it to the shell."""
    matches = (JOB.match(line) for line in crontab.read_text().splitlines())
    return [m["command"] for m in matches if m and not m.string.startswith("#")]


@pytest.fixture
def run_job(tmp_path: Path) -> list[str]:
    """The start of a command line with cron's environment and nothing else."""
    home = tmp_path / "home"
    environment = variables(LOGGED) | {
        "KEEPER": str(Path(sys.executable).with_name("keeper")),
        "KEEPER_CONFIG": str(tmp_path / "keeper.toml"),
        "LOG": str(tmp_path / "keeper.log"),
        "HOME": str(home),
        "LOGNAME": "application",
        "SHELL": "/bin/sh",
        # Not cron's, but the state folder of root is the machine's own.
        "KEEPER_STATE": os.environ["KEEPER_STATE"],
    }
    pairs = [f"{name}={value}" for name, value in environment.items()]
    return ["env", "-i", *pairs, "/bin/sh", "-c"]


def test_the_recipe_names_all_jobs() -> None:
    """Hourly vacuum, daily backup, weekly drill, at the same times in both crontabs."""
    jobs = ["$KEEPER vacuum", "$KEEPER backup", "$KEEPER drill --rotate"]
    assert commands(CRONTAB) == [f"{job} --quiet" for job in jobs]
    assert [command.partition(" >>")[0] for command in commands(LOGGED)] == jobs
    assert variables(CRONTAB)["PATH"] == "/usr/bin:/bin"
    assert variables(CRONTAB).items() < variables(LOGGED).items()
    quiet, logged = (
        [line[:10] for line in crontab.read_text().splitlines() if "$KEEPER" in line]
        for crontab in (CRONTAB, LOGGED)
    )
    assert quiet == logged


def test_jobs_work_under_crons_environment_and_say_nothing(
    tmp_path: Path, make_database: MakeDatabase, run_job: list[str]
) -> None:
    """rclone is found beside keeper although cron's PATH lacks the virtual environment."""
    path = make_database(rows=4000, deleted=3000)
    free_before = pragma(path, "freelist_count")
    (tmp_path / "keeper.toml").write_text(
        '[[databases]]\npath = "app.sqlite3"\n[backup]\nto = "backups"\n'
    )

    for command in commands(CRONTAB):
        done = subprocess.run([*run_job, command], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    assert pragma(path, "freelist_count") < free_before
    (snapshot,) = (tmp_path / "backups/app").glob("app-*.sqlite3")
    assert count_rows(snapshot) == 1000


def test_logged_jobs_write_a_log_and_still_say_nothing(
    tmp_path: Path, make_database: MakeDatabase, run_job: list[str]
) -> None:
    """Every step is in it."""
    make_database(rows=400)
    (tmp_path / "keeper.toml").write_text(
        '[[databases]]\npath = "app.sqlite3"\n[backup]\nto = "backups"\n'
    )

    for command in commands(LOGGED)[:2]:
        done = subprocess.run([*run_job, command], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    log = (tmp_path / "keeper.log").read_text()
    for step in ("app: freed", "app: snapshot", "app: shipped"):
        assert step in log


def test_job_that_fails_speaks_and_ends_with_a_status(tmp_path: Path, run_job: list[str]) -> None:
    """That is what cron mails."""
    (tmp_path / "keeper.toml").write_text(
        '[[databases]]\npath = "gone.sqlite3"\n[backup]\nto = "backups"\n'
    )

    vacuum, backup, _ = commands(CRONTAB)
    for command in (vacuum, backup):
        done = subprocess.run([*run_job, command], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "gone.sqlite3: no such file" in done.stderr

    done = subprocess.run(
        [*run_job, commands(LOGGED)[1]], capture_output=True, text=True, check=False
    )
    assert "gone.sqlite3: no such file" in done.stdout
    assert done.stdout == (tmp_path / "keeper.log").read_text()


@pytest.mark.parametrize("crontab", [CRONTAB, LOGGED], ids=lambda crontab: crontab.name)
def test_crontab_is_accepted_by_cron(crontab: Path) -> None:
    """By the real crontab program, in its test mode."""
    try:
        done = subprocess.run(["crontab", "-T", crontab], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs crontab: apt-get install cron")
    if b"invalid option" in done.stderr:
        pytest.skip("this crontab has no test mode")
    assert done.returncode == 0, done.stderr
