"""An `rclone rcd` that misbehaves: a real one, and a shell script in front of some of its calls.

    python tests/wrapped_rclone.py CASES rcd ARGUMENT...

CASES is a JSON file with the real program and scripts by the last word of a call's
name. A script gets the parameters as variables: $path below $fs, or $from and $to. Its exit
status 0 is an answer (what it prints, or else an empty one), any other an error, in the words that
it says on standard error; one that comes to its end lets the call through. "$real" does the
call, and fails where that does.
"""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

THROUGH = 99


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self.path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def forward(upstream: str, name: str, login: str, body: bytes) -> tuple[int, bytes]:
    """The real rclone's answer."""
    connection = Connection(upstream)
    headers = {"Content-Type": "application/json", "Authorization": login}
    connection.request("POST", name, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


class Server(ThreadingHTTPServer):
    """Listens where rclone was told to."""

    address_family = socket.AF_UNIX
    daemon_threads = True
    cases: dict[str, str]
    upstream: str

    def server_bind(self) -> None:
        """Without a look at the host's name."""
        socket.socket.bind(self.socket, self.server_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who has closed the connection does not want to know."""


class Handler(BaseHTTPRequestHandler):
    """One call."""

    server: Server

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Say nothing."""

    def do_POST(self) -> None:
        """Run the script that there is for the call, or let it through."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        script = self.server.cases.get(self.path.rpartition("/")[2])
        status, answer = self._run(script, body) if script else self._forward(body)
        self.send_response_only(status)
        self.end_headers()
        self.wfile.write(answer)

    def _forward(self, body: bytes) -> tuple[int, bytes]:
        return forward(self.server.upstream, self.path, self.headers["Authorization"], body)

    def _run(self, script: str, body: bytes) -> tuple[int, bytes]:
        asked = json.loads(body)
        given = {key: str(value) for key, value in asked.items() if isinstance(value, str)}
        names = {"path": given.get("remote", given.get("dstRemote", ""))}
        names["fs"] = given.get("fs", "")
        names["from"] = given.get("srcFs", "") + given.get("srcRemote", "")
        names["to"] = given.get("dstFs", "") + given.get("dstRemote", "")
        names["rcd"] = str(os.getpid())
        again = json.dumps(
            [self.server.upstream, self.path, self.headers["Authorization"], body.decode()]
        )
        real = Path(__file__).resolve()
        text = f'real() {{ printf "%s" "$REQUEST" | "{sys.executable}" "{real}" call; }}\n'
        text += script.replace('"$real"', "real") + f"\nexit {THROUGH}\n"
        done = subprocess.run(
            ["/bin/sh", "-c", text],
            env=os.environ | names | {"REQUEST": again},
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        if done.returncode == THROUGH:
            return self._forward(body)
        if done.returncode:
            said = done.stderr.decode().strip() or f"status {done.returncode}"
            return 500, json.dumps({"error": said, "status": 500}).encode()
        return 200, done.stdout or b"{}"


def listens(path: str) -> bool:
    """Whether somebody listens at a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


def call() -> None:
    """Do the call that standard input names, and print the answer."""
    upstream, name, login, body = json.load(sys.stdin)
    status, answer = forward(upstream, name, login, body.encode())
    sys.stdout.buffer.write(answer)
    if status != 200:
        sys.stderr.write(json.loads(answer)["error"])
        sys.exit(1)


def main() -> None:
    """Start the real one, and serve in front of it."""
    file, *arguments = sys.argv[1:]
    found = json.loads(Path(file).read_text())
    address = next(word for word in arguments if word.startswith("unix://"))
    socket_path = address.removeprefix("unix://")
    upstream = f"{socket_path}.real"
    real = [word.replace(address, f"unix://{upstream}") for word in arguments]
    process = subprocess.Popen([found["real"], *real])
    # The socket is there a moment before anybody listens at it.
    while not listens(upstream):
        if process.poll() is not None:
            sys.exit(process.returncode)
        time.sleep(0.005)
    server = Server(socket_path, Handler, bind_and_activate=False)  # type: ignore[arg-type]
    server.cases, server.upstream = found["cases"], upstream
    server.server_bind()
    server.server_activate()
    server.serve_forever()


if __name__ == "__main__":
    call() if sys.argv[1:] == ["call"] else main()
