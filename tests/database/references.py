"""Rows that are found by their rowids alone: full-text indexes, an R-Tree, an application's own.

The rows are in a table without INTEGER PRIMARY KEY or index, with gaps between them.
"""

from pathlib import Path
from typing import Any

import apsw

WORDS = range(2, 101, 2)
FULL_TEXT = {
    "fts5": "fts5(title, body, content='docs')",
    "fts5_own": "fts5(title, body)",
    "fts5_contentless": "fts5(title, body, content='')",
    "fts5_trigram": "fts5(title, body, content='docs', tokenize='trigram')",
    "fts4": "fts4(title, body, content='docs')",
    "fts4_own": "fts4(title, body)",
    "fts4_contentless": "fts4(title, body, content='')",
    "fts3": "fts3(title, body)",
}


def add_references(path: Path) -> None:
    """Add `docs`, and all that refers to its rowids, to a database."""
    connection = apsw.Connection(str(path))
    with connection:
        connection.execute("CREATE TABLE docs (title TEXT, body TEXT)")
        connection.executemany(
            "INSERT INTO docs VALUES (?, ?)",
            [(f"title{number}", f"word{number} common") for number in range(1, 101)],
        )
        connection.execute("DELETE FROM docs WHERE rowid % 2")
        for name, module in FULL_TEXT.items():
            connection.execute(f"CREATE VIRTUAL TABLE {name} USING {module}")
            key = "rowid" if name.startswith("fts5") else "docid"
            connection.execute(
                f"INSERT INTO {name} ({key}, title, body) SELECT rowid, title, body FROM docs"
            )
        connection.execute(
            "CREATE VIRTUAL TABLE places USING rtree(id, low, high);"
            "INSERT INTO places SELECT rowid, rowid, rowid + 0.5 FROM docs;"
            "CREATE TABLE vectors (doc INTEGER, vector BLOB);"
            "INSERT INTO vectors SELECT rowid, randomblob(8) FROM docs;"
            "DELETE FROM vectors WHERE doc < 20"
        )
    connection.close()


def answers(path: Path) -> dict[str, Any]:
    """What the application finds by way of rowids, and what the indexes themselves say."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(30_000)

    def rows(sql: str, *values: object) -> list[Any]:
        return connection.execute(sql, values).fetchall()

    try:
        found: dict[str, Any] = {}
        for name in FULL_TEXT:
            match = f"SELECT rowid, title FROM docs WHERE rowid IN (SELECT rowid FROM {name}"
            found[name] = [
                rows(f"{match} WHERE {name} MATCH ?)", f"word{word}") for word in WORDS
            ] + rows(f"{match} WHERE {name} MATCH 'common')")
            if "contentless" not in name:
                found[name] += rows(f"SELECT rowid, * FROM {name} WHERE {name} MATCH 'common'")
        found["places"] = rows(
            "SELECT title, low FROM places JOIN docs ON docs.rowid = id WHERE low BETWEEN 30 AND 60"
        )
        found["vectors"] = rows(
            "SELECT vectors.rowid, title, vector FROM vectors JOIN docs ON docs.rowid = doc"
        )
    finally:
        connection.close()
    return found
