"""A network, a provider or an rclone that misbehaves: a clear failure, and nothing that lies."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.errors import RcloneError, hint
from sqlitekeeper.rclone.log import Log
from sqlitekeeper.rclone.program import environment, find_rclone
from sqlitekeeper.redaction import without_secrets
from tests.conftest import (
    S3,
    BackupConfig,
    Keeper,
    MakeDatabase,
    StartKeeper,
    WrapRclone,
    contents,
    in_folder,
    is_running,
    wait_until,
)
from tests.faults.proxy import (
    Answer,
    Fault,
    Proxy,
    Replay,
    Request,
    Reset,
    Rule,
    Silence,
    Slow,
    Truncate,
    no_fault,
    proxy_to,
)
from tests.faults.surroundings import assert_clean_failure, manifests_that_lie, snapshots_of
from tests.s3_server import serve

# Three low-level ones: Go sometimes closes a connection whose answer came before it had noted
# the end of its own request, and rclone asks again.
ONE_TRY = ["--low-level-retries", "3", "--retries", "1"]


@dataclass(frozen=True)
class Lab:
    """An S3 server behind a proxy that can misbehave, one database, and a keeper.toml."""

    s3: S3
    proxy: Proxy
    database: Path
    staging: Path


@pytest.fixture
def lab(
    s3: S3,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    staging: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Lab]:
    """One database of some hundred KB, to be backed up to `lab:bucket` through the proxy."""
    database = make_database("app.sqlite3", rows=400)
    backup_config(database, to=s3.to, rclone_args=ONE_TRY)
    # What the proxy changes on its way does not have rclone's signature any more.
    with serve(s3.folder.parent, s3.log, anyone=True) as port, proxy_to(port) as proxy:
        monkeypatch.setenv("RCLONE_CONFIG_LAB_ENDPOINT", f"http://127.0.0.1:{proxy.port}")
        yield Lab(s3, proxy, database, staging)


def everywhere(fault: Fault) -> Rule:
    return lambda request: fault


def to_snapshots(fault: Fault) -> Rule:
    """The fault meets uploads of snapshots only."""
    return lambda r: fault if r.method == "PUT" and ".sqlite3" in r.path else None


def to_metadata(fault: Fault) -> Rule:
    """The fault meets uploads of manifests and of latest.json only."""
    return lambda r: fault if r.method == "PUT" and ".json" in r.path else None


def to_deletes(fault: Fault) -> Rule:
    return lambda r: fault if r.method == "DELETE" or r.path.endswith("?delete=") else None


FAULTS = {
    "answers never": (everywhere(Silence()), "made no progress for 2 s", "does the destination"),
    "answers an upload never": (
        to_snapshots(Silence(99_999)),
        "made no progress",
        "backup.timeout",
    ),
    "answers a manifest never": (to_metadata(Silence()), "made no progress", "backup.timeout"),
    "reset in an upload": (to_snapshots(Reset(99_999)), "connection", "connection broke"),
    "refuses uploads": (to_snapshots(Answer(403, "AccessDenied")), "AccessDenied", "permission"),
    "refuses manifests": (to_metadata(Answer(403, "AccessDenied")), "AccessDenied", "permission"),
    "is broken": (to_snapshots(Answer(500, "InternalError")), "InternalError", ""),
    "stores half a snapshot": (to_snapshots(Truncate(99_999)), "has 99999 bytes at", ""),
    "stores half a manifest": (to_metadata(Truncate(99)), "is not whole at", ""),
    "finds our clock wrong": (
        everywhere(Answer(403, "RequestTimeTooSkewed")),
        "RequestTimeTooSkewed",
        "this host's clock is wrong",
    ),
}


@pytest.mark.parametrize(("rule", "said", "hint"), FAULTS.values(), ids=FAULTS)
def test_destination_that_fails_is_one_clear_line_and_the_next_run_succeeds(
    keeper: Keeper, lab: Lab, backup_config: BackupConfig, rule: Rule, said: str, hint: str
) -> None:
    """Status 1, where and why, no manifest without its snapshot, staging empty."""
    lab.proxy.rule = rule
    if "no progress" in said:
        backup_config(lab.database, to=lab.s3.to, timeout="2s")

    failed = keeper("backup", "-q")

    line = assert_clean_failure(failed, lab.s3.folder, lab.staging)
    assert said in line
    assert hint in line
    assert "lab:bucket" in line
    lab.proxy.rule = no_fault
    backup_config(lab.database, to=lab.s3.to)
    healthy = keeper("backup", "-q")
    assert (healthy.status, healthy.err) == (0, "")
    assert manifests_that_lie(lab.s3.folder) == []
    assert len(snapshots_of(lab.s3.folder)) == 1
    assert contents(lab.staging) == {}


def test_nobody_listens(keeper: Keeper, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection says so, and that the destination is down."""
    monkeypatch.setenv("RCLONE_CONFIG_LAB_ENDPOINT", "http://127.0.0.1:9")

    line = assert_clean_failure(keeper("backup", "-q"), lab.s3.folder, lab.staging)

    assert "connection refused" in line
    assert "is it up?" in line


