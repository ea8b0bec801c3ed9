"""Counting API calls from rclone's log."""

import pytest

from sqlitekeeper.rclone.log import call_of


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("PUT /bucket/app/latest.json?x-id=PutObject HTTP/1.1", "PUT"),
        ("HEAD /bucket/app/latest.json HTTP/1.1", "HEAD"),
        ("GET /bucket?list-type=2&max-keys=1000&prefix=web1%2F HTTP/1.1", "LIST"),
        ("GET /bucket?delimiter=&encoding-type=url&prefix=web1%2F HTTP/1.1", "LIST"),
        ("GET /bucket/app/app-20261123T030000Z.sqlite3 HTTP/1.1", "GET"),
        ("POST /bucket/app/app.sqlite3?uploads= HTTP/1.1", "POST"),
        ("DELETE /bucket/app/app.sqlite3 HTTP/2.0", "DELETE"),
        ("POST /b2api/v1/b2_list_file_names HTTP/1.1", "b2_list_file_names"),
        ("POST /b2api/v4/b2_upload_file/0123/secret-token HTTP/1.1", "b2_upload_file"),
        ("HTTP/1.1 200 OK", None),
        ("GET ready", None),
        ("Copied (new)", None),
    ],
)
def test_kind_of_call(line: str, call: str | None) -> None:
    """What a request line is billed as."""
    assert call_of(f"{line}\r\nHost: example.com\r\n" if "HTTP" in line else line) == call
