"""Pairs of databases to be compared, and the shells that their statements go through."""

import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from sqlitekeeper.diff.diff import Comparison, compared
from sqlitekeeper.diff.sides import Side

SQLITE3 = shutil.which("sqlite3")
SHELLS = {"apsw": [sys.executable, "-m", "apsw"]} | ({"sqlite3": [SQLITE3]} if SQLITE3 else {})


@contextmanager
def opened(path: Path) -> Iterator[apsw.Connection]:
    """A connection, closed in the end."""
    connection = apsw.Connection(str(path))
    try:
        yield connection
    finally:
        connection.close()


def make(path: Path, *statements: str, rows: Iterable[tuple[str, tuple[object, ...]]] = ()) -> Path:
    """A database made by some statements, and then by those with values that it accepts."""
    with opened(path) as connection:
        for sql in statements:
            connection.execute(sql).fetchall()
        with connection:
            for sql, values in rows:
                try:
                    connection.execute(sql, values).fetchall()
                except apsw.Error:
                    continue
    return path


@contextmanager
def comparison(here: Path, there: Path, *tables: str) -> Iterator[Comparison]:
    """Two files compared as they are."""
    sides = (
        Side("live", here, "2026-11-23T03:00:00+00:00", path=here),
        Side("snapshot", there, "2026-11-22T03:00:00+00:00", to="dest", object="a/b.sqlite3"),
    )
    with compared("app", *sides, tables=tables) as found:
        yield found


def script_of(here: Path, there: Path) -> str:
    """The statements that give the one the rows of the other."""
    with comparison(here, there) as found:
        return "".join(f"{line}\n" for line in found.statements())


def apply(shell: str, database: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Pipe a script into a shell."""
    return subprocess.run(
        [*SHELLS[shell], str(database)],
        input=script,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