def test_errors_that_pass_are_ridden_out(
    keeper: Keeper, lab: Lab, backup_config: BackupConfig
) -> None:
    """500 for a while and then fine: the run succeeds, and says nothing."""
    backup_config(lab.database, to=lab.s3.to)
    left = iter(range(3))

    def rule(request: Request) -> Fault | None:
        broken = request.method == "PUT" and next(left, None) is not None
        return Answer(500, "InternalError") if broken else None

    lab.proxy.rule = rule
    run = keeper("backup", "-q")

    assert (run.status, run.err) == (0, "")
    assert next(left, None) is None
    assert manifests_that_lie(lab.s3.folder) == []


SLOW = {
    "whole": [],
    # rclone's own figures stand still while a part goes out.
    "in parts": ["--s3-upload-cutoff", "5M", "--s3-upload-concurrency", "1"],
}


@pytest.mark.parametrize("arguments", SLOW.values(), ids=SLOW)
def test_slow_upload_is_not_cut_off(
    keeper: Keeper,
    lab: Lab,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    arguments: list[str],
) -> None:
    """It takes longer than the timeout, but bytes move all the time."""
    database = make_database("large.sqlite3", rows=9000)
    backup_config(database, to=lab.s3.to, timeout="4s", rclone_args=arguments)
    lab.proxy.rule = to_snapshots(Slow(1_600_000))
    began = time.monotonic()

    run = keeper("backup", "-q")

    assert (run.status, run.err) == (0, "")
    assert time.monotonic() - began > 4
    assert any("uploadId=" in r.path for r in lab.proxy.requests) == bool(arguments)


def test_listing_that_lags_behind_writes_loses_nothing(
    keeper: Keeper, lab: Lab, tmp_path: Path
) -> None:
    """A listing from before the first backup: the later ones ship again, and nothing is deleted."""
    assert keeper("backup", "-q").status == 0
    lab.proxy.rule = lambda request: Replay() if request.is_listing else None
    first = snapshots_of(lab.s3.folder)

    runs = [keeper("backup", "-q"), keeper("backup", "-q", "--force")]

    assert [run.status for run in runs] == [0, 0]
    assert manifests_that_lie(lab.s3.folder) == []
    assert len(snapshots_of(lab.s3.folder)) == 3
    assert set(first) < set(snapshots_of(lab.s3.folder))
    lab.proxy.rule = no_fault
    assert keeper("status", "-q").status == 0


def test_bucket_that_refuses_deletes_keeps_everything(
    keeper: Keeper, lab: Lab, backup_config: BackupConfig
) -> None:
    """The backup is done, what was not deleted is told, and it goes when it may."""
    backup_config(lab.database, to=lab.s3.to, keep_daily=0, keep_weekly=0, keep_monthly=0)
    lab.proxy.rule = to_deletes(Answer(403, "AccessDenied"))
    assert keeper("backup", "-q").status == 0

    refused = keeper("backup", "--force", "--json")

    assert refused.status == 0
    assert refused.json["pruned"] == []
    assert re.search("2 of 2 objects could not be deleted: .*AccessDenied", refused.err)
    assert len(snapshots_of(lab.s3.folder)) == 2
    assert keeper("prune", "-q").status == 1
    lab.proxy.rule = no_fault
    assert keeper("prune", "-q").status == 0
    assert len(snapshots_of(lab.s3.folder)) == 1


