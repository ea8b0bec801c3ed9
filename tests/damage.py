"""Databases that are broken in the ways that checks are there to find."""

from pathlib import Path

import apsw


def make_index_disagree(path: Path) -> None:
    """Give table `t` an index that holds an old value of its first row; all pages are sound."""
    connection = apsw.Connection(str(path))
    connection.execute("CREATE INDEX stale ON t (body)").fetchall()
    connection.pragma("writable_schema", "on")
    select = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema WHERE name = 'stale'"
    row = connection.execute(select).fetchall()[0]
    connection.execute("DELETE FROM sqlite_schema WHERE name = 'stale'").fetchall()
    connection.close()

    connection = apsw.Connection(str(path))
    connection.execute("UPDATE t SET body = 'x' WHERE id = (SELECT min(id) FROM t)").fetchall()
    connection.pragma("writable_schema", "on")
    connection.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", row).fetchall()
    connection.close()


def damage_pages(path: Path) -> None:
    """Overwrite the second half of a database that nobody has open, header spared."""
    assert not path.with_name(path.name + "-wal").exists()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xa5" * (size - size // 2))


def make_orphan(path: Path) -> None:
    """Add a row whose foreign key has no parent."""
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE child (t_id INTEGER REFERENCES t (id))").fetchall()
    connection.execute("INSERT INTO child VALUES (-1)").fetchall()
    connection.close()


def make_foreign_key_malformed(path: Path) -> None:
    """Let a foreign key refer to a column that is not unique."""
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE child (body BLOB REFERENCES t (body))").fetchall()
    connection.execute("INSERT INTO child VALUES ('x')").fetchall()
    connection.close()
