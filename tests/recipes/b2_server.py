"""A small B2 server for rclone's B2 backend: one bucket, in memory, and a key's capabilities.

It speaks as much of Backblaze's native API as a backup needs, with versions
and hiding as https://www.backblaze.com/apidocs describes them, and refuses
what the key cannot do.
"""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

BUCKET: Final = {"id": "bucket-1", "name": "my-bucket"}
# What Backblaze asks of a key for each call.
NEEDS: Final = {
    "b2_authorize_account": None,
    "b2_list_buckets": "listBuckets",
    "b2_create_bucket": "writeBuckets",
    "b2_list_file_names": "listFiles",
    "b2_list_file_versions": "listFiles",
    "b2_get_upload_url": "writeFiles",
    "b2_upload_file": "writeFiles",
    "b2_hide_file": "writeFiles",
    "b2_delete_file_version": "deleteFiles",
    "b2_download_file_by_id": "readFiles",
    "b2_download_file_by_name": "readFiles",
}
# https://www.backblaze.com/cloud-storage/transaction-pricing
CLASS_A: Final = frozenset({"b2_get_upload_url", "b2_upload_file", "b2_hide_file"})
CLASS_B: Final = frozenset({"b2_download_file_by_id", "b2_download_file_by_name"})
CLASS_C: Final = frozenset({"b2_authorize_account", "b2_list_buckets", "b2_list_file_names"})


@dataclass(frozen=True)
class Version:
    """A version of a file; a hidden one has no content."""

    id: str
    name: str
    content: bytes | None
    info: dict[str, str]

    def described(self) -> dict[str, Any]:
        """As the API describes it."""
        content = self.content or b""
        return {
            "accountId": "account-1",
            "bucketId": BUCKET["id"],
            "fileId": self.id,
            "fileName": self.name,
            "action": "hide" if self.content is None else "upload",
            "size": len(content),
            "contentLength": len(content),
            "contentSha1": hashlib.sha1(content, usedforsecurity=False).hexdigest(),
            "contentType": "application/octet-stream",
            "fileInfo": self.info,
            "uploadTimestamp": int(time.time() * 1000),
        }


@dataclass
class B2:
    """The server: what it holds, all versions of it, and which calls it got."""

    capabilities: frozenset[str]
    name_prefix: str = ""
    port: int = 0
    versions: list[Version] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    ids: Iterator[int] = field(default_factory=count)

    def current(self) -> dict[str, Version]:
        """The newest version of each file that is not hidden, by name."""
        newest = {version.name: version for version in self.versions}
        return {n: v for n, v in sorted(newest.items()) if v.content is not None}

    def add(self, name: str, content: bytes | None, info: dict[str, str]) -> dict[str, Any]:
        """Upload a file, or hide it."""
        version = Version(f"id-{next(self.ids)}", name, content, info)
        self.versions.append(version)
        return version.described()

    def answer(self, call: str, asked: dict[str, Any]) -> dict[str, Any]:
        """The answer to a call with a JSON body."""
        url = f"http://127.0.0.1:{self.port}"
        if call == "b2_authorize_account":
            return self._account(url)
        if call == "b2_list_buckets":
            bucket = {"bucketId": BUCKET["id"], "bucketName": BUCKET["name"]}
            return {"buckets": [bucket | {"bucketType": "allPrivate"}]}
        if call == "b2_get_upload_url":
            token = {"bucketId": asked["bucketId"], "authorizationToken": "upload"}
            return token | {"uploadUrl": f"{url}/upload"}
        if call == "b2_hide_file":
            return self.add(asked["fileName"], None, {})
        if call == "b2_list_file_names":
            start = asked.get("prefix", "")
            found = [v.described() for n, v in self.current().items() if n.startswith(start)]
            return {"files": found, "nextFileName": None}
        raise AssertionError(call)

    def _account(self, url: str) -> dict[str, Any]:
        capabilities = sorted(self.capabilities)
        storage = {
            "apiUrl": url,
            "downloadUrl": url,
            "absoluteMinimumPartSize": 5_000_000,
            "recommendedPartSize": 100_000_000,
            "allowed": {
                "buckets": [BUCKET],
                "capabilities": capabilities,
                "namePrefix": self.name_prefix or None,
            },
        }
        first_version = {
            "apiUrl": url,
            "downloadUrl": url,
            "minimumPartSize": 100_000_000,
            "allowed": {
                "bucketId": BUCKET["id"],
                "bucketName": BUCKET["name"],
                "capabilities": capabilities,
            },
        }
        account = {"accountId": "account-1", "authorizationToken": "token"}
        return account | first_version | {"apiInfo": {"storageApi": storage}}


@contextmanager
def serve_b2(
    capabilities: frozenset[str], held: list[Version] | None = None, name_prefix: str = ""
) -> Iterator[B2]:
    """Serve one bucket, with the versions that it held before, to a key."""
    b2 = B2(capabilities, name_prefix, versions=held or [], ids=count(len(held or [])))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body in one packet

        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urlsplit(self.path)
            call = url.path.rpartition("/")[2]
            if url.path == "/upload":
                call = "b2_upload_file"
            elif url.path.startswith("/file/"):
                call = "b2_download_file_by_name"
            b2.calls.append(call)
            need = NEEDS[call]
            name = unquote(url.path).removeprefix(f"/file/{BUCKET['name']}/")
            outside = url.path.startswith("/file/") and not name.startswith(b2.name_prefix)
            if outside or (need and need not in b2.capabilities):
                b2.refused.append(call)
                self.send_json(401, {"status": 401, "code": "unauthorized", "message": need})
            elif call == "b2_upload_file":
                self.upload(body)
            elif call in CLASS_B:
                self.download(call, unquote(url.path), parse_qs(url.query))
            else:
                self.send_json(200, b2.answer(call, json.loads(body or b"{}")))

        def upload(self, body: bytes) -> None:
            digest = self.headers["X-Bz-Content-Sha1"]
            if digest == "hex_digits_at_end":
                body, digest = body[:-40], body[-40:].decode()
            assert hashlib.sha1(body, usedforsecurity=False).hexdigest() == digest
            start = "x-bz-info-"
            info = {
                name.lower().removeprefix(start): value
                for name, value in self.headers.items()
                if name.lower().startswith(start)
            }
            self.send_json(200, b2.add(unquote(self.headers["X-Bz-File-Name"]), body, info))

        def download(self, call: str, path: str, query: dict[str, list[str]]) -> None:
            name = path.removeprefix(f"/file/{BUCKET['name']}/")
            if call == "b2_download_file_by_id":
                ids = {version.id: version for version in b2.versions}
                found = ids.get(query["fileId"][0])
            else:
                found = b2.current().get(name)
            if found is None or found.content is None:
                self.send_json(404, {"status": 404, "code": "not_found", "message": name})
                return
            facts = found.described()
            self.send_response(200)
            self.send_header("X-Bz-File-Id", found.id)
            self.send_header("X-Bz-File-Name", found.name)
            self.send_header("X-Bz-Content-Sha1", facts["contentSha1"])
            self.send_header("X-Bz-Upload-Timestamp", str(facts["uploadTimestamp"]))
            for key, value in found.info.items():
                self.send_header(f"X-Bz-Info-{key}", value)
            self.send_body(found.content)

        def send_json(self, status: int, value: dict[str, Any]) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_body(json.dumps(value).encode())

        def send_body(self, body: bytes) -> None:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = respond  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    b2.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield b2
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