def test_only_what_failed_is_uploaded_again(lab: Lab, tmp_path: Path, any_rclone: Path) -> None:
    """rclone's own retries would upload the whole batch three times."""
    for name in ("bad", "good"):
        (tmp_path / "from" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "from" / name).write_text(name)
    fault = Answer(403, "AccessDenied")
    lab.proxy.rule = lambda r: fault if r.method == "PUT" and "bad" in r.path else None
    rclone = Rclone(find_rclone(None), ["--low-level-retries", "1"])
    rclone.list_objects(lab.s3.to)

    report = rclone.copy(tmp_path / "from", lab.s3.to, ["bad", "good"])

    assert report.done == {"good"}
    puts = [r.path.split("?")[0] for r in lab.proxy.requests if r.method == "PUT"]
    assert sorted(puts) == [*["/bucket/bad"] * 3, "/bucket/good"]


@pytest.mark.parametrize("theirs", ["flag", "environment"])
def test_number_of_retries_is_the_users_to_set(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theirs: str
) -> None:
    """--retries or RCLONE_RETRIES wins over keeper's own attempts."""
    (tmp_path / "bad").touch()
    lab.proxy.rule = everywhere(Answer(403, "AccessDenied"))
    extra = ["--retries=2"] if theirs == "flag" else []
    if theirs == "environment":
        monkeypatch.setenv("RCLONE_RETRIES", "2")

    Rclone(find_rclone(None), extra).copy(tmp_path, lab.s3.to, ["bad"])

    assert len([r for r in lab.proxy.requests if r.method == "PUT"]) == 2


def test_one_destination_that_fails_is_told_once_and_the_other_is_served(
    keeper: Keeper,
    lab: Lab,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    tmp_path: Path,
) -> None:
    """All must succeed, so the run has failed; why is one line, however many databases."""
    databases = [make_database(f"{name}.sqlite3", rows=5) for name in "abc"]
    backup_config(*databases, to=[lab.s3.to, str(tmp_path / "to")], rclone_args=ONE_TRY)
    lab.proxy.rule = everywhere(Answer(403, "AccessDenied"))

    run = keeper("backup", "-q")

    assert run.status == 1
    assert run.err.count("AccessDenied, says the proxy") == 1
    assert run.err.count("lab:bucket could not be listed") == 3
    assert manifests_that_lie(tmp_path / "to") == []
    assert len(snapshots_of(tmp_path / "to")) == 3


@pytest.mark.parametrize("command", ["backup", "snapshots", "restore"])
def test_all_destinations_that_fail_are_told(
    keeper: Keeper, lab: Lab, backup_config: BackupConfig, command: str
) -> None:
    """Not only the first: they may have failed for different reasons."""
    backup_config(lab.database, to=[lab.s3.to, "unknown:bucket"], rclone_args=ONE_TRY)
    lab.proxy.rule = everywhere(Answer(403, "AccessDenied"))

    run = keeper(command, "app", "-q", *(["--replace"] if command == "restore" else []))

    assert run.status == 1
    (line,) = run.err.splitlines()
    assert "AccessDenied" in line
    assert "find section in config" in line


# rclone itself


