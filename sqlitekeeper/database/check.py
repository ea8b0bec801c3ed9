"""The check of a database: integrity, row counts, schema."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import apsw

from sqlitekeeper.database.connection import (
    open_database,
    pragma_int,
    quoted,
    report_progress,
    scalar,
    sqlite_errors,
)
from sqlitekeeper.database.remarks import Remark, Sorter, index_of
from sqlitekeeper.database.stand_ins import stand_in_collations, with_stand_in_functions
from sqlitekeeper.errors import CheckError

CACHE_KIB = 8 * 1024
CheckKind = Literal["integrity", "quick", "none"]
KINDS: tuple[CheckKind, ...] = get_args(CheckKind)
_ROW = re.compile(r"^row -?\d+")
# So many lines are read for the b-trees; where they were remarks, all that there are.
_LINES = 10_000
_ALL_LINES = 2**31 - 1


def foreign_key_violations(connection: apsw.Connection) -> int | None:
    """The number of rows whose foreign key has no parent.

    None where SQLite cannot tell, because a foreign key refers to columns that
    are not unique in the parent table.
    """
    try:
        return sum(1 for _ in connection.execute("PRAGMA foreign_key_check"))
    except apsw.SQLError:
        return None


def schema_sha256(connection: apsw.Connection) -> str:
    """One hash for all of CREATE's words, in an order that does not depend on history."""
    select = "SELECT type, name, tbl_name, {} FROM sqlite_schema ORDER BY type, name, tbl_name"
    rows: list[tuple[object, ...]]
    try:
        rows = connection.execute(select.format("sql")).fetchall()
    except UnicodeDecodeError:
        # SQLite takes any bytes for text, as in a comment by a program that is not of our time.
        bytewise = connection.execute(select.format("CAST(sql AS BLOB)")).fetchall()
        rows = [
            (*names, sql.decode(errors="surrogateescape") if isinstance(sql, bytes) else sql)
            for *names, sql in bytewise
        ]
    return hashlib.sha256(json.dumps(rows, ensure_ascii=True).encode()).hexdigest()


def shadow_tables(connection: apsw.Connection) -> tuple[str, ...]:
    """The tables in which virtual ones (FTS5, R-Tree) keep what is theirs, by name."""
    rows = connection.execute(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow' ORDER BY name"
    ).fetchall()
    return tuple(str(name) for (name,) in rows)


@dataclass(frozen=True, slots=True)
class Checked:
    """What was measured and proven on a snapshot file. Sizes in bytes.

    `unchecked` says, a sentence each, what only the application could look at, `remarks`
    what SQLite's checks say that is no damage.
    """

    bytes: int
    sha256: str
    kind: CheckKind
    foreign_key_violations: int | None
    tables: dict[str, int]
    schema_sha256: str
    shadow_tables: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()

    @property
    def remarked(self) -> tuple[str, ...]:
        """All that is no damage, a text each, the same from day to day."""
        return (*(remark.text for remark in self.remarks), *self.unchecked)


def check_snapshot(
    file: Path, sha256: str, kind: CheckKind, tick: Callable[[int], None] = lambda done: None
) -> Checked:
    """Prove a snapshot file, and count what is in it.

    `tick` gets about how many of its bytes were read, every few milliseconds.

    Foreign-key violations are the application's own affair: counted, not an error.

    Raises:
        CheckError: the check complains.
    """
    size = file.stat().st_size
    # One that may write, for SQLite to look at CHECK constraints too.
    with sqlite_errors(file), open_database(file, write=True) as connection:
        connection.pragma("query_only", 1)
        # An index is looked up for each row of its table. Mapping the file would
        # be quicker still, but then keeper appears to be as large as the database.
        connection.pragma("cache_size", -CACHE_KIB)
        page_size = pragma_int(connection, "page_size")

        def progress() -> None:
            pages, _ = connection.status(apsw.SQLITE_DBSTATUS_CACHE_MISS)
            tick(pages * page_size)

        report_progress(connection, progress)
        integrity = check_integrity(connection, kind)
        if integrity.problems:
            raise CheckError(
                f"the snapshot fails {kind}_check: {integrity.problems[0]}",
                hint="the database is damaged: restore a good snapshot, or salvage it",
            )
        return Checked(
            bytes=size,
            sha256=sha256,
            kind=kind,
            foreign_key_violations=foreign_key_violations(connection),
            tables=row_counts(connection),
            schema_sha256=schema_sha256(connection),
            shadow_tables=shadow_tables(connection),
            unchecked=integrity.unchecked,
            remarks=integrity.remarks,
        )


@dataclass(frozen=True, slots=True)
class Integrity:
    """What a check has found: damage, remarks, and what it could not look at, a sentence each."""

    problems: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()
    unchecked: tuple[str, ...] = ()


def check_integrity(connection: apsw.Connection, kind: CheckKind, most: int = 5) -> Integrity:
    """Ask integrity_check or quick_check, and sort what they say; stops after `most` problems.

    quick_check does not compare indexes with their tables, see
    https://sqlite.org/pragma.html#pragma_quick_check. CHECK constraints are
    looked at through a connection only that may write, `query_only` or not.

    Where the schema uses a collation, a function or a tokenizer of the
    application's own, SQLite gives up on the whole database. The tables are
    then asked one by one, and all of it once more with stand-ins.
    """
    if kind == "none":
        return Integrity()
    found = _Sorted(Sorter(connection), most)
    try:
        # The b-trees come first, in one text: a limit on its lines is one on its size.
        if found.ask(connection, f"{kind}_check({_LINES})") >= _LINES and not found.problems:
            found.ask(connection, f"{kind}_check({_ALL_LINES})")
        return Integrity(tuple(found.problems), found.remarks)
    except apsw.SQLError:
        return _check_tables(connection, kind, found)


