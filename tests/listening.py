"""An HTTP server that keeps the pings it gets, in the process of the tests."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Received:
    """One request."""

    method: str
    path: str
    body: str
    headers: dict[str, str]


@dataclass
class Listening:
    """Where pings arrive; the first ones are answered by `answers`, all others by 200."""

    port: int
    received: list[Received] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """An address below which everything is kept."""
        return f"http://127.0.0.1:{self.port}/secret-uuid"

    @property
    def paths(self) -> list[str]:
        """What was asked for, in its order."""
        return [one.path for one in self.received]


@contextmanager
def listening() -> Iterator[Listening]:
    """Listen on a free port of the loopback interface, past any proxy."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            found.received.append(Received(self.command, self.path, body, dict(self.headers)))
            status, headers = found.answers.pop(0) if found.answers else (200, {})
            self.send_response(status)
            for key, value in (headers | {"Content-Length": "2"}).items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(b"OK")

        do_POST = do_GET = handle_one  # noqa: N815

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Listening(server.server_port)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield found
        finally:
            server.shutdown()
