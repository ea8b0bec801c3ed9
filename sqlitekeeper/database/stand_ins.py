"""Stand-ins for what only the application has, where an answer does not depend on them.

SQLite refuses to prepare a statement on an index whose collation or function it does not
know, also where it would never compare two values: to count the rows of a
WITHOUT ROWID table, or to look whether the pages of an index are sound.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import apsw

# https://sqlite.org/datatype3.html#collation
BUILT_IN = ("BINARY", "NOCASE", "RTRIM")

_NO_FUNCTION = re.compile(r"(?:no such|unknown) function: (.+?)(?:\(\))?", re.DOTALL)


@contextmanager
def stand_in_collations(connection: apsw.Connection) -> Iterator[list[str]]:
    """Answer for every unknown collation with a comparison of characters; gives their names.

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
        yield made
    finally:
        connection.collation_needed(None)
        for name in made:
            connection.create_collation(name, None)


def with_stand_in_functions(connection: apsw.Connection, ask: Callable[[], None]) -> None:
    """Ask, and again with one that gives NULL for each function that SQLite then lacks.

    Raises:
        apsw.Error: something else is wrong.
    """
    made: list[str] = []
    try:
        while True:
            try:
                ask()
            except apsw.SQLError as error:
                lacking = _NO_FUNCTION.fullmatch(str(error))
                if lacking is None or lacking[1] in made:
                    raise
                made.append(lacking[1])
                connection.create_scalar_function(
                    lacking[1], _nothing, deterministic=True, flags=apsw.SQLITE_INNOCUOUS
                )
            else:
                return
    finally:
        for name in made:
            connection.create_scalar_function(name, None)


def _nothing(*_: object) -> None:
    return None


def _compare(one: str, other: str) -> int:
    return (one > other) - (one < other)
