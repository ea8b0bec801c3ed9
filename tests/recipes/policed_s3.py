"""An S3 server that obeys an IAM policy: a proxy in front of `rclone serve s3`, which knows none.

Each request is turned into the IAM actions that AWS would ask for it
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html),
and answered with 403 where the policy does not allow them.
"""

import http.client
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

ARN: Final = "arn:aws:s3:::"
BUCKET_ACTIONS: Final = frozenset({"s3:ListBucket", "s3:CreateBucket"})
OBJECT_ACTIONS: Final = frozenset(
    {
        "s3:GetObject",
        "s3:PutObject",
        "s3:PutObjectAcl",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
    }
)
DENIED: Final = (
    b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
)


@dataclass(frozen=True)
class Wish:
    """One action that a request needs: on a bucket, or on an object of it."""

    action: str
    resource: str
    prefix: str | None = None


def check_policy(policy: Mapping[str, Any]) -> None:
    """Refuse whatever AWS would refuse, or would silently never match."""
    assert set(policy) == {"Version", "Statement"}
    assert policy["Version"] == "2012-10-17"
    for statement in policy["Statement"]:
        assert set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"}
        assert statement["Sid"].isalnum()
        assert statement["Effect"] in ("Allow", "Deny")
        for action in statement["Action"]:
            assert action in BUCKET_ACTIONS | OBJECT_ACTIONS, action
            on_objects = action in OBJECT_ACTIONS
            for resource in statement["Resource"]:
                bucket, slash, _ = resource.removeprefix(ARN).partition("/")
                assert resource.startswith(ARN)
                assert "*" not in bucket
                # A bucket's action on objects, or the other way round, never matches.
                assert bool(slash) == on_objects, (action, resource)
        for operator, tests in statement.get("Condition", {}).items():
            assert operator == "StringLike"
            assert set(tests) == {"s3:prefix"}


def allows(policy: Mapping[str, Any], wish: Wish) -> bool:
    """Whether some statement allows it, and none denies it."""
    effects = {s["Effect"] for s in policy["Statement"] if _applies(s, wish)}
    return effects == {"Allow"}


def _applies(statement: Mapping[str, Any], wish: Wish) -> bool:
    if wish.action not in statement["Action"]:
        return False
    if not any(fnmatchcase(wish.resource, pattern) for pattern in statement["Resource"]):
        return False
    patterns = statement.get("Condition", {}).get("StringLike", {}).get("s3:prefix")
    if patterns is None:
        return True
    # A request without a prefix does not match a condition on it.
    return wish.prefix is not None and any(fnmatchcase(wish.prefix, one) for one in patterns)


def wishes(method: str, target: str, headers: Mapping[str, str]) -> list[Wish]:
    """The IAM actions that a request needs."""
    url = urlsplit(target)
    query = parse_qs(url.query, keep_blank_values=True)
    bucket, _, key = unquote(url.path).lstrip("/").partition("/")
    if not key:
        action = {"PUT": "s3:CreateBucket", "POST": "s3:DeleteObject"}.get(method, "s3:ListBucket")
        prefix = query["prefix"][0] if "prefix" in query else None
        return [Wish(action, ARN + bucket, prefix)]
    resource = f"{ARN}{bucket}/{key}"
    if method == "DELETE":
        aborts = "uploadId" in query
        return [Wish("s3:AbortMultipartUpload" if aborts else "s3:DeleteObject", resource)]
    if method in ("GET", "HEAD"):
        return [Wish("s3:GetObject", resource)]
    needed = [Wish("s3:PutObject", resource)]
    if headers.get("x-amz-acl"):
        needed.append(Wish("s3:PutObjectAcl", resource))
    return needed


@dataclass
class Police:
    """The server's port, its policy, what was granted and what was refused so far.

    Of `locked` prefixes nothing can be deleted or written a second time, as
    under a bucket lock of Cloudflare's.
    """

    policy: Mapping[str, Any]
    port: int = 0
    locked: tuple[str, ...] = ()
    granted: list[Wish] = field(default_factory=list)
    refused: list[Wish] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    written: set[str] = field(default_factory=set)

    @property
    def actions(self) -> set[str]:
        """The names of the actions that were used."""
        return {wish.action for wish in self.granted}

    def judge(self, method: str, target: str, headers: Mapping[str, str]) -> bool:
        """Whether a request may pass."""
        needed = wishes(method, target, headers)
        self.requests.append(method)
        key = unquote(urlsplit(target).path).lstrip("/").partition("/")[2]
        fine = all(allows(self.policy, wish) for wish in needed)
        if key.startswith(self.locked) and self.locked and method in ("PUT", "DELETE"):
            fine = fine and method == "PUT" and key not in self.written
            self.written.add(key)
        (self.granted if fine else self.refused).extend(needed)
        return fine


@contextmanager
def policed(
    upstream: int, policy: Mapping[str, Any], locked: tuple[str, ...] = ()
) -> Iterator[Police]:
    """Serve what the S3 server on port `upstream` serves, as far as the policy allows."""
    check_policy(policy)
    police = Police(policy, locked=locked)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body in one packet

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not police.judge(self.command, self.path, dict(self.headers.items())):
                self.answer(403, [("Content-Type", "application/xml")], DENIED)
                return
            connection = http.client.HTTPConnection("127.0.0.1", upstream)
            try:
                # The Host is part of the signature, and stays.
                connection.putrequest(self.command, self.path, True, True)
                for name, value in self.headers.items():
                    connection.putheader(name, value)
                connection.endheaders(body)
                response = connection.getresponse()
                self.answer(response.status, response.getheaders(), response.read())
            finally:
                connection.close()

        def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            lengths = [value for name, value in headers if name.lower() == "content-length"]
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            head = self.command == "HEAD"
            self.send_header("Content-Length", lengths[0] if head and lengths else str(len(body)))
            self.end_headers()
            if not head:
                self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    police.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield police
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
