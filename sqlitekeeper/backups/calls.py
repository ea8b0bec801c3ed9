"""Counting what providers bill: the calls of their APIs, as rclone's log tells them.

With --dump headers rclone logs each HTTP request, its body and its credentials
left out; of those lines only the method and the kind of call are kept.
"""

import re
from urllib.parse import parse_qs, urlsplit

# As rclone's log has it, before JSON: the request line, then the headers.
_REQUEST = re.compile(r"(GET|HEAD|PUT|POST|DELETE|PATCH|PROPFIND|MKCOL|MOVE) (\S+) HTTP/\d")
_B2 = re.compile(r"/b2api/v\d+/(b2_\w+)")
_LISTS = frozenset({"list-type", "delimiter", "max-keys", "marker", "encoding-type"})


def call_of(message: str) -> str | None:
    """The kind of API call that a message of rclone's log is about, or None.

    "LIST" is a GET that lists a bucket (S3, GCS), Backblaze B2's calls have
    names of their own ("b2_list_file_names"), all others that of their method.
    """
    found = _REQUEST.match(message)
    if not found:
        return None
    method, target = found.groups()
    url = urlsplit(target)
    if b2 := _B2.search(url.path):
        return b2[1]
    if method == "GET" and _LISTS & parse_qs(url.query, keep_blank_values=True).keys():
        return "LIST"
    return method
