"""What many tests need: real databases, real second processes, real rclone, a real S3 server."""

import json
import os
import pty
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import pytest
from xdist.scheduler import WorkStealingScheduling  # type: ignore[import-untyped]

from tests.keeper_server import KeeperServer, keeper_server
from tests.s3_server import S3 as S3
from tests.s3_server import s3_server

REPOSITORY = Path(__file__).resolve().parent.parent
DEBIAN_RCLONE = Path("/usr/bin/rclone")
WAIT_SECONDS = 30.0
KEEPER_SECONDS = 120.0
NOBODY = 65534

# Where it is set, each of thousands of processes would compile all of keeper again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two more than there are cores with `-n auto`: many tests wait for processes and timeouts."""
    return (os.cpu_count() or 1) + 2


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Nobody waits for the worker that got the soak: what it has not begun, others take."""
    return WorkStealingScheduling(config, log)


@pytest.fixture(autouse=True)
def private_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own configuration reaches a test, nor the other way round."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    for name in ("KEEPER_CONFIG", "KEEPER_RCLONE", "AWS_CA_BUNDLE", "SQLITE_TMPDIR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("KEEPER_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("RCLONE_CONFIG", str(home / "rclone.conf"))


@dataclass(frozen=True)
class Outcome:
    """What a keeper command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on standard output."""
        value: dict[str, Any] = json.loads(self.out)
        return value

    @property
    def entry(self) -> dict[str, Any]:
        """The entry of the only database of the run."""
        (entry,) = self.json["databases"]
        result: dict[str, Any] = entry
        return result


Keeper = Callable[..., Outcome]


@pytest.fixture(scope="session")
def forks() -> Iterator[KeeperServer]:
    """What starts keeper processes in no time."""
    with keeper_server() as server:
        yield server


@pytest.fixture
def keeper(tmp_path: Path, forks: KeeperServer) -> Keeper:
    """Run the keeper command in a process of its own, in tmp_path, without a terminal.

    The process is forked where that makes no difference, see tests/keeper_server.py.
    """

    def run(
        *arguments: object, cwd: Path = tmp_path, env: dict[str, str] | None = None, **options: Any
    ) -> Outcome:
        words = [str(argument) for argument in arguments]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)} | (env or {})
        if not options and forks.can_run(environment):
            outcome = Outcome(*forks.run(words, cwd, environment, KEEPER_SECONDS))
        else:
            done = subprocess.run(
                [sys.executable, "-m", "sqlitekeeper", *words],
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=KEEPER_SECONDS,
                **options,
            )
            outcome = Outcome(done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in outcome.err, outcome.err
        return outcome

    return run


@dataclass(frozen=True)
class Running:
    """A keeper command that goes on in the background."""

    process: subprocess.Popen[str]

    def end(self, number: int | None = None) -> Outcome:
        """Wait for its end, after sending it a signal if one is given."""
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=WAIT_SECONDS)
        assert "Traceback" not in err, err
        return Outcome(self.process.returncode, out, err)


StartKeeper = Callable[..., Running]


def _hear_interrupts() -> None:
    """A shell starts what it runs in the background with SIGINT ignored, nohup with SIGHUP."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def start_keeper(tmp_path: Path) -> Iterator[StartKeeper]:
    """Start the keeper command in tmp_path and do not wait for it; it ends with the test."""
    with ExitStack() as stack:

        def start(*arguments: object) -> Running:
            process = subprocess.Popen(
                [sys.executable, "-m", "sqlitekeeper", *map(str, arguments)],
                cwd=tmp_path,
                env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=_hear_interrupts,
            )
            stack.callback(_finish, process)
            return Running(process)

        yield start


@dataclass
class Companion:
    """A process that works on a database beside keeper."""

    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def end(self) -> str:
        """Ask it to end, and return what it said last."""
        out, _ = self.process.communicate(timeout=WAIT_SECONDS)
        assert self.process.returncode == 0
        return out.strip()


Beside = Callable[[str, Path], Companion]


@pytest.fixture
def beside() -> Iterator[Beside]:
    """Start a companion ("write", "read", "exclusive" ...) on a database; it ends with the test."""
    with ExitStack() as stack:

        def start(role: str, path: Path) -> Companion:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.processes", role, str(path)],
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(_finish, process)
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            return Companion(process)

        yield start


