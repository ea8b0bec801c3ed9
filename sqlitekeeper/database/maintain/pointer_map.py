"""Pointer maps, which SQLite believes as it frees pages: of a file with a wrong one none is freed.

A snapshot has a new one, so no check of a snapshot says anything about it. Turso leaves wrong ones.
https://sqlite.org/fileformat.html#pointer_map_or_ptrmap_pages
"""

import math
import shlex
from pathlib import Path
from typing import Any

import apsw

from sqlitekeeper.database.connection import open_database, sqlite_errors
from sqlitekeeper.database.integrity import wrong_pointer_map
from sqlitekeeper.database.measure import Measurement
from sqlitekeeper.errors import CheckError

# A file of this size is looked at before any page is freed, which takes some 50 ms.
SMALL_BYTES = 64 * 2**20


def map_fault(
    connection: apsw.Connection, found: Measurement, target: int, max_lock_ms: int
) -> str | None:
    """What is wrong with the pointer map, as far as it can be told within `max_lock_ms`.

    Of a file from which `target` pages are to be freed, if any are.
    """
    if not target or found.bytes > SMALL_BYTES:
        return None
    return wrong_pointer_map(connection, max_lock_ms / 1000)


def fault_behind(path: Path) -> str | None:
    """What is wrong with the pointer map, where SQLite found it so as it freed pages."""
    with sqlite_errors(path), open_database(path) as connection:
        in_wal = connection.pragma("journal_mode") == "wal"
        return wrong_pointer_map(connection, math.inf if in_wal else 1.0)


def left_for(path: Path, wrong: str, reason: str | None) -> dict[str, Any]:
    """What a result says of a file whose pages were left as they are."""
    text = f"no page was freed: the pointer map is damaged, the data is not ({wrong})"
    text += f"; what mends it: keeper doctor --check {shlex.quote(str(path))}"
    return {
        "outcome": "failed",
        "reason": "; ".join(filter(None, (text, reason))),
        "wrong_map": wrong,
        "exit_code": CheckError.exit_code,
    }
