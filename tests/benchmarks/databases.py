"""The databases that are measured: the same bytes each time, as an application might fill them."""

import random
from collections.abc import Iterator
from pathlib import Path

import apsw

ROWS_PER_COMMIT = 2000
TEXT = """
account address amount answer author balance branch cancel change charge client comment
country customer delivery discount draft entry invoice ledger letter member message
minute notice number office order parcel partner payment period person picture price
product profile project quarter question receipt record refund report request review
sample season sender series session status street subject summary supplier ticket total
"""
WORDS = TEXT.split()
SCHEMA = """
PRAGMA auto_vacuum = incremental;
PRAGMA journal_mode = wal;
PRAGMA synchronous = off;
CREATE TABLE articles (
    id INTEGER PRIMARY KEY,
    slug TEXT NOT NULL,
    author INTEGER NOT NULL,
    published TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE TABLE pictures (
    id INTEGER PRIMARY KEY,
    article INTEGER NOT NULL REFERENCES articles (id),
    data BLOB NOT NULL
);
CREATE UNIQUE INDEX articles_by_slug ON articles (slug);
CREATE INDEX articles_by_author ON articles (author, published);
"""


def make_database(path: Path, size_bytes: int, *, seed: int = 0) -> Path:
    """A database in WAL mode with incremental auto-vacuum, of about `size_bytes`.

    Half of it are articles (text, with two indexes), half are pictures (blobs
    that do not compress). The same size and seed give the same content.
    """
    connection = apsw.Connection(str(path))
    connection.execute(SCHEMA).fetchall()
    source = random.Random(seed)
    rows = _rows(source)
    while _used_bytes(connection) < size_bytes:
        # Small databases want small steps, so that their sizes come out right too.
        count = max(1, min(ROWS_PER_COMMIT, (size_bytes - _used_bytes(connection)) // 3500))
        batch = [next(rows) for _ in range(count)]
        with connection:
            connection.executemany(
                "INSERT INTO articles VALUES (?, ?, ?, ?, ?)", [article for article, _ in batch]
            )
            connection.executemany(
                "INSERT INTO pictures (article, data) VALUES (?, ?)",
                [(article[0], data) for article, data in batch],
            )
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    return path


def _used_bytes(connection: apsw.Connection) -> int:
    pages, size = connection.pragma("page_count"), connection.pragma("page_size")
    assert isinstance(pages, int)
    assert isinstance(size, int)
    return pages * size


def _rows(source: random.Random) -> Iterator[tuple[tuple[int, str, int, str, str], bytes]]:
    """Articles of some 1.5 kB of text, each with a picture of about the same size."""
    identity = 0
    while True:
        identity += 1
        slug = f"{'-'.join(source.choices(WORDS, k=3))}-{identity}"
        body = " ".join(source.choices(WORDS, k=source.randrange(100, 300)))
        day = f"20{source.randrange(10, 27)}-{source.randrange(1, 13):02}"
        article = (identity, slug, source.randrange(500), day, body)
        yield article, source.randbytes(source.randrange(500, 2500))


def free_pages(path: Path, wanted_bytes: int) -> None:
    """Delete the oldest rows until there are free pages of so many bytes, as retention does.

    They lie at the front of the file, so that giving them back takes moving what
    is at its end.
    """
    connection = apsw.Connection(str(path))
    size = connection.pragma("page_size")
    assert isinstance(size, int)
    rows = connection.execute("SELECT max(id) FROM articles").get
    assert isinstance(rows, int)
    for last in range(0, rows, max(1, rows // 100)):
        free = connection.pragma("freelist_count")
        assert isinstance(free, int)
        if free * size >= wanted_bytes:
            break
        with connection:
            connection.execute("DELETE FROM articles WHERE id <= ?", (last,))
            connection.execute("DELETE FROM pictures WHERE id <= ?", (last,))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()


def make_databases(folder: Path, count: int, size_bytes: int) -> list[Path]:
    """`count` databases in a folder of their own, each with content of its own."""
    folder.mkdir(parents=True)
    names = [folder / f"app{number:0{len(str(count))}}.sqlite3" for number in range(1, count + 1)]
    return [make_database(path, size_bytes, seed=seed) for seed, path in enumerate(names)]


def change(path: Path) -> None:
    """Commit a row, as an application does, and leave it in the WAL, as while one is running."""
    connection = apsw.Connection(str(path))
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.execute("UPDATE articles SET author = author + 1 WHERE id = 1").fetchall()
    connection.close()