def test_keeper_that_is_killed_takes_rclone_with_it(
    lab: Lab,
    start_keeper: StartKeeper,
    keeper: Keeper,
    backup_config: BackupConfig,
    any_rclone: Path,
) -> None:
    """It ends with a pipe that keeper had open, and the next run succeeds."""
    backup_config(lab.database, to=lab.s3.to)
    lab.proxy.rule = to_snapshots(Silence())
    running = start_keeper("backup")
    wait_until(lambda: any(r.method == "PUT" for r in lab.proxy.requests))
    (rclone,) = children_of(running.process.pid)

    os.kill(running.process.pid, signal.SIGKILL)
    running.process.wait()

    wait_until(lambda: not is_running(rclone))
    lab.proxy.rule = no_fault
    assert keeper("backup", "-q").status == 0
    assert contents(lab.staging) == {}
    assert manifests_that_lie(lab.s3.folder) == []


def children_of(pid: int) -> list[int]:
    """The processes that any of its threads has started."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for children in lists for word in children.read_text().split()]


KILLED = {
    "SIGKILL": "kill -9 $rcd; sleep 60",
    r"SIGRTMIN\+1": "kill -35 $rcd; sleep 60",
    "SIGSEGV": "kill -SEGV $rcd; sleep 60",
}


@pytest.mark.parametrize(("name", "body"), KILLED.items(), ids=KILLED)
def test_killed_rclone_is_told_by_its_signal(
    tmp_path: Path, wrap_rclone: WrapRclone, name: str, body: str
) -> None:
    """Also by those that Python has no name for."""
    wrap_rclone(list=body)

    with pytest.raises(RcloneError, match=rf"\(killed by {name}\)"):
        Rclone(find_rclone(None)).list_objects(in_folder(tmp_path))


HANGS = {
    "does not hear SIGTERM": "trap '' TERM; while :; do sleep 1; done",
    "repeats its figures": "exec sleep 60",
}


def test_upload_that_moves_does_not_hide_one_that_hangs(
    lab: Lab, tmp_path: Path, any_rclone: Path
) -> None:
    """That one is given up while the other goes on."""
    for name in ("hangs", "moves"):
        (tmp_path / name).write_bytes(os.urandom(20_000_000))
    lab.proxy.rule = lambda r: Silence(99_999) if "hangs" in r.path else Slow(400_000)
    rclone = Rclone(str(any_rclone), ONE_TRY, timeout_seconds=8)
    moving = threading.Thread(target=rclone.copy, args=(tmp_path, lab.s3.to, ["moves"]))
    moving.start()
    wait_until(lambda: bool(lab.proxy.requests))

    report = rclone.copy(tmp_path, lab.s3.to, ["hangs"])

    assert "made no progress for 8 s" in str(report.errors["hangs"])
    assert moving.is_alive()
    lab.proxy.rule = everywhere(Answer(403, "AccessDenied"))
    rclone.close()
    moving.join()


@pytest.mark.parametrize("body", HANGS.values(), ids=HANGS)
def test_rclone_that_hangs_is_ended(tmp_path: Path, wrap_rclone: WrapRclone, body: str) -> None:
    """Whatever it says: with nothing done, it is given up, and ends with all that it started."""
    pid_file = tmp_path / "pid"
    wrap_rclone(copy=f'echo $$ > "{pid_file}"; {body}', stats="""echo '{"bytes": 5}'; exit 0""")
    (tmp_path / "x").touch()

    rclone = Rclone(find_rclone(None), timeout_seconds=4)
    report = rclone.copy(tmp_path, in_folder(tmp_path / "to"), ["x"])

    assert "made no progress for 4 s" in str(report.error)
    rclone.close()
    wait_until(lambda: not is_running(int(pid_file.read_text())))


def test_rclone_that_does_not_start_is_ended(tmp_path: Path, wrap_rclone: WrapRclone) -> None:
    """It may wait for something that never comes."""
    pid_file = tmp_path / "pid"
    wrap_rclone(rcd=f'echo $$ > "{pid_file}"; exec sleep 60')

    with pytest.raises(RcloneError, match="rclone rcd made no progress for 4 s"):
        Rclone(find_rclone(None), timeout_seconds=4).list_objects(in_folder(tmp_path))

    wait_until(lambda: not is_running(int(pid_file.read_text())))


GARBAGE = {
    "megabytes without a newline": "head -c 5000000 /dev/zero | tr '\\0' x >&2; exit 9",
    "bytes that are no UTF-8": "head -c 5000000 /dev/urandom >&2; exit 9",
    "brackets": "head -c 500000 /dev/zero | tr '\\0' '[' >&2; exit 9",
    "what a terminal obeys": "printf '\\033]0;owned\\007\\033[2J\\r\\n' >&2; exit 9",
    "figures that are none": """echo '{"stats": {"bytes": "many", "checks": [1]}}' >&2; exit 9""",
}


@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE)
def test_garbage_in_the_log_is_one_short_printable_line(
    tmp_path: Path, wrap_rclone: WrapRclone, body: str
) -> None:
    """Nothing of it fills the memory or reaches the terminal."""
    wrap_rclone(rcd=body)

    with pytest.raises(RcloneError, match=r"rclone rcd failed \(status 9\)") as caught:
        Rclone(find_rclone(None)).list_objects(in_folder(tmp_path))

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 4000


ANSWERS = {
    "no text": "head -c 100000 /dev/urandom",
    "brackets": "head -c 500000 /dev/zero | tr '\\0' '['",
    "sizes that are none": """echo '{"list": [{"Path": "x", "Size": 1e999}]}'""",
    "hashes that are none": """echo '{"list": [{"Path": "x", "Size": 1, "Hashes": "md5"}]}'""",
}


@pytest.mark.parametrize("body", ANSWERS.values(), ids=ANSWERS)
def test_garbage_for_a_listing_is_no_listing(
    tmp_path: Path, wrap_rclone: WrapRclone, body: str
) -> None:
    """And no empty destination either."""
    wrap_rclone(list=f"{body}; exit 0")

    with pytest.raises(RcloneError, match="cannot be read"):
        Rclone(find_rclone(None)).list_objects(in_folder(tmp_path))


def test_answer_without_end_is_ended(
    tmp_path: Path, wrap_rclone: WrapRclone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not fill the memory."""
    monkeypatch.setattr("sqlitekeeper.rclone.daemon.LONGEST_OUTPUT", 10**6)
    wrap_rclone(list="head -c 2000000 /dev/zero; exit 0")

    with pytest.raises(RcloneError, match="longer than"):
        Rclone(find_rclone(None)).list_objects(in_folder(tmp_path))


