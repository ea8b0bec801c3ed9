"""The rules of recipes/logrotate, by logrotate itself, on the log that recipes/cron names."""

import gzip
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, OtherUser

RULES = REPOSITORY / "recipes/logrotate/keeper"
needs_logrotate = pytest.mark.skipif(
    shutil.which("logrotate", path="/usr/sbin:/usr/bin") is None,
    reason="needs logrotate: apt-get install logrotate",
)


def logrotate(state: Path, *arguments: object) -> str:
    """Run it with a state file of its own; what it says."""
    done = subprocess.run(
        ["/usr/sbin/logrotate", "--state", state, *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def test_rules_are_for_the_log_that_cron_writes() -> None:
    """By its path."""
    crontab = (REPOSITORY / "recipes/cron/logged.crontab").read_text()
    (log,) = [line for line in crontab.splitlines() if line.startswith("LOG=")]
    assert f"\n{log.removeprefix('LOG=')} {{\n" in RULES.read_text()


@needs_logrotate
def test_log_is_rotated_in_the_users_own_folder(other_user: OtherUser, tmp_path: Path) -> None:
    """Twice: the first is compressed only then, for a run may still be writing to it."""
    folder = other_user.folder / "log"
    rules = RULES.read_text().replace("/var/log/keeper", str(folder))
    group = subprocess.run(["id", "-gn", other_user.name], capture_output=True, text=True)
    rules = rules.replace("app app", f"{other_user.name} {group.stdout.strip()}")
    file = tmp_path / "keeper"
    file.write_text(rules)
    file.chmod(0o644)
    folder.mkdir()
    shutil.chown(folder, other_user.uid, other_user.gid)
    log, state = folder / "keeper.log", tmp_path / "logrotate.state"

    assert "error" not in logrotate(state, "--debug", file)
    for text in ("first\n", "second\n"):
        log.write_text(text)
        shutil.chown(log, other_user.uid, other_user.gid)
        logrotate(state, "--force", file)

    assert log.read_text() == ""
    assert (log.stat().st_uid, oct(log.stat().st_mode)[-3:]) == (other_user.uid, "640")
    assert (folder / "keeper.log.1").read_text() == "second\n"
    assert gzip.decompress((folder / "keeper.log.2.gz").read_bytes()) == b"first\n"
