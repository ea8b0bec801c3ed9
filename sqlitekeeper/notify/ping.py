"""A ping as healthchecks.io takes it: POST to an address that is itself the secret.

The rules are those of https://healthchecks.io/docs/http_api/: the plain address
means success, "/start" and "/fail" after its path mean what they say, and the
body is kept with the ping.
"""

import base64
import os
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit, urlunsplit

SECONDS = 10.0
# What is left for the end's ping when waiting for the start's took all of that.
LEAST_SECONDS = 3.0
RETRIES = 2
# A server that says nothing for half of the time gets a second chance in the other half.
ATTEMPT_SECONDS = 5.0
PAUSE_SECONDS = 0.5
# Of what a server refuses, only these may go better a moment later: timeout, too many requests.
RETRIED = (408, 429)


class Ping:
    """One ping on its way; nothing that it says about itself holds the address.

    It is sent from a thread: nothing else bounds the time that resolving a
    host's name takes. The run goes on meanwhile.
    """

    def __init__(self, url: str, ending: str, body: bytes, agent: str, seconds: float) -> None:
        self._request = _request(url, ending, body, agent)
        self._deadline = time.monotonic() + seconds
        self._silence = f"no answer within {seconds:.2g} seconds"
        self._trouble: str | None = self._silence
        # A daemon: one that hangs in the resolver must not hold the end of the program.
        self._thread = threading.Thread(target=self._send, name="ping", daemon=True)
        self._thread.start()

    def trouble(self) -> str | None:
        """Wait for the answer, no longer than is left of the ping's time; None when all is well."""
        self._thread.join(max(0.0, self._deadline - time.monotonic()))
        return self._silence if self._thread.is_alive() else self._trouble

    def _send(self) -> None:
        opener = _opener()
        for attempt in range(1 + RETRIES):
            time.sleep(PAUSE_SECONDS * attempt)
            # None is begun late: a "/start" must not follow the ping of the end.
            left = self._deadline - time.monotonic()
            if left <= 0:
                return
            try:
                with opener.open(self._request, timeout=min(left, ATTEMPT_SECONDS)):
                    self._trouble = None
                    return
            except urllib.error.HTTPError as error:
                error.close()
                moved = "; it redirects, which is not followed" if 300 <= error.code < 400 else ""
                self._trouble = f"the server answered {error.code}{moved}"
                if error.code < 500 and error.code not in RETRIED:
                    return
            except Exception as error:
                self._trouble = _why(error) or self._silence


def _request(url: str, ending: str, body: bytes, agent: str) -> urllib.request.Request:
    """The address with `ending` after its path; a user's name and password go into a header."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    path = parts.path.rstrip("/") + ending if ending else parts.path
    headers = {"User-Agent": agent, "Content-Type": "text/plain; charset=utf-8"}
    if user:
        headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
    address = urlunsplit((parts.scheme, host, path, parts.query, ""))
    return urllib.request.Request(address, body, headers, method="POST")  # noqa: S310 - as checked


def _opener() -> urllib.request.OpenerDirector:
    """What opens http and https, by a proxy if the environment says so, and nothing else.

    Without a handler of redirects nobody else is ever told the address.
    """
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _why(error: Exception) -> str:
    """Why a ping failed, in words that cannot hold its address; "" where it was not answered.

    The errors' own texts may: a certificate that does not fit names the host,
    a malformed address is quoted.
    """
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    match reason:
        case TimeoutError():
            return ""
        case socket.gaierror():
            return "the host's name cannot be resolved"
        case ssl.SSLCertVerificationError():
            return "the server's certificate cannot be verified"
        case ssl.SSLError():
            return "no TLS connection"
        case OSError() if reason.errno:
            return os.strerror(reason.errno)
        case _:
            return f"no connection ({type(reason).__name__})"
