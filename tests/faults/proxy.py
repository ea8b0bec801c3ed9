"""A proxy between rclone and an S3 server: a test decides what becomes of each request."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import md5
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHUNK = 64 * 1024
# What would not be true any more, or is settled between two ends of a connection.
_NOT_PASSED_ON = ("content-length", "content-md5", "expect", "connection")


@dataclass(frozen=True)
class Request:
    """What rclone asks for: `path` with its query, as in "/bucket/app/x.json?uploads="."""

    method: str
    path: str

    @property
    def is_listing(self) -> bool:
        """Whether the provider bills it as a list call."""
        return self.method == "GET" and "max-keys=" in self.path


@dataclass(frozen=True)
class Response:
    """What comes back."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """Answered by the proxy itself, with an error of S3's."""

    status: int
    code: str


def error(code: str) -> bytes:
    """How S3 words an error."""
    text = f"<Error><Code>{code}</Code><Message>{code}, says the proxy</Message></Error>"
    return f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode()


@dataclass(frozen=True)
class Reset:
    """The connection is reset when this many bytes of the body have come."""

    after_bytes: int = 0


@dataclass(frozen=True)
class Silence:
    """The request is taken, this much of its body too, and nothing ever comes back."""

    after_bytes: int = 0


@dataclass(frozen=True)
class Truncate:
    """Only the first bytes are stored; the answer is that of a server that has stored all."""

    keep_bytes: int


@dataclass(frozen=True)
class Slow:
    """The body is taken at this rate."""

    bytes_per_second: int


@dataclass(frozen=True)
class Replay:
    """Answered as this request was answered for the first time."""


Fault = Answer | Reset | Silence | Truncate | Slow | Replay
Rule = Callable[[Request], Fault | None]


def no_fault(request: Request) -> Fault | None:
    """Everything goes through."""
    return None


@dataclass
class Proxy:
    """A running proxy: `rule` may be changed at any time; `requests` are those so far."""

    port: int
    rule: Rule = no_fault
    requests: list[Request] = field(default_factory=list)
    first: dict[Request, Response] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    proxy: Proxy
    upstream: int

    def server_bind(self) -> None:
        """Take no more than is read, so that whoever uploads feels how slow it goes."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CHUNK)
        super().server_bind()

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections that break are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Say nothing."""

    def _handle(self) -> None:
        proxy = self.server.proxy
        request = Request(self.command, self.path)
        proxy.requests.append(request)
        match proxy.rule(request):
            case Answer(status, code):
                self._body()
                self._answer(Response(status, [("Content-Type", "application/xml")], error(code)))
            case Reset(after_bytes):
                self._body(after_bytes)
                self._reset()
            case Silence(after_bytes):
                self._body(after_bytes)
                proxy.over.wait()
                self._reset()
            case Truncate(keep_bytes):
                body = self._body()
                self._forward(body[:keep_bytes])
                digest = md5(body, usedforsecurity=False).hexdigest()
                self._answer(Response(200, [("ETag", f'"{digest}"')]))
            case Slow(bytes_per_second):
                self._answer(self._forward(self._body(rate=bytes_per_second)))
            case Replay() if request in proxy.first:
                self._body()
                self._answer(proxy.first[request])
            case _:
                response = self._forward(self._body())
                proxy.first.setdefault(request, response)
                self._answer(response)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815

    def _body(self, most: int | None = None, rate: int | None = None) -> bytes:
        """The request's body, or its first bytes, at no more than a rate in bytes a second."""
        left = int(self.headers.get("Content-Length") or 0)
        left = left if most is None else min(left, most)
        taken = []
        while left:
            data = self.rfile.read(min(left, CHUNK))
            if not data:
                break
            taken.append(data)
            left -= len(data)
            if rate:
                self.server.proxy.over.wait(len(data) / rate)
        return b"".join(taken)

    def _forward(self, body: bytes) -> "Response":
        connection = HTTPConnection("127.0.0.1", self.server.upstream, timeout=60)
        try:
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                if name.lower() not in _NOT_PASSED_ON:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return Response(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()

    def _answer(self, response: "Response") -> None:
        self.send_response_only(response.status)
        named = {name.lower() for name, _ in response.headers}
        for name, value in response.headers:
            if name.lower() not in ("transfer-encoding", "connection"):
                self.send_header(name, value)
        if "content-length" not in named:
            self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.connection.close()


@contextmanager
def proxy_to(upstream: int) -> Iterator[Proxy]:
    """A proxy on a free port of the loopback interface, in front of a port there."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.upstream = upstream
    server.proxy = proxy = Proxy(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
