"""The API calls that an S3 server was asked, by the names of S3's own reference."""

import re
from collections import Counter
from dataclasses import dataclass

from tests.s3_server import S3

# How `rclone serve s3` logs each operation. A copy is logged as two lines.
OPERATIONS = {
    "CREATE OBJECT": "PutObject",
    "COPY": "CopyObject",
    "initiate multipart upload": "CreateMultipartUpload",
    "put multipart upload": "UploadPart",
    "complete multipart upload": "CompleteMultipartUpload",
    "abort multipart upload": "AbortMultipartUpload",
    "CREATE BUCKET": "CreateBucket",
    "LIST BUCKET": "ListObjectsV2",
    "GET OBJECT": "GetObject",
    "HEAD OBJECT": "HeadObject",
    "HEAD BUCKET": "HeadBucket",
    "DELETE": "DeleteObject",
    "delete multi": "DeleteObjects",
}
# As they are shown: what S3 calls them all, shorter.
COLUMNS = {
    "PUT": ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"),
    "COPY": ("CopyObject",),
    "LIST": ("ListObjectsV2",),
    "GET": ("GetObject",),
    "HEAD": ("HeadObject", "HeadBucket"),
    "DELETE": ("DeleteObject", "DeleteObjects", "AbortMultipartUpload"),
    "other": ("CreateBucket",),
}


@dataclass(frozen=True)
class Calls:
    """What was asked, by operation, and how many bytes of it were uploads."""

    operations: dict[str, int]
    uploaded_bytes: int

    def cells(self) -> tuple[str, ...]:
        """The numbers of COLUMNS."""
        return tuple(
            str(sum(self.operations.get(name, 0) for name in names)) for names in COLUMNS.values()
        )


def calls_since(s3: S3) -> Calls:
    """All that was asked since the server last forgot, which it does now."""
    counted = Counter(OPERATIONS[name] for name in s3.calls())
    counted["PutObject"] -= counted["CopyObject"]
    log = s3.log.read_text(errors="replace")
    copied = Counter(re.findall(r" TO \S+ (.+)", log))
    put = Counter(s3.created()) - copied
    put.update(re.findall(r"complete multipart upload \S+ (.+) \S+$", log, re.MULTILINE))
    uploaded = 0
    for name, times in put.items():
        if (file := s3.folder / name).exists():
            uploaded += times * file.stat().st_size
    s3.forget_calls()
    return Calls({name: number for name, number in counted.items() if number}, uploaded)
