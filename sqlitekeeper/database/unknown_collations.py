"""Collations that only the application has, for questions whose answers do not depend on order.

SQLite refuses to prepare a statement on an index whose collation it does not
know, also where it would never compare two values: to count the rows of a
WITHOUT ROWID table, or to look whether the pages of an index are sound.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import apsw

# https://sqlite.org/datatype3.html#collation
BUILT_IN = ("BINARY", "NOCASE", "RTRIM")


@contextmanager
def stand_in_collations(connection: apsw.Connection) -> Iterator[None]:
    """Answer for every unknown collation with a comparison of characters.

    Nothing may be written, looked up or compared meanwhile: an index made
    under a stand-in would be wrong for the application.
    """
    made: list[str] = []

    def make(connection: apsw.Connection, name: str) -> None:
        if name.upper() in BUILT_IN:
            # SQLite asks for one that compares UTF-16 before it takes its own.
            return
        made.append(name)
        connection.create_collation(name, _compare)

    connection.collation_needed(make)
    try:
        yield
    finally:
        connection.collation_needed(None)
        for name in made:
            connection.create_collation(name, None)


def _compare(one: str, other: str) -> int:
    return (one > other) - (one < other)