def test_unknown_future_version_that_knows_our_flags_is_used(
    keeper: Keeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    tmp_path: Path,
    wrap_rclone: WrapRclone,
) -> None:
    """Its version is recorded as it says it."""
    wrap_rclone(version="echo rclone v2.0.0; exit 0")
    backup_config(make_database(), to=tmp_path / "to")

    assert keeper("backup", "-q").status == 0

    (manifest,) = (tmp_path / "to" / "app").glob("app-*.json")
    assert '"v2.0.0"' in manifest.read_text()


def test_future_version_that_has_lost_a_flag_is_named(
    keeper: Keeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    staging: Path,
    tmp_path: Path,
    wrap_rclone: WrapRclone,
) -> None:
    """Its own words, and where to look."""
    wrap_rclone(
        version="echo rclone v2.0.0; exit 0",
        rcd="echo 'Error: unknown flag: --s3-no-head' >&2; exit 2",
    )
    backup_config(make_database(), to=tmp_path / "to")

    line = assert_clean_failure(keeper("backup", "-q"), tmp_path / "to", staging)

    assert "unknown flag: --s3-no-head" in line
    assert "rclone version" in line


def test_encrypted_configuration_is_never_asked_for(
    terminal: Keeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    tmp_path: Path,
    any_rclone: Path,
) -> None:
    """On a terminal either: the run fails, and says which variable holds the password."""
    Path(os.environ["RCLONE_CONFIG"]).write_text("RCLONE_ENCRYPT_V0:\n" + "A" * 200 + "\n")
    backup_config(make_database(), to="secret:bucket")

    run = terminal("backup")

    assert run.status == 1
    assert "RCLONE_CONFIG_PASS" in run.out


