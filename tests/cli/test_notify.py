"""Who is told how a run went: pings, commands, and nobody at all."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import (
    Companion,
    Keeper,
    MakeDatabase,
    StartKeeper,
    in_folder,
    is_running,
    wait_until,
)
from tests.listening import Listening, listening

Configure = Callable[..., Path]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine needs for the world, these tests stay on it."""
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server() -> Iterator[Listening]:
    """Where pings arrive."""
    with listening() as found:
        yield found


@pytest.fixture
def configure(tmp_path: Path, make_database: MakeDatabase) -> Configure:
    """Write the keeper.toml that keeper finds: one database, a local destination, `[notify]`."""
    make_database("app.sqlite3", rows=8)

    def write(**notify: object) -> Path:
        file = tmp_path / "keeper.toml"
        lines = [f"{key} = {json.dumps(value)}" for key, value in notify.items()]
        to = in_folder("dest") if "RCLONE_CONFIG_DISK_TYPE" in os.environ else "dest"
        file.write_text(
            f'[[databases]]\npath = "app.sqlite3"\n[backup]\nto = "{to}"\nstaging = "{tmp_path}"\n'
            + "\n".join(["[notify]", *lines])
        )
        return file

    return write


def note(tmp_path: Path, name: str) -> list[str]:
    """A command that keeps what it is told in files of this name."""
    return ["/bin/sh", "-c", f'cat > {tmp_path}/{name}.txt; cp "$KEEPER_RESULT" {tmp_path}/{name}']


@pytest.mark.parametrize("options", [[], ["--quiet"], ["--json"]])
def test_backup_pings_start_and_success(
    keeper: Keeper, configure: Configure, server: Listening, options: list[str]
) -> None:
    """With the log as the body, however much of it is printed."""
    configure(ping_url=server.url)

    run = keeper("backup", *options)

    assert (run.status, server.paths) == (0, ["/secret-uuid/start", "/secret-uuid"])
    first, *log = server.received[1].body.splitlines()
    assert first == f"keeper backup on {socket.gethostname()}: ok"
    assert "app: snapshot" in log[0]
    assert "1 database: 1 shipped" in log[-1]
    if options == ["--quiet"]:
        assert (run.out, run.err) == ("", "")


def test_failure_is_pinged_with_its_reason(
    keeper: Keeper, configure: Configure, server: Listening, tmp_path: Path
) -> None:
    """The reason stands first, where nothing is cut off."""
    configure(ping_url=server.url)
    (tmp_path / "app.sqlite3").unlink()

    run = keeper("backup")

    assert (run.status, server.paths[1:]) == (1, ["/secret-uuid/fail"])
    body = server.received[1].body.splitlines()
    assert "failed (exit status 1)" in body[0]
    assert "no such file" in body[0]
    assert body[1].startswith("app: failed: ")


def test_error_of_the_whole_run_is_pinged(
    keeper: Keeper, configure: Configure, server: Listening
) -> None:
    """What ends a run before any result has a body too."""
    configure(ping_url=server.url)

    assert keeper("backup", "nosuch").status == 2
    assert server.paths[1:] == ["/secret-uuid/fail"]
    assert "failed (exit status 2): nosuch: no such file" in server.received[1].body
    assert "hint: configured: app" in server.received[1].body


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_backup_is_a_failure(
    start_keeper: StartKeeper,
    configure: Configure,
    server: Listening,
    stalled_upload: Path,
    number: int,
) -> None:
    """Whoever ended it: the backup is not there."""
    configure(ping_url=server.url)
    running = start_keeper("backup")
    wait_until(stalled_upload.exists)

    run = running.end(number)

    assert (run.status, server.paths) == (130, ["/secret-uuid/start", "/secret-uuid/fail"])
    assert "failed (exit status 130)" in server.received[1].body


