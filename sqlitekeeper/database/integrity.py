"""integrity_check and quick_check, asked so that one unknown thing hides no damage elsewhere."""

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import apsw

from sqlitekeeper.database.connection import in_wal_mode, open_database, quoted, report_progress
from sqlitekeeper.database.remarks import (
    Remark,
    Sorter,
    has_pointer_map,
    index_of,
    is_pointer_map,
)
from sqlitekeeper.database.stand_ins import stand_in_collations, with_stand_in_functions
from sqlitekeeper.workers import stop_if_asked

CheckKind = Literal["integrity", "quick", "none"]
KINDS: tuple[CheckKind, ...] = get_args(CheckKind)
_ROW = re.compile(r"^row -?\d+")
# So many lines are read for the b-trees; where they were remarks, all that there are.
_LINES = 10_000
_ALL_LINES = 2**31 - 1
# How long writers of a rollback-mode database wait for one turn of a check of the live file.
TURN_SECONDS = 1.0
_STEPS = 10_000
_MAP_LINES = 100


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


def check_in_turns(connection: apsw.Connection, most: int = 5) -> Integrity:
    """Run integrity_check on a live database: its pages as a whole, then one table after another.

    In WAL mode nobody waits for a reader. Where writers do, each turn is cut off before
    they notice, and what was not looked at for that is said.
    """
    found = _Sorted(Sorter(connection), most)
    unchecked: list[str] = []
    limit = math.inf if in_wal_mode(connection) else TURN_SECONDS

    def take_turn(what: str, check: str) -> None:
        began = time.monotonic()
        connection.set_progress_handler(_limit(began + limit), _STEPS)
        try:
            found.ask(connection, check)
        except apsw.InterruptError:
            text = f"{what} could not be checked within {limit:g} s, for which writers wait"
            unchecked.append(f"{text}; let the application run PRAGMA integrity_check")
        except apsw.SQLError as error:
            unchecked.append(f"{what} could not be checked ({error})")
        finally:
            connection.set_progress_handler(None)
        time.sleep(min(time.monotonic() - began, TURN_SECONDS))

    take_turn("the use of pages", f"quick_check({_LINES})")
    for name in _table_names(connection):
        if len(found.problems) < most:
            take_turn(f"the table {name}", f"integrity_check({quoted(name)})")
    return Integrity(tuple(found.problems), found.remarks, tuple(unchecked))


def wrong_pointer_map(connection: apsw.Connection, seconds: float = math.inf) -> str | None:
    """What is wrong with the pointer map, in a word; None also where `seconds` did not tell.

    It says where pages are referred to, which SQLite believes as it frees pages; a
    snapshot has a new one. https://sqlite.org/fileformat.html#pointer_map_or_ptrmap_pages
    """
    connection.set_progress_handler(_limit(time.monotonic() + seconds), _STEPS)
    cursor = connection.cursor()
    try:
        # The b-trees come first, so no table is read where something is wrong with them.
        first = cursor.execute(f"PRAGMA quick_check({_MAP_LINES})").fetchone()
    except (apsw.InterruptError, apsw.SQLError):
        return None
    finally:
        cursor.close()
        connection.set_progress_handler(None)
    lines = str(first[0]).split("\n") if first else []
    return next((line for line in lines if is_pointer_map(line)), None)


def _limit(deadline: float) -> Callable[[], bool]:
    def handler() -> bool:
        stop_if_asked()
        return time.monotonic() > deadline

    return handler


def _table_names(connection: apsw.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT name FROM pragma_table_list"
        " WHERE schema = 'main' AND type IN ('table', 'shadow', 'virtual') ORDER BY name"
    ).fetchall()
    return [str(name) for (name,) in rows]


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
        # What is worse than a pointer map comes first, and one fault of that stands for all.
        lines = sorted(line.split("\n"), key=has_pointer_map)
        text = "\n".join(lines[: self.most + 1])
        again = is_pointer_map(text) and any(map(is_pointer_map, self.problems))
        if text not in self.problems and not again:
            self.problems.append(text)


def _check_tables(connection: apsw.Connection, kind: CheckKind, found: _Sorted) -> Integrity:
    unchecked: list[str] = []
    for name in _table_names(connection):
        try:
            found.ask(connection, f"{kind}_check({quoted(name)})")
        except apsw.SQLError as error:
            unchecked.append(_ask_less(connection, kind, name, str(error), found))
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