def integrity_problems(connection: apsw.Connection, kind: CheckKind, most: int = 5) -> list[str]:
    """The damage that integrity_check or quick_check finds; empty when sound."""
    return list(check_integrity(connection, kind, most).problems)


@dataclass(slots=True)
class _Sorted:
    """The lines of one or more checks, each kind of line once."""

    sorter: Sorter
    most: int
    problems: list[str] = field(default_factory=list)
    known: dict[str, Remark | None] = field(default_factory=dict)

    @property
    def remarks(self) -> tuple[Remark, ...]:
        by_text = {remark.text: remark for remark in self.known.values() if remark}
        return tuple(by_text[text] for text in sorted(by_text))

    def ask(self, connection: apsw.Connection, check: str) -> int:
        """Run a check until there are enough problems; how many lines it has given."""
        return self._hear(connection, check, self._sort)

    def ask_for_damage(
        self, connection: apsw.Connection, check: str, collations: list[str]
    ) -> None:
        """Run a check with stand-ins: remarks may be their doing, and the order of `collations`."""

        def sort(line: str) -> None:
            doubtful = self.sorter.indexes_of(set(collations)) if collations else set()
            index = index_of(line)
            if collations and (index in doubtful or "PRIMARY KEY order" in line):
                return
            if self.sorter.remark(line) is None:
                self._add(line)

        self._hear(connection, check, sort)

    def _hear(self, connection: apsw.Connection, check: str, sort: Callable[[str], None]) -> int:
        lines = 0
        cursor = connection.execute(f"PRAGMA {check}")
        try:
            for (line,) in cursor:
                lines += 1
                if line != "ok":
                    sort(str(line))
                if len(self.problems) >= self.most:
                    break
        finally:
            cursor.close()
        return lines

    def _sort(self, line: str) -> None:
        # One that differs only in the row has the same cause.
        key = _ROW.sub("row", line)
        if key not in self.known:
            self.known[key] = self.sorter.remark(line)
        if self.known[key] is None:
            self._add(line)

    def _add(self, line: str) -> None:
        text = "\n".join(line.split("\n", self.most + 1)[: self.most + 1])
        if text not in self.problems:
            self.problems.append(text)


def _check_tables(connection: apsw.Connection, kind: CheckKind, found: _Sorted) -> Integrity:
    names = connection.execute(
        "SELECT name FROM pragma_table_list"
        " WHERE schema = 'main' AND type IN ('table', 'shadow', 'virtual') ORDER BY name"
    ).fetchall()
    unchecked: list[str] = []
    for (name,) in names:
        table = quoted(str(name))
        try:
            found.ask(connection, f"{kind}_check({table})")
        except apsw.SQLError as error:
            unchecked.append(_ask_less(connection, kind, str(name), str(error), found))
    try:
        _check_all(connection, kind, found)
    except apsw.Error as error:
        unchecked.append(f"the use of pages could not be checked as a whole ({error})")
    return Integrity(tuple(found.problems[: found.most]), found.remarks, tuple(unchecked))


def _ask_less(
    connection: apsw.Connection, kind: CheckKind, name: str, cause: str, found: _Sorted
) -> str:
    """Check what can be checked of a table; what was left out, and why."""
    table, ignored = quoted(name), connection.pragma("ignore_check_constraints")
    connection.pragma("ignore_check_constraints", 1)
    try:
        try:
            found.ask(connection, f"{kind}_check({table})")
            return f"the CHECK constraints of {name} could not be looked at ({cause})"
        except apsw.SQLError:
            with stand_in_collations(connection):
                found.ask(connection, f"quick_check({table})")
            return f"the indexes of {name} could not be compared with it ({cause})"
    except apsw.SQLError:
        return f"the table {name} could not be checked ({cause})"
    finally:
        connection.pragma("ignore_check_constraints", ignored)


def _check_all(connection: apsw.Connection, kind: CheckKind, found: _Sorted) -> None:
    """Look for damage in all of a database at once, whatever only the application has of it.

    Pages that belong to nothing or to two things, the free list, and indexes beside those
    that could not be compared. Without modules SQLite passes over virtual tables; what they
    keep is in ordinary ones.
    """
    with open_database(Path(connection.filename)) as bare:
        report_progress(bare, lambda: None)
        bare.drop_modules([])
        bare.pragma("ignore_check_constraints", 1)
        with stand_in_collations(bare) as collations:

            def ask(check: str) -> None:
                with_stand_in_functions(bare, lambda: found.ask_for_damage(bare, check, collations))

            try:
                ask(f"{kind}_check({_ALL_LINES})")
            except apsw.SQLError:
                # An expression fails on what is in a row, as JSON functions do.
                ask(f"quick_check({_ALL_LINES})")


def row_counts(connection: apsw.Connection) -> dict[str, int]:
    """The rows of every table, by name; shadow tables stand for virtual ones.

    SQLite's own tables (sqlite_sequence, sqlite_stat1, ...) are left out.
    """
    names = connection.execute(
        "SELECT name FROM pragma_table_list"
        " WHERE schema = 'main' AND type IN ('table', 'shadow')"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    ).fetchall()
    with stand_in_collations(connection):
        return {
            str(name): scalar(connection, f"SELECT count(*) FROM {quoted(str(name))}")
            for (name,) in names
        }