def test_rclone_has_no_terminal(tmp_path: Path, wrap_rclone: WrapRclone) -> None:
    """Not on its standard input, and none that it, or an ssh of its, could open by name."""
    wrap_rclone(
        rcd="if [ -t 0 ]; then echo has a terminal >&2; exit 9; fi;"
        " if (: < /dev/tty) 2> /dev/null; then echo opened one >&2; exit 9; fi"
    )
    program = (
        "import pty, sys\n"
        "from sqlitekeeper.rclone.client import Rclone\n"
        "from sqlitekeeper.rclone.program import find_rclone\n"
        f"print(Rclone(find_rclone(None)).list_objects({in_folder(tmp_path / 'x')!r}))\n"
    )
    script = tmp_path / "on_terminal.py"
    script.write_text(program)

    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import pty, sys; sys.exit(pty.spawn([sys.executable, {str(script)!r}]))",
        ],
        capture_output=True,
        check=False,
        text=True,
        stdin=subprocess.DEVNULL,
    )

    assert done.stdout.strip() == "None"


# The environment that rclone gets


def test_rclone_gets_what_remotes_need_and_nothing_of_keepers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Credentials of any cloud, proxies, agents; not KEEPER_*."""
    theirs = {
        "RCLONE_CONFIG_LAB_TYPE": "s3",
        "AWS_PROFILE": "backup",
        "B2_ACCOUNT_KEY": "k",
        "HTTPS_PROXY": "http://proxy:3128",
        "SSH_AUTH_SOCK": "/run/agent",
        "SSL_CERT_FILE": "/etc/ca.pem",
        "TZ": "Europe/Berlin",
    }
    for name, value in (theirs | {"KEEPER_STATE": "s", "RCLONE_LOG_FILE": "/tmp/log"}).items():
        monkeypatch.setenv(name, value)

    given = environment(600)

    assert theirs.items() <= given.items()
    assert not [name for name in given if name.startswith("KEEPER_") or name == "RCLONE_LOG_FILE"]
    assert given["RCLONE_ASK_PASSWORD"] == "false"


def test_timeouts_of_the_user_win(monkeypatch: pytest.MonkeyPatch) -> None:
    """RCLONE_TIMEOUT and the like are not overridden; flags win over them anyway."""
    assert environment(100)["RCLONE_TIMEOUT"] == "130.000s"
    assert environment(100)["RCLONE_CONTIMEOUT"] == "20.000s"
    monkeypatch.setenv("RCLONE_TIMEOUT", "1h")
    assert environment(100)["RCLONE_TIMEOUT"] == "1h"


def test_go_settings_of_the_user_win(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a small machine they may want less memory to be used."""
    monkeypatch.delenv("GOGC", raising=False)
    assert environment(100)["GOGC"] == "800"
    monkeypatch.setenv("GOGC", "20")
    assert environment(100)["GOGC"] == "20"


IN_THE_WAY = {
    "RCLONE_LOG_FILE": "log",
    "RCLONE_LOG_LEVEL": "ERROR",
    "RCLONE_QUIET": "true",
    "RCLONE_VERBOSE": "2",
    "RCLONE_STATS": "0",
    "RCLONE_EXCLUDE": "*.sqlite3",
    "RCLONE_MAX_DEPTH": "1",
    "RCLONE_MIN_SIZE": "1G",
    "RCLONE_INTERACTIVE": "true",
    "RCLONE_VERSION": "v1.75.2",
    "RCLONE_BACKUP_DIR": ":local:elsewhere",
    "RCLONE_SUFFIX": ".old",
    "RCLONE_COMPARE_DEST": ":local:elsewhere",
    "RCLONE_NAME_TRANSFORM": "all,uppercase",
    "RCLONE_IMMUTABLE": "true",
    "RCLONE_IGNORE_EXISTING": "true",
    "RCLONE_MAX_SIZE": "1",
    "RCLONE_MAX_TRANSFER": "1",
}


