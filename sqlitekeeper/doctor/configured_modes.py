"""The modes that the configuration expects of a database, against those it has."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from sqlitekeeper.database.measure import Measurement
from sqlitekeeper.doctor.finding import Finding


def judge_expected(
    name: str, path: Path, found: Measurement, journal_mode: str | None, auto_vacuum: str | None
) -> Iterator[Finding]:
    """Compare the modes that the configuration names; None: it leaves that open."""
    file = shlex.quote(str(path))
    convert = f"keeper convert --auto-vacuum {auto_vacuum} {file}"
    if "none" not in (auto_vacuum, found.auto_vacuum):
        # Between these two PRAGMA auto_vacuum is obeyed at any time.
        convert = (
            f'auto_vacuum = "{found.auto_vacuum}" in keeper.toml if the application asks for that'
            f" whenever it opens the database; else: {convert}"
        )
    fixes = {
        "journal_mode": "stop the application, then:"
        f" sqlite3 {file} 'PRAGMA journal_mode = {journal_mode}'",
        "auto_vacuum": convert,
    }
    for key, wanted, actual in (
        ("journal_mode", journal_mode, found.journal_mode),
        ("auto_vacuum", auto_vacuum, found.auto_vacuum),
    ):
        if wanted is None or found.pages == 0:
            continue
        if wanted == actual:
            yield Finding("ok", name, "configured_mode", f"{key} is {actual}, as configured")
        else:
            message = f"{key} is {actual}, the configuration says {wanted}"
            yield Finding("warn", name, "configured_mode", message, fixes[key])