def test_lock_held_by_another_run(
    keeper: Keeper,
    configure: Configure,
    server: Listening,
    tmp_path: Path,
    keepers_lock: Callable[[Path], Companion],
) -> None:
    """A backup that gave up waiting failed; a vacuum that was not needed did not."""
    configure(ping_url=f"{server.url}/{{command}}", commands=["backup", "vacuum"])
    keepers_lock(tmp_path / "app.sqlite3")

    assert keeper("backup", "--lock-wait", 0).status == 11
    assert keeper("vacuum").status == 0
    assert server.paths[1] == "/secret-uuid/backup/fail"
    assert server.paths[3] == "/secret-uuid/vacuum"


def test_only_listed_commands_ping(keeper: Keeper, configure: Configure, server: Listening) -> None:
    """By default that is backup alone."""
    configure(ping_url=server.url)

    assert keeper("vacuum").status == 0
    assert keeper("report").status == 0
    assert server.paths == []


def test_drill_pings_when_listed(keeper: Keeper, configure: Configure, server: Listening) -> None:
    """With its own words."""
    configure(ping_url=server.url, commands=["drill"])
    keeper("backup")

    assert keeper("drill").status == 0
    assert server.paths == ["/secret-uuid/start", "/secret-uuid"]
    assert "app: proven: " in server.received[1].body


def test_files_pings_when_listed(
    keeper: Keeper, configure: Configure, server: Listening, tmp_path: Path
) -> None:
    """Folders are data too."""
    file = configure(ping_url=server.url, commands=["files"])
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "picture.jpg").write_bytes(b"x")
    text = '\n[[files]]\nname = "uploads"\npath = "uploads"\nto = "there"\n'
    file.write_text(file.read_text() + text)

    assert keeper("files", "--dry-run").status == 0
    assert server.paths == []
    assert keeper("files").status == 0
    assert server.paths == ["/secret-uuid/start", "/secret-uuid"]
    assert "uploads: synced to " in server.received[1].body


def test_rehearsal_pings_nobody(keeper: Keeper, configure: Configure, server: Listening) -> None:
    """Neither as a start nor as a success."""
    configure(ping_url=server.url, commands=["backup", "vacuum"])

    assert keeper("backup", "--dry-run").status == 0
    assert keeper("vacuum", "--dry-run").status == 0
    assert keeper("backup", "--dry-run", "nosuch").status == 2
    assert server.paths == []


def test_prometheus_file_that_cannot_be_written_is_a_failure(
    keeper: Keeper, configure: Configure, server: Listening, tmp_path: Path
) -> None:
    """Success is pinged for exit status 0 alone."""
    configure(ping_url=server.url)

    assert keeper("backup", "--prometheus", tmp_path).status != 0
    assert server.paths[1:] == ["/secret-uuid/fail"]


def test_commands_get_summary_and_result(
    keeper: Keeper, configure: Configure, tmp_path: Path
) -> None:
    """on_success after a success, with the object that --json prints."""
    configure(on_success=note(tmp_path, "good"), on_failure=note(tmp_path, "bad"))

    run = keeper("backup", "--json")

    assert json.loads((tmp_path / "good").read_text()) == run.json
    assert "1 database: 1 shipped" in (tmp_path / "good.txt").read_text()
    assert not (tmp_path / "bad").exists()


@pytest.mark.parametrize(
    ("arguments", "status"), [([], 1), (["nosuch"], 2)], ids=["database", "usage"]
)
def test_failure_has_a_command_of_its_own(
    keeper: Keeper, configure: Configure, tmp_path: Path, arguments: list[str], status: int
) -> None:
    """With the same object too."""
    configure(on_success=note(tmp_path, "good"), on_failure=note(tmp_path, "bad"))
    (tmp_path / "app.sqlite3").unlink()

    run = keeper("backup", "--json", *arguments)

    assert run.status == status
    assert json.loads((tmp_path / "bad").read_text()) == run.json
    assert not (tmp_path / "good").exists()


