"""In which lines of a keeper.toml its `[[databases]]` begin."""

import re
from collections.abc import Iterable
from pathlib import Path

from sqlitekeeper.config.settings import Database

_HEADER = re.compile(r"[ \t]*\[\[[ \t]*(?:databases|\"databases\"|'databases')[ \t]*\]\]")
_INDEX = re.compile(r"databases\[(\d+)\]\Z")


def lines_of_databases(file: Path | None, databases: Iterable[Database]) -> dict[Database, int]:
    """The line in which the entry of each database begins.

    tomllib keeps no lines, so headers are counted; where that cannot be right
    (an inline list, a header within a text) the database is left out.
    """
    if file is None:
        return {}
    import tomllib  # only when there is a file to read

    text = file.read_bytes().decode("utf-8-sig")
    entries = tomllib.loads(text).get("databases", [])
    headers = [number for number, line in enumerate(text.split("\n"), 1) if _HEADER.match(line)]
    if len(headers) != len(entries):
        return {}
    found = {}
    for database in databases:
        match = _INDEX.search(database.origin)
        # A pipe is empty when it is read again.
        if match and int(match[1]) < len(headers):
            found[database] = headers[int(match[1])]
    return found
