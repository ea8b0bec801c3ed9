"""The units of recipes/systemd: by systemd's own tools, and run among read-only mounts."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, OtherUser, count_rows, needs_root, pragma

UNITS = REPOSITORY / "recipes/systemd"
WORK = ["vacuum", "backup", "drill"]
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: apt-get install systemd"
)


def directives(unit: Path) -> list[tuple[str, str, str]]:
    """The lines of a unit: section, name, value."""
    found = []
    section = ""
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            assert equals
            assert name.isalnum()
            found.append((section, name, value))
    return found


def setting(unit: str, name: str) -> str:
    """The value of a directive that a unit has once."""
    (value,) = [value for _, one, value in directives(UNITS / unit) if one == name]
    return value


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units in a folder, with the path of this keeper set as the recipe says."""
    folder = tmp_path / "system"
    shutil.copytree(UNITS, folder, ignore=shutil.ignore_patterns("*.md", "*.toml"))
    program = tmp_path / "keeper"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for unit in folder.iterdir():
        unit.write_text(unit.read_text().replace("/opt/keeper/bin/keeper", str(program)))
    return folder


@needs_systemd
def test_units_are_accepted_by_systemd(installed: Path) -> None:
    """Without a word of complaint."""
    done = subprocess.run(
        [
            "systemd-analyze",
            "verify",
            "--man=no",
            "--recursive-errors=no",
            *sorted(map(str, installed.iterdir())),
        ],
        env=os.environ | {"SYSTEMD_UNIT_PATH": f"{installed}:"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if "keeper" in line]


@needs_systemd
@pytest.mark.parametrize("work", WORK)
def test_services_are_hardened(installed: Path, work: str) -> None:
    """systemd's measure of exposure goes from 0 to 10; 9.6 is a service without any hardening."""
    unit = installed / f"keeper-{work}@.service"
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=15", unit],
        capture_output=True,
        text=True,
    )
    if "offline" in done.stderr and "unrecognized" in done.stderr:
        pytest.skip("needs systemd 250 or newer")
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


@pytest.mark.parametrize("work", WORK)
def test_timers_spread_hosts_and_make_up_for_what_was_missed(work: str) -> None:
    """And each belongs to the service of its name."""
    timer = f"keeper-{work}@.timer"
    assert (UNITS / f"keeper-{work}@.service").exists()
    assert setting(timer, "Persistent") == "true"
    assert setting(timer, "RandomizedDelaySec")
    assert setting(f"keeper-{work}@.service", "OnFailure") == "keeper-failure@%n.service"
    assert setting(f"keeper-{work}@.service", "User") == "%i"


@needs_systemd
@pytest.mark.parametrize("work", WORK)
def test_calendar_expressions_mean_something(work: str) -> None:
    """To systemd, that is."""
    expression = setting(f"keeper-{work}@.timer", "OnCalendar")
    subprocess.run(["systemd-analyze", "calendar", expression], check=True, capture_output=True)


@needs_root
def test_commands_work_as_the_applications_user_where_all_else_is_read_only(
    other_user: OtherUser, tmp_path: Path
) -> None:
    """What ReadWritePaths, the state and the cache folder open is all that keeper needs."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"]).returncode:
        pytest.skip("needs mount namespaces")
    app, bucket = other_user.folder, other_user.folder / "bucket"
    places = {"/srv/%i": app / "srv", "%S": app / "lib", "%C": app / "cache", "/etc": app / "etc"}
    for folder in (*places.values(), app / "var-tmp", bucket):
        folder.mkdir()
    database = app / "srv/storage/production.sqlite3"
    database.parent.mkdir()
    text = (UNITS / "app.toml").read_text().replace("/srv/app", str(app / "srv"))
    (app / "etc/keeper").mkdir()
    config = app / "etc/keeper/app.toml"
    config.write_text(text.replace("b2:my-bucket/{hostname}", str(bucket)))
    state = app / "lib/keeper/app"
    (app / "cache/keeper/app").mkdir(parents=True)
    state.mkdir(parents=True)
    for path in [app, *app.rglob("*")]:
        os.chown(path, other_user.uid, other_user.gid)
    assert other_user.keeper("init", database).status == 0

    for work in WORK:
        unit = directives(UNITS / f"keeper-{work}@.service")
        values = {(name, value) for section, name, value in unit if section == "Service"}
        assert ("ProtectSystem", "strict") in values
        assert ("PrivateTmp", "true") in values
        environment: dict[str, str] = {}
        writable = [app / "var-tmp", bucket]
        for name, value in sorted(values):
            for word, place in places.items():
                value = value.replace(word, str(place))
            if name == "Environment":
                pairs = shlex.split(value.replace("%i", "app"))
                environment |= dict(pair.split("=", 1) for pair in pairs)
            elif name == "ReadWritePaths":
                writable.append(Path(value))
            elif name == "StateDirectory":
                writable.append(places["%S"] / value.replace("%i", "app"))
            elif name == "CacheDirectory":
                writable.append(places["%C"] / value.replace("%i", "app"))
            elif name == "ExecStart":
                program, *arguments = shlex.split(value)
                assert program == "/opt/keeper/bin/keeper"
        script = [f"mount --bind {path} {path}" for path in writable]
        script += [f"mount --bind {app}/var-tmp /var/tmp", "mount -o remount,bind,ro /"]
        script += [f"! mountpoint -q {top} || mount -o remount,bind,ro {top}" for top in ("/tmp",)]
        script += [f"! touch {app}/not-here 2>/dev/null"]
        command = [sys.executable, "-m", "tests.as_user", str(other_user.uid)]
        script += [shlex.join([*command, str(other_user.gid), *arguments])]
        done = subprocess.run(
            ["unshare", "-m", "sh", "-ec", "\n".join(script)],
            cwd=REPOSITORY,
            env={"PATH": os.environ["PATH"], "KEEPER_RCLONE": str(other_user.rclone)} | environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr

    (snapshot,) = bucket.rglob("production-*.sqlite3")
    assert pragma(snapshot, "integrity_check") == "ok"
    assert list(bucket.rglob("*.proven.json"))
    assert count_rows(snapshot, "sqlite_schema") == 0
    assert list(state.rglob("history.sqlite3"))
    assert not list((app / "var-tmp").iterdir())
