"""recipes/sftp against real servers: rclone's everywhere, and OpenSSH where it is installed."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sqlitekeeper.rclone.remote import TRANSFERS
from tests.conftest import Keeper, MakeDatabase, OtherUser, count_rows, wait_until
from tests.recipes.remotes import RECIPES, edited, in_environment, in_file, use

SFTP = RECIPES / "sftp"
SSHD = Path("/usr/sbin/sshd")
needs_ssh_keygen = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="needs ssh-keygen: apt-get install openssh-client"
)


def make_key(file: Path) -> Path:
    """A key pair; the public half is in file.pub."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)
    return file


@contextmanager
def serving(command: list[object], port: int, log: Path) -> Iterator[None]:
    """A server that runs for as long as the block."""
    with log.open("ab") as output:
        server = subprocess.Popen([str(word) for word in command], stdout=output, stderr=output)
    try:

        def answers() -> bool:
            assert server.poll() is None, log.read_text()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_until(answers)
        yield
    finally:
        server.terminate()
        server.wait()


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def host_key(tmp_path: Path) -> Path:
    """The server's key."""
    return make_key(tmp_path / "host_key")


@pytest.fixture
def user_key(tmp_path: Path) -> Path:
    """The user's key."""
    return make_key(tmp_path / "user_key")


def known_hosts(tmp_path: Path, port: int, key: Path) -> Path:
    """A file that says which key the server has."""
    file = tmp_path / "known_hosts"
    public = key.with_suffix(".pub").read_text()
    file.write_text(f"[127.0.0.1]:{port} {public}")
    return file


@pytest.fixture
def configured(tmp_path: Path, make_database: MakeDatabase) -> None:
    """The recipe's keeper.toml, and the database of it."""
    make_database("production.sqlite3", rows=40)
    text = edited("sftp", "keeper.toml", {"/srv/app/storage": str(tmp_path)})
    (tmp_path / "keeper.toml").write_text(text)


def there_and_back(keeper: Keeper, tmp_path: Path, *commands: str) -> None:
    """Some commands, and a restore in the end."""
    for command in commands:
        done = keeper(command)
        assert done.status == 0, done.err
    assert keeper("restore", "production", "--to", "back.sqlite3").status == 0
    assert count_rows(tmp_path / "back.sqlite3") == 40


def test_file_and_environment_define_the_same_remote() -> None:
    """And one that knows the server's key."""
    (remote,) = in_file(SFTP / "rclone.conf").values()
    assert remote == in_environment(SFTP / "environment", "sftp")
    assert remote["known_hosts_file"]


@needs_ssh_keygen
def test_backup_and_restore_over_sftp(
    tmp_path: Path,
    keeper: Keeper,
    configured: None,
    host_key: Path,
    user_key: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And a server with another key than the known one gets nothing."""
    rclone = Path(sys.executable).with_name("rclone")
    served, port = tmp_path / "served", free_port()
    served.mkdir()
    command = [rclone, "serve", "sftp", served, "--addr", f"127.0.0.1:{port}", "--key", host_key]
    command += ["--authorized-keys", user_key.with_suffix(".pub"), "--vfs-cache-mode", "writes"]
    options = {
        "host": "127.0.0.1",
        "port": port,
        "key_file": user_key,
        "known_hosts_file": known_hosts(tmp_path, port, host_key),
    }
    with serving(command, port, tmp_path / "sftp.log"):
        use(monkeypatch, "sftp", "environment", "sftp", **options)
        there_and_back(keeper, tmp_path, "backup", "drill")
        known_hosts(tmp_path, port, user_key)
        monkeypatch.setenv("RCLONE_LOW_LEVEL_RETRIES", "1")
        done = keeper("snapshots")
        assert done.status == 1
        assert "knownhosts: key mismatch" in done.err


@needs_ssh_keygen
def test_logins_are_no_more_than_transfers_at_once(
    tmp_path: Path,
    keeper: Keeper,
    make_database: MakeDatabase,
    configured: None,
    host_key: Path,
    user_key: Path,
    any_rclone: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Far away, each takes as long as an upload."""
    extra = [make_database(f"other{number}.sqlite3", rows=40) for number in range(9)]
    with (tmp_path / "keeper.toml").open("a") as file:
        file.writelines(f'[[databases]]\npath = "{path}"\n' for path in extra)
    served, port, log = tmp_path / "served", free_port(), tmp_path / "sftp.log"
    served.mkdir()
    rclone = Path(sys.executable).with_name("rclone")
    command = [rclone, "serve", "sftp", served, "--addr", f"127.0.0.1:{port}", "--key", host_key]
    command += ["--authorized-keys", user_key.with_suffix(".pub"), "--vfs-cache-mode", "writes"]
    options = {
        "host": "127.0.0.1",
        "port": port,
        "key_file": user_key,
        "known_hosts_file": known_hosts(tmp_path, port, host_key),
    }
    use(monkeypatch, "sftp", "environment", "sftp", **options)
    logins = []
    for _ in range(2):
        log.unlink(missing_ok=True)
        with serving([*command, "-vv"], port, log):
            done = keeper("backup")
        assert done.status == 0, done.err
        logins.append(log.read_text().count("SSH login from"))
    assert all(0 < number <= TRANSFERS for number in logins), logins


@needs_ssh_keygen
@pytest.mark.skipif(not SSHD.exists(), reason="needs sshd: apt-get install openssh-server")
def test_account_of_the_recipe_is_enough_on_openssh(
    tmp_path: Path,
    keeper: Keeper,
    configured: None,
    host_key: Path,
    user_key: Path,
    other_user: OtherUser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Shut into its folder, without a shell; a command in place of sftp is not run."""
    port = free_port()
    # All that is above the folder has to be root's, which /tmp is not.
    with tempfile.TemporaryDirectory(dir="/srv" if Path("/srv").is_dir() else "/") as name:
        chroot = Path(name)
        chroot.chmod(0o755)
        backups = chroot / "backups"
        backups.mkdir()
        os.chown(backups, other_user.uid, other_user.gid)
        keys = other_user.folder / "authorized_keys"
        keys.write_text(user_key.with_suffix(".pub").read_text())
        rules = edited(
            "sftp", "sshd.conf", {"keeper-*": other_user.name, "/srv/keeper/%u": str(chroot)}
        )
        config = tmp_path / "sshd_config"
        config.write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nUsePAM no\nPidFile none\n"
            f"AuthorizedKeysFile {keys}\nStrictModes no\nSubsystem sftp internal-sftp\n{rules}"
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        with serving([SSHD, "-D", "-e", "-f", config], port, tmp_path / "sshd.log"):
            options = {
                "host": "127.0.0.1",
                "port": port,
                "user": other_user.name,
                "key_file": user_key,
                "known_hosts_file": known_hosts(tmp_path, port, host_key),
            }
            use(monkeypatch, "sftp", "file", "sftp", **options)
            there_and_back(keeper, tmp_path, "backup")
            (snapshot,) = backups.rglob("production-*.sqlite3")
            assert oct(snapshot.stat().st_mode)[-3:] == "600"
            if ssh := shutil.which("ssh"):
                login = ["-p", str(port), "-i", str(user_key), "-o", "BatchMode=yes"]
                login += ["-o", f"UserKnownHostsFile={tmp_path / 'known_hosts'}"]
                done = subprocess.run(
                    [ssh, *login, f"{other_user.name}@127.0.0.1", "echo here"],
                    input="",
                    capture_output=True,
                    text=True,
                )
                assert "sftp connections only" in done.stdout
