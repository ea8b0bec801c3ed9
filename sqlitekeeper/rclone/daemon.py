"""One `rclone rcd`, spoken to over a Unix socket that only this user can reach.

rclone before 1.61 has no such sockets: it listens on 127.0.0.1 and a port of its
own choice, with a password that only the two know. Whatever proxies the environment
names are not for this: it is a plain socket, and HTTP/1.0, whose answers end when
the connection does. A question whose connection is closed is given up by rclone.
"""

import base64
import json
import os
import re
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlitekeeper.filesystem.private_folder import private_folder, remove_litter
from sqlitekeeper.rclone.errors import RcloneError, RcloneFailedError, RcloneStalledError
from sqlitekeeper.rclone.log import Log, figures_in
from sqlitekeeper.rclone.process import (
    LONGEST_OUTPUT,
    POLL_SECONDS,
    Process,
    Signs,
    StallWatch,
    moved_bytes,
)
from sqlitekeeper.workers import stop_if_asked

PREFIX = "keeper-rclone-"
# What a Unix socket's path may have: unix(7).
LONGEST_SOCKET_PATH = 107
READ_BYTES = 256 * 1024
START_POLL_SECONDS = 0.004
# For its figures rclone need not do anything.
STATS_SECONDS = 5.0
# One that has ended by itself is started again.
MOST_STARTS = 3
USER = "keeper"
_SERVING = re.compile(r"Serving remote control on http://127\.0\.0\.1:(\d+)/")

Stats = Mapping[str, Any]