def test_settings_for_people_do_not_reach_what_keeper_reads(
    lab: Lab, keeper: Keeper, monkeypatch: pytest.MonkeyPatch, any_rclone: Path
) -> None:
    """A log that goes elsewhere, a filter that hides snapshots: set for other uses of rclone."""
    for name, value in IN_THE_WAY.items():
        monkeypatch.setenv(name, value)

    assert keeper("backup", "-q").status == 0

    run = keeper("backup", "--json")
    assert run.entry["outcome"] == "unchanged"


@pytest.mark.parametrize("variable", ["BACKUP_DIR", "SUFFIX", "COMPARE_DEST", "NAME_TRANSFORM"])
def test_variable_of_another_job_changes_nothing_about_an_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, any_rclone: Path, variable: str
) -> None:
    """The file is where it should be, under its name, with its content."""
    values = {"NAME_TRANSFORM": "all,uppercase", "SUFFIX": ".old"}
    source, to = tmp_path / "source", tmp_path / "to"
    for folder, text in ((source, "new"), (to, "old"), (tmp_path / "elsewhere", "new")):
        folder.mkdir()
        (folder / "x").write_text(text)
    monkeypatch.setenv(f"RCLONE_{variable}", values.get(variable, f":local:{tmp_path}/elsewhere"))

    Rclone(find_rclone(None)).copy(source, f":local:{to}", ["x"])

    assert {file.name: file.read_text() for file in to.iterdir()} == {"x": "new"}


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("InvalidObjectState: not valid for the object's storage class", "rclone backend restore"),
        ("Object in GLACIER, restore first: bucket=b, key=k", "rclone backend restore"),
        ("can't copy - source file is being updated (size changed)", "--local-no-check-updated"),
        ('setting "transfers" from environment variable RCLONE_TRANSFERS="x"', "unsets it"),
    ],
)
def test_words_of_rclone_come_with_what_helps(said: str, advice: str) -> None:
    """The command, or the setting."""
    assert advice in (hint(said) or "")


def test_rehearsal_that_the_environment_asks_for_deletes_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, any_rclone: Path
) -> None:
    """Only what rclone names as deleted is."""
    monkeypatch.setenv("RCLONE_DRY_RUN", "true")
    (tmp_path / "x").touch()

    for to in (str(tmp_path), in_folder(tmp_path)):
        report = Rclone(find_rclone(None)).delete(to, ["x"])

    assert (tmp_path / "x").exists()
    assert report.done == frozenset()


# What is shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Put https://me:pw@host/x failed", "Put https://***@host/x failed"),
        (
            'Get "https://b.s3/x?X-Amz-Signature=abc&X-Amz-Credential=k": EOF',
            'Get "https://b.s3/x?***": EOF',
        ),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        (
            ":s3,access_key_id=AK,secret_access_key=SK:bucket",
            ":s3,access_key_id=***,secret_access_key=***:bucket",
        ),
        (":webdav,url='https://h',pass='a b':x", ":webdav,url='https://h',pass=***:x"),
        ("b2:my-bucket/web1/app.sqlite3: not found", "b2:my-bucket/web1/app.sqlite3: not found"),
        (
            "http://127.0.0.1:9/bucket: connection refused",
            "http://127.0.0.1:9/bucket: connection refused",
        ),
    ],
)
def test_credentials_that_rclone_quotes_are_not_shown(text: str, shown: str) -> None:
    """In its words and in the name of a destination."""
    assert without_secrets(text) == shown
    log = Log()
    log.take(text.encode())
    log.end()
    assert log.words == [shown]


# Several threads


def test_several_threads_use_one_rclone(s3: S3, tmp_path: Path) -> None:
    """Each hears its own command's log and gets its own command's answer."""
    rclone = Rclone(find_rclone(None))
    seen: dict[str, object] = {}

    def work(name: str) -> None:
        (tmp_path / name).write_text(name)
        report = rclone.copy(tmp_path, f"{s3.to}/{name}", [name])
        seen[name] = (report.done, report.error, set(rclone.confirm(f"{s3.to}/{name}", [name])))

    names = [f"file{number}" for number in range(6)]
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == {name: ({name}, None, {name}) for name in names}
