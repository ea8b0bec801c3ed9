"""Chromium without a window: notes are cookies, set and asked for by its DevTools protocol."""

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.applications.application import Application, text_of, word_of
from tests.applications.host import FailedError, Host, MissingError, stop

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --disable-dev-shm-usage --password-store=basic"
    " --remote-debugging-pipe"
)
DAY_SECONDS = 86400


class Chromium(Application):
    """A profile; the cookies of a note are those of the site of its word."""

    name = "Chromium"
    databases = tuple(f"Default/{one}" for one in ("Cookies", "History", "Web Data", "Login Data"))
    search = "site"

    def __init__(self, host: Host) -> None:
        self._host = host
        self._program = shutil.which("chromium")
        if self._program is None:
            raise MissingError("needs apt-get install chromium")
        self._log = host.folder / "chromium.log"
        self._turn = threading.Lock()
        self._calls = 0
        self._process: subprocess.Popen[bytes]

    @property
    def version(self) -> str:
        """As Debian packs it."""
        said = subprocess.run([self._program or "", "--version"], capture_output=True, text=True)
        return said.stdout.split()[1]

    def open(self, data: Path) -> None:
        """With its standard input and output as descriptors 3 and 4, where it expects the pipes."""
        shell = 'exec "$@" 3<&0 4>&1 </dev/null >&2'
        browser = [self._program or "", *FLAGS.split(), f"--user-data-dir={data}", "about:blank"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", shell, "sh", *browser],
                env=self._host.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
            )
        self._host.stack.callback(stop, self._process)
        assert self._process.stdin
        assert self._process.stdout
        self._in, self._out = self._process.stdout, self._process.stdin
        self._said = b""
        self._cookies()

    def _call(self, method: str, **parameters: object) -> Any:
        with self._turn:
            self._calls += 1
            call = {"id": self._calls, "method": method, "params": parameters}
            try:
                self._out.write(json.dumps(call).encode() + b"\0")
            except BrokenPipeError:
                raise FailedError(f"Chromium has ended: {self._log.read_text()[-2000:]}") from None
            while True:
                message = json.loads(self._message())
                if message.get("id") == self._calls:
                    if "error" in message:
                        raise FailedError(f"Chromium: {message['error']}")
                    return message["result"]

    def _message(self) -> bytes:
        while b"\0" not in self._said:
            part = self._in.read(65536)
            if not part:
                raise FailedError(f"Chromium has ended: {self._log.read_text()[-2000:]}")
            self._said += part
        message, _, self._said = self._said.partition(b"\0")
        return message

    def _cookies(self) -> list[dict[str, Any]]:
        cookies: list[dict[str, Any]] = self._call("Storage.getCookies")["cookies"]
        return cookies

    def write(self, number: int) -> None:
        """A cookie that lasts."""
        cookie = {
            "name": str(number),
            "value": text_of(number),
            "domain": f"{word_of(number)}.example",
            "path": "/",
            "expires": time.time() + 30 * DAY_SECONDS,
        }
        self._call("Storage.setCookies", cookies=[cookie])

    def forget(self, numbers: Iterable[int]) -> None:
        """Cookies go one by one."""
        raise NotImplementedError

    def notes(self) -> Mapping[int, str]:
        """All of its cookies."""
        return {int(one["name"]): one["value"] for one in self._cookies()}

    def find(self, word: str) -> list[int]:
        """The cookies of a site."""
        return sorted(
            int(one["name"]) for one in self._cookies() if one["domain"] == f"{word}.example"
        )

    def close(self) -> None:
        """As a user does: it writes what it still has in memory."""
        self._call("Browser.close")
        self._process.wait(60)
        self._in.close()
        self._out.close()
