"""What SQLite's checks say, sorted: damage, and remarks on what a sound database may have.

Damage is in pages, b-trees, the free list, or in an index of columns that does not
hold what they hold. Remarks are on what the application has declared or computed:
it works with such a database, and each has a mend. https://sqlite.org/pragma.html#pragma_integrity_check
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import apsw

from sqlitekeeper.database.connection import quoted

_INDEX = re.compile(
    r"(?:row -?\d+ (?:missing|values differ) from|non-unique entry in|wrong (?:# of )?entries in)"
    r" index (.+)",
    re.DOTALL,
)
_VALUE = re.compile(r"(NULL|TEXT|NUMERIC|non-\w+) value in (.+)", re.DOTALL)
_CHECK = re.compile(r"CHECK constraint failed in (.+)", re.DOTALL)
_FULL_TEXT = re.compile(
    r"(?:malformed|unable to validate the) inverted index for (FTS\d) table main\.(.+)", re.DOTALL
)
# What FTS5 says of its own accord, of a table in double quotes or of the content's, as SQL.
_FTS5 = re.compile(r"fts5: .+? table (.+)", re.DOTALL)
_POINTER_MAP = re.compile(r"ptr ?map|pointer map", re.IGNORECASE)
# What is no code in SQL: comments, texts and quoted names.
_LITERAL = re.compile(
    r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]]*\]", re.DOTALL
)
# One with an entry for each row; what libSQL has of vectors is no index to others.
_WHOLE_INDEX = re.compile(r"\A(?!.*(?:\bwhere\b|\blibsql_vector_idx\b))", re.IGNORECASE | re.DOTALL)
_QUOTES = ('"', "`", "[")
_WORD = re.compile(r"[\w$\x80-\U0010ffff]+")
_COMPUTES = re.compile(
    r"\|\||->|\b(?:cast|like|glob|regexp|match)\b"
    r"|\b(?!(?:in|and|or|not|is|between|when|then|else)\b)\w+\s*\(",
    re.IGNORECASE,
)
# Its index is all that there is of what was put into it.
_CONTENTLESS = re.compile(r"\bcontent\s*=\s*(''|\"\")", re.IGNORECASE)
_INDEX_DIFFERS = "a full-text index differs from what it indexes"
_VIRTUAL = 2  # generated and not stored: https://sqlite.org/pragma.html#pragma_table_xinfo
_EXPRESSION = -2  # https://sqlite.org/pragma.html#pragma_index_xinfo


@dataclass(frozen=True, slots=True)
class Remark:
    """One remark, the same text each day; `why` it is no damage, and SQL that is its `mend`.

    `by_application` says that only its own SQLite gives the mend the right values.
    """

    text: str
    why: str
    mend: str | None = None
    by_application: bool = False


def is_pointer_map(problem: str) -> bool:
    """Whether damage is in the pointer map alone: a copy by VACUUM INTO has a new one."""
    lines = [line for line in problem.splitlines() if not line.startswith("*** in database")]
    return bool(lines) and all(_POINTER_MAP.search(line) for line in lines)


def has_pointer_map(problem: str) -> bool:
    """Whether damage is in the pointer map too."""
    return bool(_POINTER_MAP.search(problem))


def index_of(line: str) -> str | None:
    """The index that a line of integrity_check is about, if it is about one."""
    found = _INDEX.fullmatch(line)
    return found[1] if found else None


def index_remarked(text: str) -> str | None:
    """The full-text table that a remark is about, if it is about one."""
    found = _FULL_TEXT.fullmatch(text)
    return found[2] if found else None


@dataclass(frozen=True, slots=True)
class Sorter:
    """Tells damage from remarks by the schema of a connection's main database."""

    connection: apsw.Connection

    def remark(self, line: str) -> Remark | None:
        """What a line of integrity_check remarks, or a remark's own text; None for damage."""
        if found := _INDEX.fullmatch(line):
            return self._index(found[1], counted=line.startswith("wrong # of"))
        if found := _VALUE.fullmatch(line):
            return self._value(line, found[1], found[2])
        if found := _CHECK.fullmatch(line):
            return self._check(line, found[1])
        if found := _FULL_TEXT.fullmatch(line):
            return self._full_text(found[1], found[2], is_malformed=line.startswith("malformed"))
        if found := _FTS5.fullmatch(line):
            # A content table of the application's own has another name.
            said = re.sub(r" -?\d+", "", line)
            name = found[1].strip('"').removeprefix("'main'.'").removesuffix("_content'")
            if line.startswith("fts5: corruption") and self._is_contentless(name):
                return None
            return self._full_text("FTS5", name) or Remark(said, _INDEX_DIFFERS)
        return None

    def indexes_of(self, collations: set[str]) -> set[str]:
        """The indexes that are ordered by one of some collations."""
        rows = self.connection.execute(
            "SELECT s.name FROM sqlite_schema AS s, pragma_index_xinfo(s.name) AS i"
            " WHERE s.type = 'index' AND lower(i.coll) IN (SELECT value FROM json_each(?))",
            (json.dumps([name.lower() for name in collations]),),
        )
        return {str(name) for (name,) in rows}

    def _index(self, name: str, *, counted: bool) -> Remark | None:
        row = self.connection.execute(
            "SELECT tbl_name, sql FROM sqlite_schema WHERE type = 'index' AND name = ?", (name,)
        ).fetchone()
        if row is None or not row[1] or not self._is_computed(name, str(row[0]), str(row[1])):
            return None
        if counted and _WHOLE_INDEX.search(_LITERAL.sub(" ", str(row[1]))):
            # Whatever is computed, each row has one entry: rows are gone, or entries are.
            return None
        return Remark(
            f"wrong entries in index {name}",
            f"it is computed from the rows of {row[0]}, by an expression or a function that gave"
            " the application other values than it gives here",
            f"REINDEX {quoted(name)}",
            by_application=True,
        )

    def _is_computed(self, name: str, table: str, sql: str) -> bool:
        """Whether what an index holds, or which rows, is the result of an expression."""
        virtual = {
            str(column).lower()
            for (column,) in self.connection.execute(
                "SELECT name FROM pragma_table_xinfo(?) WHERE hidden = ?", (table, _VIRTUAL)
            )
        }
        parts = self.connection.execute("SELECT cid, name FROM pragma_index_xinfo(?)", (name,))
        if any(cid == _EXPRESSION or str(column).lower() in virtual for cid, column in parts):
            return True
        # Of the same length, so that places in it are places in `sql`.
        bare = _LITERAL.sub(
            lambda found: ("x" if found[0][:1] in _QUOTES else "").center(len(found[0])), sql
        )
        where = re.search(r"\bwhere\b", bare, re.IGNORECASE)
        if where is None:
            return False
        condition = bare[where.end() :]
        named = {word.lower() for word in _WORD.findall(condition)}
        for found in _LITERAL.finditer(sql, where.end()):
            if found[0][:1] in _QUOTES:
                named.add(found[0][1:-1].replace(found[0][0] * 2, found[0][0]).lower())
        return bool(_COMPUTES.search(condition)) or not named.isdisjoint(virtual)

    def _value(self, line: str, kind: str, where: str) -> Remark | None:
        row = self.connection.execute(
            "SELECT t.name, c.name, c.dflt_value, c.type, c.hidden"
            " FROM pragma_table_list AS t, pragma_table_xinfo(t.name) AS c"
            " WHERE t.schema = 'main' AND t.name || '.' || c.name = ?",
            (where,),
        ).fetchone()
        if row is None:
            return None
        table, column, default, declared, hidden = row
        why = f"the application stores what the column was not declared for ({declared or 'any'})"
        t, c = quoted(str(table)), quoted(str(column))
        if hidden:
            return Remark(line, why)
        if kind == "NULL":
            empty = default if default is not None else _empty(str(declared))
            return Remark(
                line,
                "the column is declared NOT NULL, and the application stores NULL",
                # SQLite takes IS NULL for false where the column is declared NOT NULL.
                f"UPDATE {t} SET {c} = {empty} WHERE typeof({c}) = 'null'",
            )
        # What is stored is converted as it would be today, where nothing of it is lost.
        wrong = {"TEXT": "= 'text'", "NUMERIC": "IN ('integer', 'real')"}.get(kind)
        wrong = wrong or f"NOT IN ('null', {_typeof(kind)})"
        return Remark(line, why, f"UPDATE {t} SET {c} = {c} WHERE typeof({c}) {wrong}")

    def _check(self, line: str, table: str) -> Remark | None:
        row = self.connection.execute(
            "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?", (table,)
        ).fetchone()
        if row is None:
            return None
        broken = " OR ".join(f"NOT ({condition})" for condition in _conditions(str(row[0])))
        list_destination = f"SELECT * FROM {quoted(table)} WHERE {broken}" if broken else None
        why = "the application stores rows that break what the table declares"
        return Remark(line, why, list_destination)

    def _is_contentless(self, name: str) -> bool:
        row = self.connection.execute(
            "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?", (name,)
        ).fetchone()
        return row is not None and bool(_CONTENTLESS.search(str(row[0])))

    def _full_text(self, version: str, name: str, *, is_malformed: bool = False) -> Remark | None:
        # The table's name, or that and what SQLite says of it.
        row = self.connection.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND rootpage = 0"
            " AND (name = ?1 OR substr(?1, 1, length(name) + 2) = name || ': ')"
            " ORDER BY length(name) DESC",
            (name,),
        ).fetchone()
        if row is None:
            return None
        table = quoted(str(row[0]))
        if _CONTENTLESS.search(str(row[1])):
            if is_malformed:
                # Nothing that it could differ from is there, nor anything to rebuild it from.
                return None
            text = f"unable to validate the inverted index for {version} table main.{row[0]}"
            return Remark(text, "SQLite cannot look at it here as the application does")
        return Remark(
            f"malformed inverted index for {version} table main.{row[0]}",
            _INDEX_DIFFERS,
            f"INSERT INTO {table}({table}) VALUES ('rebuild')",
        )


def _typeof(kind: str) -> str:
    """What typeof() says of values that a STRICT column of this kind takes."""
    name = kind.removeprefix("non-").lower()
    return f"'{ {'int': 'integer'}.get(name, name) }'".replace(" ", "")


def _empty(declared: str) -> str:
    """A value that a column of a type may hold instead of NULL: https://sqlite.org/datatype3.html."""
    text = declared.upper()
    if any(part in text for part in ("CHAR", "CLOB", "TEXT")) and "INT" not in text:
        return "''"
    return "x''" if "BLOB" in text else "0"


def _conditions(sql: str) -> Iterator[str]:
    """The conditions of a table's CHECK constraints, as they are written."""
    # Of the same length, so that places in it are places in `sql`.
    bare = _LITERAL.sub(lambda found: "x" * len(found[0]), sql)
    for found in re.finditer(r"\bcheck\s*\(", bare, re.IGNORECASE):
        depth = 1
        for at in range(found.end(), len(bare)):
            depth += {"(": 1, ")": -1}.get(bare[at], 0)
            if depth == 0:
                yield " ".join(sql[found.end() : at].split())
                break
