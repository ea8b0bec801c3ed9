"""The hold of a manifest: a loss of rows that nobody has accepted yet."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlitekeeper.wording import counted

HOLD = "hold"
NAMED = 5
LostRows = Mapping[str, tuple[int, int]]


def fallen(tables: LostRows) -> str:
    """Which table fell from what to what, the first few of them."""
    said = [
        f"{table} fell from {counted(before, 'row')} to {after:,}"
        for table, (before, after) in list(tables.items())[:NAMED]
    ]
    if len(tables) > NAMED:
        said.append(f"and {len(tables) - NAMED} more")
    return ", ".join(said) or "it has lost rows"


def on_hold(database: str, tables: LostRows) -> str:
    """What a database has lost, and how to say that it is well."""
    command = f"keeper backup --accept-loss {shlex.quote(database)}"
    return f"{fallen(tables)}; pruning is on hold until you confirm it: `{command}`"


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a database is not pruned: since when, and which tables fell from what to what."""

    since: str
    tables: LostRows

    @property
    def manifest_value(self) -> dict[str, Any]:
        """The hold as its manifest has it."""
        return {"since": self.since, "tables": {t: list(rows) for t, rows in self.tables.items()}}


def hold_of(manifest: Mapping[str, Any]) -> Hold | None:
    """The hold that a manifest tells of, if any.

    The manifest may be anyone's: what is not well-formed in its hold is left
    out, but a hold it is.
    """
    found = manifest.get(HOLD)
    if not found:
        return None
    hold = found if isinstance(found, dict) else {}
    tables = hold.get("tables")
    since = hold.get("since")
    return Hold(
        since if isinstance(since, str) and _is_time(since) else str(manifest.get("taken_at")),
        {
            str(table): (rows[0], rows[1])
            for table, rows in (tables if isinstance(tables, dict) else {}).items()
            if isinstance(rows, list)
            and len(rows) == 2
            and all(isinstance(count, int) for count in rows)
        },
    )


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def with_hold(manifest: Mapping[str, Any], hold: Hold | None) -> dict[str, Any]:
    """A manifest with this hold, or with none."""
    plain = {key: value for key, value in manifest.items() if key != HOLD}
    return plain | {HOLD: hold.manifest_value} if hold else plain
