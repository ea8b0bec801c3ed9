"""Kinds of days that a database can have, each as two snapshots: before and after it."""

import random
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

import apsw

from tests.benchmarks.databases import WORDS

Day = Callable[[apsw.Connection, random.Random], None]
Fill = Callable[[apsw.Connection, random.Random, int], None]
BATCH = 1000


def snapshots(name: str, folder: Path, size_bytes: int, share: float = 0.01) -> tuple[Path, Path]:
    """A database of about `size_bytes` before and after a day that touched `share` of it."""
    schema, fill, day = WORKLOADS[name]
    source, live = random.Random(1), folder / f"{name}.sqlite3"
    connection = apsw.Connection(str(live))
    connection.execute("PRAGMA auto_vacuum = incremental; PRAGMA synchronous = off").fetchall()
    connection.execute(schema).fetchall()
    number = 0
    while live.stat().st_size < size_bytes:
        with connection:
            fill(connection, source, number)
        number += BATCH
    before, after = folder / f"{name}-before.sqlite3", folder / f"{name}-after.sqlite3"
    connection.execute("VACUUM INTO ?", (str(before),)).fetchall()
    for _ in range(max(1, int(number * share) // 10)):
        with connection:
            day(connection, source)
    connection.execute("VACUUM INTO ?", (str(after),)).fetchall()
    connection.close()
    live.unlink()
    return before, after


def text(source: random.Random, least: int, most: int) -> str:
    """Some words."""
    return " ".join(source.choices(WORDS, k=source.randrange(least, most)))


def _many(connection: apsw.Connection, table: str, rows: Iterable[tuple[object, ...]]) -> None:
    rows = list(rows)
    marks = ", ".join("?" * len(rows[0]))
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)


def _rowids(connection: apsw.Connection, table: str, source: random.Random, count: int) -> object:
    last = connection.execute(f"SELECT max(rowid) FROM {table}").get
    assert isinstance(last, int)
    return [(source.randrange(1, last + 1),) for _ in range(count)]


def _events(connection: apsw.Connection, source: random.Random, count: int) -> None:
    rows = (
        (
            None,
            source.randrange(10**9),
            source.randrange(500),
            source.choice(WORDS),
            text(source, 2, 20),
        )
        for _ in range(count)
    )
    _many(connection, "events", rows)


def _articles(connection: apsw.Connection, source: random.Random, count: int) -> None:
    rows = (
        (
            None,
            f"{text(source, 3, 4)} {source.random()}",
            source.randrange(500),
            text(source, 50, 250),
        )
        for _ in range(count)
    )
    _many(connection, "articles", rows)


EVENTS = """
CREATE TABLE events (id INTEGER PRIMARY KEY, at INT, account INT, kind TEXT, detail TEXT);
CREATE INDEX events_by_account ON events (account, at);
CREATE INDEX events_by_kind ON events (kind);
"""
ARTICLES = """
CREATE TABLE articles (id INTEGER PRIMARY KEY, slug TEXT UNIQUE, author INT, body TEXT);
CREATE INDEX articles_by_author ON articles (author);
"""


def _append(connection: apsw.Connection, source: random.Random) -> None:
    _events(connection, source, 10)


def _update(connection: apsw.Connection, source: random.Random) -> None:
    for (row,) in _rowids(connection, "articles", source, 10):  # type: ignore[attr-defined]
        connection.execute(
            "UPDATE articles SET body = ?, author = ? WHERE id = ?",
            (text(source, 50, 250), source.randrange(500), row),
        ).fetchall()


def _keys(connection: apsw.Connection, source: random.Random, count: int) -> None:
    def key() -> str:
        return str(uuid.UUID(int=source.getrandbits(128)))

    _many(connection, "orders", ((key(), key(), source.randrange(10**6)) for _ in range(count)))


def _random_keys(connection: apsw.Connection, source: random.Random) -> None:
    _keys(connection, source, 7)
    for (row,) in _rowids(connection, "orders", source, 3):  # type: ignore[attr-defined]
        connection.execute("UPDATE orders SET cents = cents + 1 WHERE rowid = ?", (row,)).fetchall()
    connection.execute("DELETE FROM orders WHERE rowid = ?", (row,)).fetchall()


def _queue(connection: apsw.Connection, source: random.Random) -> None:
    _events(connection, source, 10)
    connection.execute(
        "DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY id LIMIT 10)"
    ).fetchall()
    connection.execute("PRAGMA incremental_vacuum").fetchall()


def _search(connection: apsw.Connection, source: random.Random, count: int) -> None:
    _many(connection, "search", ((text(source, 3, 8), text(source, 50, 250)) for _ in range(count)))


def _search_day(connection: apsw.Connection, source: random.Random) -> None:
    _search(connection, source, 7)
    for (row,) in _rowids(connection, "search", source, 3):  # type: ignore[attr-defined]
        connection.execute(
            "UPDATE search SET body = ? WHERE rowid = ?", (text(source, 50, 250), row)
        ).fetchall()


def _blobs(connection: apsw.Connection, source: random.Random, count: int) -> None:
    rows = (
        (None, text(source, 1, 5), source.randbytes(source.randrange(1000, 30000)))
        for _ in range(count)
    )
    _many(connection, "pictures", rows)


def _blobs_day(connection: apsw.Connection, source: random.Random) -> None:
    _blobs(connection, source, 8)
    connection.executemany(
        "DELETE FROM pictures WHERE id = ?",
        _rowids(connection, "pictures", source, 5),  # type: ignore[arg-type]
    )


def _application(connection: apsw.Connection, source: random.Random, number: int) -> None:
    _articles(connection, source, BATCH // 2)
    _events(connection, source, BATCH)
    _keys(connection, source, BATCH // 2)
    _blobs(connection, source, BATCH // 20)


def _application_day(connection: apsw.Connection, source: random.Random) -> None:
    _update(connection, source)
    _append(connection, source)
    _random_keys(connection, source)


def _migrated(connection: apsw.Connection, source: random.Random) -> None:
    """A column added and filled, a table renamed, one dropped and one added."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'posts'").get:
        connection.execute("ALTER TABLE articles RENAME TO posts").fetchall()
        connection.execute("CREATE TABLE accounts AS SELECT account, at FROM events").fetchall()
        connection.execute("DROP TABLE pictures").fetchall()
        connection.execute("ALTER TABLE orders ADD COLUMN note TEXT").fetchall()
    _append(connection, source)


PICTURES = "CREATE TABLE pictures (id INTEGER PRIMARY KEY, name TEXT, data BLOB);"
ORDERS = "CREATE TABLE orders (id TEXT UNIQUE, customer TEXT, cents INT);"
ORDERS += "CREATE INDEX orders_by_customer ON orders (customer);"
ALL = ORDERS + ARTICLES + PICTURES + EVENTS
WORKLOADS: dict[str, tuple[str, Fill, Day]] = {
    "appends": (EVENTS, lambda c, s, n: _events(c, s, BATCH), _append),
    "updates": (ARTICLES, lambda c, s, n: _articles(c, s, BATCH), _update),
    "random keys": (ORDERS, lambda c, s, n: _keys(c, s, BATCH), _random_keys),
    "deletes": (EVENTS, lambda c, s, n: _events(c, s, BATCH), _queue),
    "full text": (
        "CREATE VIRTUAL TABLE search USING fts5(title, body);",
        lambda c, s, n: _search(c, s, BATCH),
        _search_day,
    ),
    "blobs": (PICTURES, lambda c, s, n: _blobs(c, s, BATCH), _blobs_day),
    "application": (ALL, _application, _application_day),
    "migration": (ALL, _application, _migrated),
}
