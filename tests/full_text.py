"""Databases with FTS5 indexes of every kind of content."""

from pathlib import Path

import apsw

CONTENT = {
    "own": "",
    "none": ", content=''",
    "table": ", content='doc', content_rowid='id'",
    "view": ", content='v', content_rowid='id'",
}


def add_full_text(database: Path, options: str = "") -> None:
    """Add a table `doc`, a view `v` of it, and an FTS5 index `f` of 50 documents."""
    connection = apsw.Connection(str(database))
    connection.execute("CREATE TABLE doc (id INTEGER PRIMARY KEY, body TEXT)").fetchall()
    connection.execute("CREATE VIEW v AS SELECT id, body FROM doc").fetchall()
    connection.execute(f"CREATE VIRTUAL TABLE f USING fts5(body{options})").fetchall()
    rows = [(number + 1, f"word{number} and more") for number in range(50)]
    with connection:
        connection.executemany("INSERT INTO doc VALUES (?, ?)", rows)
        connection.executemany("INSERT INTO f (rowid, body) VALUES (?, ?)", rows)
    connection.close()


def run_sql(database: Path, sql: str) -> None:
    """Change a database as its application would, or as no application should."""
    connection = apsw.Connection(str(database))
    connection.execute(sql).fetchall()
    connection.close()
