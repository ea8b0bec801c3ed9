"""A line to a server on which each connection, and each request on it, takes its time."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHUNK = 256 * 1024


@contextmanager
def slow_line(port: int, seconds: float) -> Iterator[int]:
    """A port of the loopback interface that leads to another one, `seconds` away."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server, port, seconds), daemon=True).start()
        yield server.getsockname()[1]
        # Wakes the thread that waits in accept.
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, port: int, seconds: float) -> None:
    with suppress(OSError):
        while True:
            client, _ = server.accept()
            threading.Thread(target=_serve, args=(client, port, seconds), daemon=True).start()


def _serve(client: socket.socket, port: int, seconds: float) -> None:
    time.sleep(seconds)
    answered = threading.Event()
    answered.set()
    with client, suppress(OSError), socket.create_connection(("127.0.0.1", port)) as upstream:
        back = threading.Thread(target=_answers, args=(upstream, client, answered), daemon=True)
        back.start()
        while data := client.recv(CHUNK):
            # What comes first after an answer is a new request.
            if answered.is_set():
                answered.clear()
                time.sleep(seconds)
            upstream.sendall(data)
        upstream.shutdown(socket.SHUT_WR)
        back.join()


def _answers(upstream: socket.socket, client: socket.socket, answered: threading.Event) -> None:
    with suppress(OSError):
        while data := upstream.recv(CHUNK):
            client.sendall(data)
            answered.set()
        client.shutdown(socket.SHUT_WR)
