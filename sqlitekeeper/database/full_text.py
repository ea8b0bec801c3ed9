"""Whether the FTS5 indexes of a database can be relied on.

integrity_check asks them too, but only for what each index can tell of itself,
and quick_check does not ask them; see https://sqlite.org/fts5.html#the_integrity_check_command.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

import apsw

from sqlitekeeper.database.connection import quoted
from sqlitekeeper.database.remarks import index_remarked

_FTS5 = re.compile(r"\busing\s+[\"'`\[]?fts5\b", re.IGNORECASE)


_DAMAGED = "the FTS5 index {} is damaged"


@dataclass(frozen=True, slots=True)
class FullText:
    """What was found: damaged indexes, and what is only worth a remark, a sentence each."""

    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def without(self, known: Collection[str]) -> "FullText":
        """What integrity_check has remarked of an index before is a remark, not a problem."""
        names = (found for text in known if (found := index_remarked(text)))
        heads = tuple(f"{_DAMAGED.format(name)} (" for name in names)
        old = tuple(problem for problem in self.problems if problem.startswith(heads))
        new = tuple(problem for problem in self.problems if problem not in old)
        return FullText(new, (*self.remarks, *old))


def check_full_text(connection: apsw.Connection) -> FullText:
    """Ask every FTS5 table whether its index is sound, and agrees with its content.

    For keeper's own copies: the question has the form of an INSERT. An index
    whose external content has moved on is the application's affair, a remark.
    """
    rows = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND rootpage = 0 ORDER BY name"
    ).fetchall()
    problems, remarks = [], []
    for name, sql in rows:
        if not _FTS5.search(str(sql)):
            continue
        table = quoted(str(name))
        try:
            _ask(connection, f"INSERT INTO {table}({table}, rank) VALUES ('integrity-check', 1)")
        except (apsw.CorruptError, apsw.SQLError) as strict:
            try:
                _ask(connection, f"INSERT INTO {table}({table}) VALUES ('integrity-check')")
            except apsw.CorruptError as error:
                problems.append(f"{_DAMAGED.format(name)} ({error})")
            except apsw.SQLError as error:
                remarks.append(f"the FTS5 index {name} could not be checked ({error})")
            else:
                differs = isinstance(strict, apsw.CorruptError)
                said = "differs from its external content" if differs else "has unreadable content"
                remarks.append(f"the FTS5 index {name} is sound, but {said}")
    return FullText(tuple(problems), tuple(remarks))


def _ask(connection: apsw.Connection, sql: str) -> None:
    connection.execute(sql).fetchall()
