"""Snapshots to store: real VACUUM INTO files, before and after somebody wrote to the database."""

import random
from pathlib import Path

import apsw

from sqlitekeeper.store.base import BaseFile
from sqlitekeeper.store.delta import Delta, make_delta
from sqlitekeeper.store.frames import compress


def make_snapshot(live: Path, target: Path) -> Path:
    """What VACUUM INTO makes of a database."""
    connection = apsw.Connection(str(live))
    connection.execute("VACUUM INTO ?", (str(target),)).fetchall()
    connection.close()
    return target


def run(live: Path, sql: str) -> None:
    """Write to a database, as its application does."""
    connection = apsw.Connection(str(live))
    connection.execute(sql).fetchall()
    connection.close()


def fill(live: Path, rows: int, *, page_size: int = 4096, seed: int = 0) -> None:
    """Two tables and an index; no two rows are the same, and they do not compress well."""
    source = random.Random(seed)
    connection = apsw.Connection(str(live))
    connection.execute(
        f"PRAGMA page_size = {page_size}; PRAGMA auto_vacuum = incremental;"
        "CREATE TABLE IF NOT EXISTS posts (id INTEGER PRIMARY KEY, key TEXT UNIQUE, body BLOB);"
        "CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, at INT, kind TEXT);"
    ).fetchall()
    with connection:
        for _ in range(rows):
            body = source.randbytes(source.randrange(200, 1500))
            key = source.randbytes(12).hex()
            connection.execute("INSERT INTO posts VALUES (NULL, ?, ?)", (key, body)).fetchall()
            event = (source.randrange(10**9), source.choice(("view", "click", "buy")))
            connection.execute("INSERT INTO events VALUES (NULL, ?, ?)", event).fetchall()
    connection.close()


def stored_delta(before: Path, after: Path, folder: Path) -> tuple[Path, Path, Delta]:
    """A base, a delta against it, and what its manifest says."""
    base, delta = folder / "base.sqlite3.zst", folder / "after.delta.zst"
    compress(before, base)
    with BaseFile(base) as opened:
        made = make_delta(after, opened, delta)
    assert made is not None
    return base, delta, made
