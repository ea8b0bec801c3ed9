"""Pings: to the right address, again when that fails, never longer than they may take."""

import base64
import socket
import time

import pytest

from sqlitekeeper.notify.ping import Ping
from tests.listening import Listening


def ping(url: str, ending: str = "", body: bytes = b"", seconds: float = 10.0) -> str | None:
    """Send one and wait for what becomes of it."""
    return Ping(url, ending, body, "test", seconds).trouble()


def test_success_is_the_plain_address(server: Listening) -> None:
    """By POST, with the summary as plain text."""
    assert ping(server.url, body="all is well ☃".encode()) is None

    (one,) = server.received
    assert (one.method, one.path, one.body) == ("POST", "/secret-uuid", "all is well ☃")
    assert one.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("/a", "/a/fail"),
        ("/a/", "/a/fail"),
        ("/key/slug?create=1", "/key/slug/fail?create=1"),
        ("/a#part", "/a/fail"),
        ("", "/fail"),
    ],
)
def test_ending_follows_the_path(server: Listening, written: str, asked: str) -> None:
    """And stands before what is asked of the server."""
    assert ping(f"http://127.0.0.1:{server.port}{written}", "/fail") is None

    assert server.paths == [asked]


def test_password_goes_into_a_header(server: Listening) -> None:
    """For a server behind basic authentication."""
    assert ping(f"http://me:word@127.0.0.1:{server.port}/a") is None

    sent = server.received[0].headers["Authorization"]
    assert base64.b64decode(sent.removeprefix("Basic ")) == b"me:word"


def test_ping_is_tried_three_times(server: Listening) -> None:
    """The third try may be the one that arrives."""
    server.answers = [(500, {}), (503, {})]

    assert ping(server.url) is None
    assert len(server.received) == 3


def test_ping_is_not_tried_a_fourth_time(server: Listening) -> None:
    """It then says what the server said."""
    server.answers = [(500, {})] * 4

    assert ping(server.url) == "the server answered 500"
    assert len(server.received) == 3


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/elsewhere"])
def test_redirects_are_not_followed(server: Listening, target: str) -> None:
    """Wherever they lead: the address is for one server."""
    server.answers = [(302, {"Location": target})]

    assert ping(server.url) == "the server answered 302; it redirects, which is not followed"
    assert server.paths == ["/secret-uuid"]


def test_refusal_is_not_tried_again(server: Listening) -> None:
    """An address that is not known now is not known in a second."""
    server.answers = [(404, {})]

    assert ping(server.url) == "the server answered 404"
    assert len(server.received) == 1


def test_silent_server_does_not_hold_the_run() -> None:
    """It takes the connection and says nothing, as a black hole does."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        trouble = ping(f"http://127.0.0.1:{silent.getsockname()[1]}/secret-uuid", seconds=0.5)
        took = time.monotonic() - began

    assert trouble == "no answer within 0.5 seconds"
    assert took < 3


def test_drip_of_an_answer_does_not_hold_the_run() -> None:
    """A byte now and then resets the clock of a socket, but not that of a ping."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        one = Ping(f"http://127.0.0.1:{server.getsockname()[1]}/", "", b"", "test", 1.0)
        connection, _ = server.accept()
        with connection:
            for byte in b"HTTP/1.1 ":
                connection.sendall(bytes([byte]))
                time.sleep(0.05)
            trouble = one.trouble()

    assert trouble == "no answer within 1 seconds"
    assert time.monotonic() - began < 4


def test_no_ping_follows_one_that_was_given_up(server: Listening) -> None:
    """A late start after the end would count as a run that never ended."""
    server.answers = [(500, {})] * 3
    one = Ping(server.url, "/start", b"", "test", 0.3)
    assert one.trouble() is not None
    seen = len(server.received)

    one._thread.join()

    assert len(server.received) == seen


@pytest.mark.parametrize(
    ("url", "trouble"),
    [
        ("http://127.0.0.1:{closed}/secret-uuid", "Connection refused"),
        ("http://secret-host.invalid/secret-uuid", "the host's name cannot be resolved"),
        ("https://127.0.0.1:{open}/secret-uuid", "no TLS connection"),
    ],
)
def test_trouble_never_names_the_address(server: Listening, url: str, trouble: str) -> None:
    """Neither host nor path: the words are keeper's own."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = unused.getsockname()[1]
        said = ping(url.format(closed=closed, open=server.port))

    assert said == trouble


def test_host_that_does_not_resolve_is_tried_no_longer_than_it_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The resolver has a clock of its own, and ignores that of the socket."""

    def hangs(*_arguments: object, **_options: object) -> None:
        time.sleep(2)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    began = time.monotonic()

    assert ping("http://example.invalid/", seconds=0.3) == "no answer within 0.3 seconds"
    assert time.monotonic() - began < 1.5
