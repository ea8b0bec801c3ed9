"""Who may read what keeper writes, what others may plant in its way, and where secrets show."""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from tests.conftest import (
    S3,
    BackupConfig,
    MakeDatabase,
    OtherUser,
    WrapRclone,
    count_rows,
    needs_root,
)
from tests.faults.command_line import command_line

OPEN_TO_ALL = "g::rwx,o::rwx"


@pytest.fixture(params=["0", "022", "077", OPEN_TO_ALL])
def umask(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """The umask that keeper is started with, or the default ACL that takes its place."""
    is_acl = ":" in request.param
    if is_acl:
        if shutil.which("setfacl") is None:
            pytest.skip("setfacl is missing")
        subprocess.run(["setfacl", "-R", "-d", "-m", request.param, tmp_path], check=True)
    previous = os.umask(0 if is_acl else int(request.param, 8))
    yield
    os.umask(previous)


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands find the keeper.toml of the test."""
    monkeypatch.chdir(tmp_path)


def modes(folder: Path) -> dict[str, int]:
    """The permission bits of a folder and of everything below it, by relative path."""
    every = [folder, *folder.rglob("*")]
    return {str(p.relative_to(folder)): stat.S_IMODE(p.lstat().st_mode) for p in every}


def expected(folder: Path) -> dict[str, int]:
    """All private: 0600 for files, 0700 for folders."""
    every = [folder, *folder.rglob("*")]
    return {str(p.relative_to(folder)): 0o700 if p.is_dir() else 0o600 for p in every}


def test_what_keeper_keeps_is_private(
    make_database: MakeDatabase, tmp_path: Path, backup_config: BackupConfig, umask: None
) -> None:
    """Snapshots, manifests, drill records and state, whatever the umask."""
    backup_config(make_database(rows=5), to=tmp_path / "shelf" / "deep")

    for command in ("backup", "drill", "vacuum"):
        assert command_line(command)[0] == 0

    shelf, state = tmp_path / "shelf", tmp_path / "state"
    assert modes(shelf) == expected(shelf)
    assert modes(state) == expected(state)


def test_what_keeper_stages_is_private(
    make_database: MakeDatabase,
    tmp_path: Path,
    backup_config: BackupConfig,
    wrap_rclone: WrapRclone,
    umask: None,
) -> None:
    """As rclone sees it, whatever the umask; nothing is left of it."""
    listing = tmp_path / "listing"
    wrap_rclone(copy=f'find "{tmp_path}/staging" -printf "%m %p\\n" >> "{listing}"')
    backup_config(make_database(rows=5), to=tmp_path / "shelf")

    assert command_line("backup")[0] == 0

    staged = [line.split(" ", 1) for line in listing.read_text().splitlines()]
    doors = {mode for mode, path in staged if Path(path).name.startswith("keeper-staging-")}
    snapshots = {mode for mode, path in staged if path.endswith(".sqlite3")}
    assert (doors, snapshots) == ({"700"}, {"600"})
    assert list((tmp_path / "staging").iterdir()) == []


def test_what_keeper_keeps_in_open_folders_is_private(
    make_database: MakeDatabase, tmp_path: Path, backup_config: BackupConfig, umask: None
) -> None:
    """A state folder that holds other things, a catalog from before: they are left as they are."""
    for folder in (tmp_path / "state", tmp_path / "shelf/app"):
        folder.mkdir(parents=True)
        folder.chmod(0o755)
        (folder / "other").touch()
        (folder / "other").chmod(0o644)
    backup_config(make_database(rows=5), to=tmp_path / "shelf")

    for command in ("backup", "drill", "report"):
        assert command_line(command)[0] == 0

    found = modes(tmp_path / "state") | modes(tmp_path / "shelf")
    shown = {path for path, mode in found.items() if mode & 0o077}
    assert shown - {".", "app"} == {"other", "app/other"}
    assert "history.sqlite3" in found


def test_who_is_named_by_a_destinations_default_acl_may_read(
    make_database: MakeDatabase, tmp_path: Path, backup_config: BackupConfig
) -> None:
    """Somebody who fetches the backups; the folder's group and all others stay out."""
    if shutil.which("setfacl") is None:
        pytest.skip("setfacl is missing")
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    subprocess.run(["setfacl", "-d", "-m", "u:3003:rx,g::rx,o::rx", shelf], check=True)
    backup_config(make_database(rows=5), to=shelf)

    assert command_line("backup")[0] == 0

    for path in (shelf / "app", *(shelf / "app").iterdir()):
        said = subprocess.run(["getfacl", "-cpE", path], capture_output=True, text=True, check=True)
        lines = said.stdout.split()
        assert {"user:3003:r-x", "group::---", "mask::r-x", "other::---"} <= set(lines), said.stdout


def test_pages_are_private_and_metrics_are_not(
    make_database: MakeDatabase, tmp_path: Path, umask: None
) -> None:
    """node_exporter is another user; whoever reads a page is the one who asked for it."""
    path = make_database(rows=5)

    status, _, _ = command_line(
        "report", path, "--html", "page.html", "--prometheus", "keeper.prom"
    )

    assert status == 0
    assert stat.S_IMODE((tmp_path / "page.html").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keeper.prom").stat().st_mode) == 0o644


def test_restored_database_is_as_private_as_it_was(
    make_database: MakeDatabase,
    tmp_path: Path,
    backup_config: BackupConfig,
    umask: None,
) -> None:
    """Also where nothing is left that could be asked for its mode."""
    path = make_database("data/app.sqlite3", rows=5)
    path.chmod(0o640)
    backup_config(path, to=tmp_path / "shelf")
    assert command_line("backup")[0] == 0
    path.unlink()

    assert command_line("restore", "app")[0] == 0

    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert count_rows(path) == 5


def plant(folder: Path, victim: Path, user: OtherUser) -> None:
    """What somebody else could put into a folder that everyone may write to."""
    for number, name in enumerate(("aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd")):
        planted = folder / f"keeper-staging-{name}"
        if number == 0:
            planted.symlink_to(victim.parent)
        elif number == 1:
            planted.write_text("a file")
        else:
            planted.mkdir(mode=0o777 if number == 2 else 0o700)
            (planted / ".lock").symlink_to(victim)
            (planted / "snapshots").symlink_to(victim.parent)
        os.chown(planted, user.uid, user.gid, follow_symlinks=False)


@needs_root
@pytest.mark.parametrize("command", ["backup", "drill", "restore"])
def test_staging_in_a_folder_of_everyones_is_not_hijacked(
    make_database: MakeDatabase,
    tmp_path: Path,
    backup_config: BackupConfig,
    other_user: OtherUser,
    staging: Path,
    command: str,
) -> None:
    """Planted links, files and folders are neither followed nor used nor removed."""
    path, victim = make_database(rows=5), tmp_path / "victim" / "precious"
    victim.parent.mkdir()
    victim.write_text("precious")
    backup_config(path, to=tmp_path / "shelf")
    assert command == "backup" or command_line("backup")[0] == 0
    staging.chmod(0o1777)
    plant(staging, victim, other_user)
    before = sorted(staging.iterdir())
    arguments = {"restore": ["restore", "app", "--to", tmp_path / "new.sqlite3"]}

    status, _, _ = command_line(*arguments.get(command, [command]))

    assert status == 0
    assert sorted(staging.iterdir()) == before
    assert {p.name: p.read_text() for p in victim.parent.iterdir()} == {"precious": "precious"}
    assert len(list((tmp_path / "shelf").rglob("*.sqlite3"))) == 1


@pytest.fixture
def secrets(s3: S3, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """What only rclone should ever be told: keys in the environment, as for `s3`."""
    monkeypatch.setenv("RCLONE_CONFIG_PASS", "CONFIGPASSWORD")
    return ("LABACCESSKEY", "LABSECRETKEY", "CONFIGPASSWORD")


def test_credentials_of_the_environment_show_nowhere(
    make_database: MakeDatabase,
    tmp_path: Path,
    s3: S3,
    backup_config: BackupConfig,
    wrap_rclone: WrapRclone,
    secrets: tuple[str, ...],
) -> None:
    """Not in what is said, not in process arguments, in no file that is kept or shipped."""
    arguments = tmp_path / "arguments"
    note = f'tr "\\0" " " < /proc/$$/cmdline >> "{arguments}"; exec "$real" "$@"'
    wrap_rclone(rcd=note, version=note)
    path = make_database(rows=5)
    backup_config(path, to=s3.to)

    runs = [command_line(command, "-v") for command in ("backup", "drill", "doctor")]

    assert [status for status, _, _ in runs] == [0, 0, 0]
    said = str(runs) + arguments.read_text()
    kept = [p for p in tmp_path.rglob("*") if p.is_file() and p.parent.name != "s3.log"]
    written = b"".join(p.read_bytes() for p in kept if p.name not in ("s3.log", "wrapped-rclone"))
    assert "rcd" in arguments.read_text()
    for secret in secrets:
        assert secret not in said
        assert secret.encode() not in written


@pytest.mark.parametrize("command", ["backup", "drill", "status"])
def test_refused_credentials_show_in_no_error(
    make_database: MakeDatabase,
    s3: S3,
    backup_config: BackupConfig,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    """What the service answers to a wrong key is told without the key."""
    monkeypatch.setenv("RCLONE_CONFIG_LAB_SECRET_ACCESS_KEY", "WRONGSECRET")
    backup_config(
        make_database(rows=5), to=s3.to, rclone_args=["--retries", "1", "--low-level-retries", "1"]
    )

    status, said, log = command_line(command, "-v")

    assert status == 1
    assert "WRONGSECRET" not in str(said) + log


@pytest.mark.parametrize(
    "line",
    [
        'to = ":s3,access_key_id=A,secret_access_key=hunter2:bucket"',
        'to = "x:y"\nrclone_args = ["--b2-key", "hunter2"]',
        'to = "x:y"\n[notify]\nping_url = "hc-ping.com/hunter2"',
    ],
    ids=["destination", "argument", "ping_url"],
)
@pytest.mark.parametrize("command", ["backup", "config"])
def test_credentials_in_the_wrong_place_are_refused_unsaid(
    tmp_path: Path, command: str, line: str
) -> None:
    """A configuration error, which does not repeat what should not be seen."""
    (tmp_path / "keeper.toml").write_text(f"[backup]\n{line}\n")

    status, said, log = command_line(*(["config", "show"] if command == "config" else [command]))

    assert status == 2
    assert "hunter2" not in str(said) + log


def test_credentials_on_the_command_line_are_refused_unsaid(make_database: MakeDatabase) -> None:
    """keeper's own arguments are seen by others too, but at least nothing goes on from there."""
    to = ":s3,access_key_id=A,secret_access_key=hunter2:bucket"

    status, said, log = command_line("backup", "--to", to, make_database(rows=1))

    assert status == 2
    assert "hunter2" not in str(said) + log


def test_symlink_in_place_of_the_history_leads_nowhere(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Somebody who can write to the state folder does not get keeper to write elsewhere."""
    path, other = make_database(rows=5), make_database("other.sqlite3", rows=3)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "history.sqlite3").symlink_to(other)
    before = other.read_bytes()

    status, _, _ = command_line("report", path)

    assert status == 0
    assert other.read_bytes() == before
    connection = apsw.Connection(str(other))
    assert connection.table_exists("main", "watched") is False
    connection.close()


def test_the_environment_reaches_rclone_without_what_would_make_it_ask(
    make_database: MakeDatabase,
    tmp_path: Path,
    backup_config: BackupConfig,
    wrap_rclone: WrapRclone,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Remotes, proxies and credentials are rclone's to read; a question would hang a cron job."""
    seen = tmp_path / "environment"
    wrap_rclone(rcd=f'env > "{seen}"; exec "$real" "$@"')
    backup_config(make_database(rows=5), to=tmp_path / "shelf")
    given = {"RCLONE_ASK_PASSWORD": "true", "AWS_PROFILE": "backup", "HTTPS_PROXY": "http://p:1"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    assert command_line("backup")[0] == 0

    lines = seen.read_text().splitlines()
    assert {"RCLONE_ASK_PASSWORD=false", "AWS_PROFILE=backup", "HTTPS_PROXY=http://p:1"} <= {*lines}


@pytest.mark.parametrize("command", ["vacuum", "report", "backup"])
@pytest.mark.parametrize("optional", ["false", "true"])
def test_database_in_a_closed_folder_fails_alone(
    make_database: MakeDatabase, other_user: OtherUser, command: str, optional: str
) -> None:
    """It is there, so neither is it optional, nor does it stop the other."""
    closed, app = other_user.folder / "closed/app.sqlite3", other_user.folder / "blog.sqlite3"
    closed.parent.mkdir()
    made = make_database(rows=3)
    for path in (closed, app):
        shutil.copy(made, path)
        os.chown(path, other_user.uid, other_user.gid)
    closed.parent.chmod(0o700)
    config = other_user.folder / "keeper.toml"
    config.write_text(
        f'[[databases]]\npath = "{closed}"\noptional = {optional}\n'
        f'[[databases]]\npath = "{app}"\n[backup]\nto = "{other_user.folder / "to"}"\n'
    )

    run = other_user.keeper(command, "--config", config, "--json")

    assert run.status == 3
    first, second = run.json["databases"]
    assert (first["outcome"], second["outcome"] != "failed") == ("failed", True)
    assert "Permission denied" in first["reason"]