def test_trouble_with_notifying_only_warns(keeper: Keeper, configure: Configure) -> None:
    """The backup is there, and the exit status says so."""
    configure(ping_url="http://127.0.0.1:9/secret-uuid", on_success=["/nonexistent/alert", "tok"])

    run = keeper("backup", "--quiet")

    assert (run.status, run.out) == (0, "")
    lines = [line.split(" ", 1)[1] for line in run.err.splitlines()]
    assert lines == [
        "notify: warning: ping of the run's start: Connection refused",
        "notify: warning: ping of the run's end: Connection refused",
        "on_success: warning: /nonexistent/alert: cannot be run (No such file or directory)",
    ]


@pytest.mark.parametrize(
    ("status", "options"), [(200, ["-v"]), (404, ["-v", "--json"]), (500, ["-v"])]
)
def test_address_is_never_shown(
    keeper: Keeper, configure: Configure, server: Listening, status: int, options: list[str]
) -> None:
    """Neither in the log nor in the object nor in the body."""
    server.answers = [(status, {})] * 6
    configure(ping_url=server.url)

    run = keeper("backup", *options)

    said = run.out + run.err + server.received[-1].body
    assert run.status == 0
    assert "secret-uuid" not in said
    assert str(server.port) not in said


def test_black_hole_holds_no_run_for_long(keeper: Keeper, configure: Configure) -> None:
    """Ten seconds, and three more for the end of a run that was shorter than that."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/secret-uuid"
        configure(ping_url=url, commands=["vacuum"])
        began = time.monotonic()
        run = keeper("vacuum", "--quiet")
        took = time.monotonic() - began

    assert run.status == 0
    assert took < 30
    assert re.findall(r"the run's (\w+): (no answer within [\d.]+)", run.err) == [
        ("start", "no answer within 10"),
        ("end", "no answer within 3"),
    ]


def test_interrupt_while_notifying_does_not_change_the_status(
    start_keeper: StartKeeper, configure: Configure, tmp_path: Path
) -> None:
    """The backup is done; only who hears of it is cut short, and the command is ended."""
    configure(on_success=["/bin/sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 600"])
    running = start_keeper("backup")
    wait_until(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))

    run = running.end(signal.SIGTERM)

    assert run.status == 0
    assert "not everybody was notified" in run.err
    wait_until(lambda: not is_running(int((tmp_path / "pid").read_text())))


@pytest.mark.parametrize("command", ["backup", "vacuum", "drill"])
def test_unusable_configuration_is_said_to_notify_nobody(
    keeper: Keeper, tmp_path: Path, command: str
) -> None:
    """It may have named somebody."""
    (tmp_path / "keeper.toml").write_text("[notify]\nping_url = 1\n")

    run = keeper(command)

    assert run.status == 2
    last = "keeper: no notification sent: the configuration could not be read"
    assert run.err.splitlines()[-1] == last


def test_refused_command_line_is_said_to_notify_nobody(
    keeper: Keeper, configure: Configure, tmp_path: Path
) -> None:
    """If somebody wanted to hear of it, and only then."""
    configure(on_failure=note(tmp_path, "bad"))

    assert "no notification sent" in keeper("backup", "--nosuch").err
    assert "no notification sent" not in keeper("vacuum", "--nosuch").err
    assert not (tmp_path / "bad").exists()


def test_nothing_is_said_where_nobody_wants_to_hear(keeper: Keeper, tmp_path: Path) -> None:
    """A run on a path needs no configuration, and so notifies nobody."""
    assert "notified" not in keeper("backup", "nosuch").err
    assert "notified" not in keeper("report", "-c", "nosuch.toml").err


def test_vacuum_without_pings_does_not_load_what_pings(
    keeper: Keeper, configure: Configure, tmp_path: Path
) -> None:
    """It runs every hour, and start-up is most of it."""
    configure(ping_url="http://127.0.0.1:9/secret-uuid")
    program = (
        "import sys; from sqlitekeeper.cli.app import run_command_line\n"
        "assert run_command_line(['vacuum', '--quiet']) == 0\n"
        "print(sorted({'urllib.request', 'ssl', 'http.client', 'subprocess'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"