def _finish(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
    process.communicate()


MakeDatabase = Callable[..., Path]


@pytest.fixture
def make_database(tmp_path: Path) -> MakeDatabase:
    """Make a database with a table `t(id, body)` of `rows` rows, `deleted` of them gone again.

    A row takes about a quarter of a page of 4096 bytes.
    """

    def make(
        name: str = "app.sqlite3",
        *,
        rows: int = 400,
        deleted: int = 0,
        auto_vacuum: str = "incremental",
        journal_mode: str = "wal",
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = apsw.Connection(str(path))
        connection.execute(f"PRAGMA auto_vacuum = {auto_vacuum}").fetchall()
        connection.execute(f"PRAGMA journal_mode = {journal_mode}").fetchall()
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)").fetchall()
        with connection:
            connection.executemany(
                "INSERT INTO t (body) VALUES (randomblob(?))", [(900,) for _ in range(rows)]
            )
            connection.execute("DELETE FROM t WHERE id <= ?", (deleted,))
        connection.close()
        return path

    return make


def count_rows(path: Path, table: str = "t") -> int:
    """The rows of a table."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        value = connection.execute(f'SELECT count(*) FROM "{table}"').get
        assert isinstance(value, int)
        return value
    finally:
        connection.close()


def pragma(path: Path, name: str) -> Any:
    """A pragma's value, read through a fresh connection."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(int(WAIT_SECONDS * 1000))
    try:
        return connection.pragma(name)
    finally:
        connection.close()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, up to half a minute."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.01)


def _rclones() -> list[Any]:
    beside_python = Path(sys.executable).with_name("rclone")
    debian = pytest.param(
        DEBIAN_RCLONE,
        id="debian",
        marks=pytest.mark.skipif(not DEBIAN_RCLONE.exists(), reason="Debian's rclone is missing"),
    )
    return [pytest.param(beside_python, id="pypi"), debian]


@pytest.fixture(params=_rclones())
def any_rclone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run the test with the rclone from PyPI, and with Debian's where it is installed."""
    program: Path = request.param
    monkeypatch.setenv("KEEPER_RCLONE", str(program))
    return program


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    """An empty folder for snapshots to be made in."""
    folder = tmp_path / "staging"
    folder.mkdir()
    return folder


BackupConfig = Callable[..., Path]


@pytest.fixture
def backup_config(tmp_path: Path, staging: Path) -> BackupConfig:
    """Write the keeper.toml that keeper finds in tmp_path: `[[databases]]` tables and `[backup]`.

    A database is a path, or a table as a dict.
    """

    def write(*databases: Path | dict[str, object], **backup: object) -> Path:
        lines = []
        for one in databases:
            table: dict[str, object] = one if isinstance(one, dict) else {"path": one}
            lines += ["[[databases]]", *_toml(table)]
        lines += ["[backup]", *_toml({"staging": staging} | backup)]
        file = tmp_path / "keeper.toml"
        file.write_text("\n".join(lines) + "\n")
        if "RCLONE_CONFIG_DISK_TYPE" in os.environ:
            _reach_by_rclone(file)
        return file

    return write


def _reach_by_rclone(file: Path) -> None:
    """Make remotes of the local destinations of a keeper.toml: keeper reaches folders itself."""
    if file.exists():

        def remote(line: re.Match[str]) -> str:
            found = json.loads(line[1])
            if isinstance(found, str):
                return f"to = {json.dumps(in_folder(found, file.parent))}"
            return f"to = {json.dumps([in_folder(one, file.parent) for one in found])}"

        file.write_text(re.sub(r"(?m)^to = (.*)$", remote, file.read_text()))


def in_folder(to: object, base: Path = Path()) -> str:
    """A local destination as one that rclone reaches, of the remote `disk:` of `wrap_rclone`."""
    return str(to) if ":" in str(to) else f"disk:{base / str(to)}"


def _toml(table: Mapping[str, object]) -> list[str]:
    return [f"{key} = {json.dumps(value, default=str)}" for key, value in table.items()]


WrapRclone = Callable[..., Path]
# The last words of the calls that keeper makes of `rclone rcd`; all else are commands.
_CALLS = {
    "list": "list",
    "stat": "stat",
    "stats": "stats",
    "copy": "copyfile",
    "delete": "deletefile",
}


@pytest.fixture
def wrap_rclone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WrapRclone:
    """Put shell scripts in front of rclone, as an rclone that misbehaves.

    `wrap(copy="exit 9")` makes each copy of a file fail, see tests/wrapped_rclone.py;
    `wrap(version="exit 9")` replaces `rclone version`. Whatever falls through goes to the real
    program, which is also "$real". `disk:` is a remote whose files are those of this host, and
    the folders that keeper.toml ships to become folders of it.
    """

    def wrap(**cases: str) -> Path:
        script = tmp_path / "wrapped-rclone"
        real = Path(sys.executable).with_name("rclone")
        calls = {_CALLS[name]: body for name, body in cases.items() if name in _CALLS}
        commands = {name: body for name, body in cases.items() if name not in _CALLS}
        file = tmp_path / "wrapped-calls.json"
        file.write_text(json.dumps({"real": str(real), "cases": calls}))
        if calls:
            server = REPOSITORY / "tests" / "wrapped_rclone.py"
            commands.setdefault("rcd", f'exec "{sys.executable}" "{server}" "{file}" "$@"')
        arms = "".join(f"{name})\n{body}\n;;\n" for name, body in commands.items())
        script.write_text(
            f'#!/bin/sh\nreal="{real}"\ncase "$1" in\n{arms}esac\nexec "$real" "$@"\n'
        )
        script.chmod(0o755)
        monkeypatch.setenv("KEEPER_RCLONE", str(script))
        monkeypatch.setenv("RCLONE_CONFIG_DISK_TYPE", "local")
        _reach_by_rclone(tmp_path / "keeper.toml")
        return script

    return wrap


@pytest.fixture
def stalled_upload(tmp_path: Path, wrap_rclone: WrapRclone) -> Iterator[Path]:
    """An rclone whose uploads to `disk:` hang; the path of the file that then holds a process id.

    It is that of what hangs in place of the upload, which ends with rclone.
    """
    pid_file = tmp_path / "stalled.pid"
    wrap_rclone(
        copy=f'echo $$ > "{pid_file}.new"; mv "{pid_file}.new" "{pid_file}"; exec sleep 600'
    )
    yield pid_file
    if pid_file.exists() and is_running(int(pid_file.read_text())):
        os.kill(int(pid_file.read_text()), signal.SIGKILL)


def is_running(pid: int) -> bool:
    """Whether a process is there and has not ended (a zombie has)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def has_open(pid: int, part: str) -> bool:
    """Whether a process has a file open whose path has this in it."""
    try:
        links = [str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return False
    return any(part in link for link in links)


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """An S3 server with an empty bucket, known to rclone as the remote `lab`."""
    with s3_server(tmp_path) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def terminal(tmp_path: Path) -> Keeper:
    """Run the keeper command on a terminal, and give it `answer` when it asks; all it says is out.

    The exit status and the text are those of the one terminal that it has.
    """

    def run(*arguments: object, answer: str = "", env: dict[str, str] | None = None) -> Outcome:
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "sqlitekeeper", *map(str, arguments)],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY), "TERM": "xterm"} | (env or {}),
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        said, answered = b"", False
        while True:
            try:
                chunk = os.read(master, 4096)
            except OSError:  # how Linux says that nobody has the other side open any more
                break
            said += chunk
            if answer and not answered and b"[y/N]" in said:
                os.write(master, answer.encode() + b"\n")
                answered = True
        os.close(master)
        text = said.decode()
        assert "Traceback" not in text, text
        return Outcome(process.wait(WAIT_SECONDS), text, "")

    return run


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Without root's way past permissions, if that is who runs the tests."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every regular file below a folder, by relative name."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def holds_open(pid: int, word: str) -> bool:
    """Whether a process has a file open whose path contains `word`."""
    try:
        links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    except FileNotFoundError:
        return False
    return any(word in link for link in links)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@dataclass(frozen=True)
class OtherUser:
    """A user that is neither root nor whoever runs the tests, and a folder that everyone sees."""

    name: str
    uid: int
    gid: int
    folder: Path
    rclone: Path
    forks: KeeperServer

    def keeper(self, *arguments: object) -> Outcome:
        """Run a keeper command as this user, with a state folder of their own."""
        env = os.environ | {
            "PYTHONPATH": str(REPOSITORY),
            "KEEPER_STATE": str(self.folder / "state"),
            "HOME": str(self.folder),
            "RCLONE_CONFIG": str(self.folder / "rclone.conf"),
            "KEEPER_RCLONE": str(self.rclone),
        }
        words = [str(argument) for argument in arguments]
        user = (self.uid, self.gid)
        assert self.forks.can_run(env)
        outcome = Outcome(*self.forks.run(words, REPOSITORY, env, KEEPER_SECONDS, user))
        assert "Traceback" not in outcome.err, outcome.err
        return outcome


@pytest.fixture(scope="session")
def rclone_for_all() -> Iterator[Path]:
    """The rclone beside Python, or a copy of it where only root may look at that."""
    program = Path(sys.executable).with_name("rclone")
    if all(one.stat().st_mode & 0o001 for one in (program.resolve(), *program.resolve().parents)):
        yield program
        return
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(shutil.copy(program, name))


@pytest.fixture
def other_user(rclone_for_all: Path, forks: KeeperServer) -> Iterator[OtherUser]:
    """Somebody else on this machine, with a folder of their own outside tmp_path."""
    if os.geteuid() != 0:
        pytest.skip("only root can run keeper as somebody else")
    try:
        account = pwd.getpwnam("nobody")
    except KeyError:
        pytest.skip("there is no user nobody here")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chown(folder, account.pw_uid, account.pw_gid)
        folder.chmod(0o755)
        yield OtherUser("nobody", account.pw_uid, account.pw_gid, folder, rclone_for_all, forks)


Mount = Callable[..., Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mount a small file system in memory (`size` as in "1m") below tmp_path."""
    with ExitStack() as stack:

        def make(name: str, size: str) -> Path:
            folder = tmp_path / name
            folder.mkdir()
            options = f"size={size},mode=755,huge=never"
            command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
            if shutil.which("mount") is None or subprocess.run(command, stderr=-3).returncode:
                pytest.skip("file systems cannot be mounted here")
            stack.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=True)
            return folder

        yield make