class Daemon:
    """A running `rclone rcd`; several threads may ask it at once."""

    def __init__(
        self,
        program: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        unix: bool,
        timeout_seconds: float,
        secret_values: Collection[str] = (),
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._stack = ExitStack()
        self._port = 0
        self._lock = threading.Lock()
        self._transfers = 0
        # Of keeper's own questions; the kernel counts them as moved by rclone, too.
        self._chatter_bytes = 0
        self._log = Log(self._on_entry, secrets=secret_values)
        folder = self._folder()
        self._socket = str(folder / "rc")
        password = secrets.token_urlsafe(32)
        self._login = base64.b64encode(f"{USER}:{password}".encode()).decode()
        command = [program, "rcd", *arguments, "--use-json-log"]
        if unix and len(os.fsencode(self._socket)) <= LONGEST_SOCKET_PATH:
            command += ["--rc-addr", f"unix://{self._socket}"]
        else:
            self._socket = ""
            command += ["--rc-addr", "127.0.0.1:0"]
        login = {"RCLONE_RC_USER": USER, "RCLONE_RC_PASS": password}
        try:
            self._process = Process(command, {**environment, **login}, self._log)
            self._stack.callback(self._process.end)
            self._wait_for_start()
        except BaseException:
            self.end()
            raise

    @property
    def is_running(self) -> bool:
        """Whether it can be asked."""
        return self._process.status() is None

    def end(self) -> None:
        """End it, what it is doing, and what it has started."""
        self._stack.close()

    def ask(
        self,
        path: str,
        parameters: Mapping[str, Any],
        *,
        command: str,
        where: str,
        watch: Callable[[Stats], None] = lambda stats: None,
        of: str | None = None,
    ) -> Any:
        """The answer to a question, such as "operations/stat"; it may take as long as bytes move.

        `watch` gets rclone's figures of the `_group` that the question is of, a few
        times a second. With the name of a file that it is `of`, the bytes of that one
        must move, whatever moves beside it. An error names `command` and `where`.

        Raises:
            RcloneError: rclone has failed, ended, moved nothing for too long, or answers nonsense.
        """
        group = parameters.get("_group")
        answer = bytearray()
        own = 0

        def signs() -> Signs:
            stats = self._stats(group) if group else {}
            watch(stats)
            nonlocal own
            own = _bytes_of(of, stats, own)
            if of and self._transfers > 1:
                return Signs(own, 0, len(answer))
            moved = moved_bytes(self._process.pid) - self._chatter_bytes - self._log.bytes
            return Signs(figures_in(stats), moved, len(answer))

        stall_watch = StallWatch(self._timeout_seconds, signs)
        with self._counted(bool(group)):
            try:
                self._exchange(path, parameters, answer, stall_watch)
            except OSError:
                self._raise_if_ended(command, where)
        if stall_watch.is_over:
            raise RcloneStalledError(command, where, self._timeout_seconds, [])
        return self._read(bytes(answer), command, where)

    @contextmanager
    def _counted(self, is_transfer: bool) -> Iterator[None]:
        with self._lock:
            self._transfers += is_transfer
        try:
            yield
        finally:
            with self._lock:
                self._transfers -= is_transfer

    def _exchange(
        self, path: str, parameters: Mapping[str, Any], answer: bytearray, stall_watch: StallWatch
    ) -> None:
        body = json.dumps(parameters).encode()
        head = (
            f"POST /{path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Basic {self._login}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        with self._connected() as connection:
            connection.sendall(head + body)
            self._chatter_bytes += len(head) + len(body)
            while not stall_watch.is_over:
                stop_if_asked()
                try:
                    data = connection.recv(READ_BYTES)
                except TimeoutError:
                    stall_watch.check()
                    continue
                if not data:
                    return
                self._chatter_bytes += len(data)
                answer += data
                if len(answer) > LONGEST_OUTPUT:
                    raise RcloneError(
                        "rclone's answer is longer than 1 GiB, so it was not read",
                        hint="is it really rclone? `rclone version` should say so",
                    )

    def _read(self, answer: bytes, command: str, where: str) -> Any:
        head, _, body = answer.partition(b"\r\n\r\n")
        try:
            found = json.loads(body)
            status = int(head.split(maxsplit=2)[1])
            error = found["error"] if status != 200 else ""
        except (ValueError, IndexError, KeyError, TypeError, RecursionError) as trouble:
            if not answer:
                self._raise_if_ended(command, where)
            raise RcloneError(
                f"rclone {command}: its answer cannot be read ({trouble!r:.200})",
                hint="is it really rclone? `rclone version` should say so",
            ) from None
        if status != 200:
            raise RcloneFailedError(command, where, status, self._log.presentable([str(error)]))
        return found

    def _stats(self, group: str) -> Stats:
        """rclone's figures of a group; none where it does not say."""
        body = bytearray()
        with suppress(OSError, RcloneError, ValueError):
            self._exchange(
                "core/stats", {"group": group}, body, StallWatch(STATS_SECONDS, _nothing)
            )
            found = self._read(bytes(body), "stats", "")
            return found if isinstance(found, dict) else {}
        return {}

    def _connected(self) -> socket.socket:
        family = socket.AF_UNIX if self._socket else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(POLL_SECONDS)
            connection.connect(self._socket or ("127.0.0.1", self._port))
        except BaseException:
            connection.close()
            raise
        return connection

    def _folder(self) -> Path:
        parent = Path(tempfile.gettempdir())
        remove_litter(parent, PREFIX)
        try:
            return self._stack.enter_context(private_folder(parent, PREFIX))
        except OSError as error:
            raise RcloneError(
                f"{parent}: cannot be written to ({error.strerror})",
                hint="make room there, or set TMPDIR to another folder",
            ) from None

    def _on_entry(self, entry: dict[str, Any]) -> None:
        """Learn the port from the log, where it is rclone's choice."""
        if found := _SERVING.search(str(entry.get("msg"))):
            self._port = int(found[1])

    def _wait_for_start(self) -> None:
        deadline = time.monotonic() + self._timeout_seconds
        while True:
            stop_if_asked()
            self._raise_if_ended("rcd", "", at_once=True)
            if self._socket or self._port:
                with suppress(OSError):
                    self._connected().close()
                    return
            if time.monotonic() > deadline:
                raise RcloneStalledError("rcd", "", self._timeout_seconds, self._log.words)
            time.sleep(START_POLL_SECONDS)

    def _raise_if_ended(self, command: str, where: str, *, at_once: bool = False) -> None:
        """Raise what it said last if it has ended, or does so in a moment."""
        status = self._process.status(0 if at_once else POLL_SECONDS)
        if status is not None:
            raise RcloneFailedError(command, where, status, self._log.words)


class RunDaemon:
    """The daemon of a run: started when it is first needed, and again if it has ended by itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._daemon: Daemon | None = None
        self._starts = 0

    def running(self, start: Callable[[], Daemon]) -> Daemon:
        """The daemon, which `start` starts.

        Raises:
            KeeperError: it cannot be started, or has ended too often.
        """
        with self._lock:
            if self._daemon and self._daemon.is_running:
                return self._daemon
            self.end()
            if self._starts >= MOST_STARTS:
                raise RcloneError(
                    f"rclone has ended by itself {self._starts} times in this run",
                    hint="`rclone rcd` should go on until it is ended: does it, started by hand?",
                )
            self._daemon = start()
            self._starts += 1
            return self._daemon

    def end(self) -> None:
        """End it, if it runs."""
        if self._daemon:
            self._daemon.end()
            self._daemon = None


def _bytes_of(name: str | None, stats: Stats, before: int) -> int:
    """How many bytes of a file are done; as `before` where rclone does not say."""
    try:
        return next(int(one["bytes"]) for one in stats["transferring"] if one["name"] == name)
    except (KeyError, TypeError, ValueError, StopIteration):
        return before


def _nothing() -> Signs:
    return Signs(0, 0, 0)
