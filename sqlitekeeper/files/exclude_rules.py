"""Names of files as lines of rclone's --exclude-from, so that exactly those are left out.

rclone matches its rules against names as it writes them itself, not as the
local file system has them. What it makes of each character was measured with
rclone 1.60 and 1.75 (https://rclone.org/overview/#restricted-filenames).
"""

import re
from collections.abc import Iterable, Iterator

# rclone reads a rule with Go's bufio.Scanner, which takes lines of up to 64 KiB.
_LONGEST_RULE = 32 * 1024
_SPECIAL = re.compile(r"[\\*?\[\]{},]")
# Bytes that are no UTF-8, each of them, as Python decodes them.
_INVALID = re.compile("[\udc80-\udcff]")
# rclone writes a control character as its picture, and a picture, or the quotation mark
# itself, with U+201B before it; what looks quoted already is left as it is.
_QUOTE = "\u201b"
_QUOTED = re.compile("\u201b[\u201b\u2400\uff0f]|[\u201b\u2401-\u241f\u2421\x01-\x1f\x7f]")
_DELETE = "\x7f"
_QUOTED_DOT = "\u201b\uff0e"


def exclude_rules(paths: Iterable[bytes]) -> Iterator[str]:
    """Rules for files, given by their paths below the root of a sync.

    Many paths share one rule: one for each would make rclone compare every file
    with every rule, seven times as slow for a thousand of them.
    """
    group: list[str] = []
    length = 0
    for path in paths:
        text = _as_rclone_matches(path)
        size = len(text.encode()) + 1
        if group and length + size > _LONGEST_RULE:
            yield f"/{{{','.join(group)}}}"
            group, length = [], 0
        group.append(text)
        length += size
    if group:
        yield f"/{{{','.join(group)}}}"


def _as_rclone_matches(path: bytes) -> str:
    """A path as one of rclone's globs, which matches nothing else."""
    text = _INVALID.sub("\ufffd", path.decode("utf-8", "surrogateescape"))
    names = text.split("/")
    text = "/".join(n if n == _QUOTED_DOT else _QUOTED.sub(_as_rclone_writes, n) for n in names)
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", text)


def _as_rclone_writes(found: re.Match[str]) -> str:
    sign = found[0]
    if len(sign) > 1:
        return sign
    if sign == _DELETE:
        return "\u2421"
    return chr(0x2400 + ord(sign)) if sign < " " else _QUOTE + sign
