"""Keeper processes that are forked, not started: loading keeper is most of a short run.

Each run is a process of its own, with locks, signals, a working folder, an environment and
an end of its own. What Python reads only when it starts has to be the same for all of them.
"""

import atexit
import gc
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
# Python, glibc and SQLite read them when they are loaded, and never again.
_READ_AT_START = ("PYTHON", "LANG", "LC_", "LD_", "TZ", "TMPDIR", "SQLITE_TMPDIR")
_NUMBER_BYTES = 20
_READY = b"ready"
# keeper imports them on first use, when another user may not read them any more.
_LOADED_LATE = (
    *("_strptime", "concurrent.futures.thread", "difflib", "encodings.utf_8_sig", "socket"),
    *("tomllib", "yaml"),
)


class KeeperServer:
    """What forks: one process that has keeper loaded, and has no thread, lock or database."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._at_start = _at_start(os.environ | {"PYTHONPATH": str(REPOSITORY)})

    def can_run(self, env: Mapping[str, str]) -> bool:
        """Whether a process started now with this environment would be like a forked one."""
        return _at_start(env) == self._at_start

    def run(
        self,
        arguments: list[str],
        cwd: Path,
        env: Mapping[str, str],
        timeout: float,
        user: tuple[int, int] | None = None,
    ) -> tuple[int, str, str]:
        """Run keeper without a terminal or input: its exit status, standard output and error.

        Root can run it as another user, by the numbers of user and group.

        As with `subprocess.run`, it is over when nobody has the outputs open any more.
        """
        request = {"arguments": arguments, "cwd": str(cwd), "env": dict(env), "umask": _umask()}
        request["user"] = user
        ours, theirs = socket.socketpair()
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        sent = [theirs.fileno(), out_end, err_end]
        with (
            ours,
            os.fdopen(out) as output,
            os.fdopen(err) as errors,
            ThreadPoolExecutor(2) as readers,
        ):
            socket.send_fds(self._channel, [json.dumps(request).encode()], sent)
            theirs.close()
            os.close(out_end)
            os.close(err_end)
            texts = [readers.submit(stream.read) for stream in (output, errors)]
            ours.settimeout(timeout)
            pid = int(ours.recv(_NUMBER_BYTES))
            try:
                status = int(ours.recv(_NUMBER_BYTES))
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise
            return status, texts[0].result(timeout), texts[1].result(timeout)


@contextmanager
def keeper_server() -> Iterator[KeeperServer]:
    """A process to fork keeper from, of the user and with the environment of now."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.keeper_server", str(theirs.fileno())],
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            # The same kind of files that keeper will have in their place.
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        if ours.recv(_NUMBER_BYTES) != _READY:
            raise RuntimeError(f"keeper cannot be loaded: {process.communicate()[1].decode()}")
        try:
            yield KeeperServer(ours)
        finally:
            ours.close()
            process.communicate()


def _at_start(env: Mapping[str, str]) -> tuple[int, dict[str, str]]:
    known = {name: value for name, value in env.items() if name.startswith(_READ_AT_START)}
    return os.geteuid(), {"PYTHONPATH": str(REPOSITORY)} | known


def _umask() -> int:
    # Setting it is the only other way to ask, and would be seen by every thread.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("Umask:")[2].split()[0], 8)


def _serve(channel: socket.socket) -> dict[str, Any] | None:
    """Fork at each request, and say how each child ended; return the request in the child."""
    events = selectors.DefaultSelector()
    events.register(channel, selectors.EVENT_READ)
    while True:
        for key, _ in events.select():
            if key.fileobj is not channel:
                events.unregister(key.fileobj)
                _report_end(key.fd, *key.data)
                continue
            message, files, *_ = socket.recv_fds(channel, 1 << 20, 3)
            if not message:
                return None
            pid = os.fork()
            if not pid:
                _forget(events)
                return _take_over(message, files)
            reply, *outputs = files
            os.write(reply, _number(pid))
            events.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, reply))
            for output in outputs:
                os.close(output)


def _report_end(pidfd: int, pid: int, reply: int) -> None:
    os.close(pidfd)
    _, status = os.waitpid(pid, 0)
    os.write(reply, _number(os.waitstatus_to_exitcode(status)))
    os.close(reply)


def _number(value: int) -> bytes:
    return str(value).encode().ljust(_NUMBER_BYTES)


def _forget(events: selectors.BaseSelector) -> None:
    """Close in the child what is the server's."""
    for key in list(events.get_map().values()):
        if isinstance(key.fileobj, socket.socket):
            key.fileobj.close()
        else:
            os.close(key.fd)
            os.close(key.data[1])
    events.close()


def _take_over(message: bytes, files: list[int]) -> dict[str, Any]:
    reply, out, err = files
    os.dup2(out, 1)
    os.dup2(err, 2)
    for one in (reply, out, err):
        os.close(one)
    request: dict[str, Any] = json.loads(message)
    return request


def load_keeper() -> None:
    """Import all of keeper, and what it imports on first use."""
    package = import_module("sqlitekeeper")
    for module in pkgutil.walk_packages(package.__path__, "sqlitekeeper."):
        import_module(module.name)
    for name in _LOADED_LATE:
        import_module(name)
    import_module("humanize").naturalsize(1)


def become(uid: int, gid: int) -> None:
    """Give up root's rights for those of another user."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def _run(request: Mapping[str, Any]) -> None:
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    os.umask(request["umask"])
    if request["user"]:
        become(*request["user"])
    from sqlitekeeper import __main__ as keeper

    sys.argv = [str(keeper.__file__), *request["arguments"]]
    sys.path[0] = request["cwd"]
    gc.enable()
    try:
        keeper.main()
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    _end(status)


def _end(status: int) -> None:
    """What Python does at its end, but for taking apart all that is loaded, page by page."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    load_keeper()
    # No page of what is loaded is written to, so all children share it.
    gc.disable()
    gc.freeze()
    server = socket.socket(fileno=int(sys.argv[1]))
    server.sendall(_READY)
    if asked := _serve(server):
        _run(asked)
