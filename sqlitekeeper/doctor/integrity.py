"""Findings of SQLite's checks: what the last backup remarked, and of the live file if asked."""

import shlex
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from sqlitekeeper.database.connection import open_database, quoted, sqlite_errors
from sqlitekeeper.database.integrity import Integrity, check_in_turns
from sqlitekeeper.database.remarks import Remark, Sorter, has_pointer_map, index_of, is_pointer_map
from sqlitekeeper.doctor.finding import Finding
from sqlitekeeper.errors import CheckError, KeeperError, as_keeper_error
from sqlitekeeper.state.history import History
from sqlitekeeper.state.pointer_maps import remember_map

_LET_IT = "let the application run: PRAGMA integrity_check"
_ITS_OWN = "  # with the application's SQLite; by itself where it has functions of its own"


def remembered_remarks(state: Path, name: str, to: Iterable[str]) -> tuple[str, ...]:
    """What the check of the last backups of a database remarked, as this host remembers it."""
    if not (places := set(to)):
        return ()
    try:
        shipments = History(state).shipments([name])
    except (KeeperError, OSError, ValueError):
        return ()  # which is said where the age of the backups is asked for
    kept = (shipments[key].manifest for key in shipments if key[0] in places)
    return tuple(dict.fromkeys(text for one in kept for text in one.remarks or ()))


def judge_remarks(name: str, path: Path, texts: Iterable[str]) -> list[Finding]:
    """Remarks of a backup, each with the mend that fits the schema as it is now."""
    texts = list(texts)
    if not texts:
        return []
    try:
        with sqlite_errors(path), open_database(path) as connection:
            sorter = Sorter(connection)
            return [_remarked(name, path, sorter.remark(text), text) for text in texts]
    except (KeeperError, OSError):
        return []  # which is said where it is opened


def check_live(state: Path, name: str, path: Path) -> list[Finding]:
    """Run integrity_check on the live file, in turns that keep nobody waiting for long.

    What it says of the pointer map is noted in the state folder, for keeper vacuum.
    """
    try:
        with sqlite_errors(path), open_database(path) as connection:
            found = check_in_turns(connection)
    except CheckError as error:
        found = Integrity((error.message,))
    except (KeeperError, OSError) as error:
        trouble = as_keeper_error(error)
        message = f"{path}: could not be checked: {trouble.message}"
        return [Finding("warn", name, "integrity", message, trouble.hint)]
    if not any("use of pages" in text for text in found.unchecked):
        # Whether it can be noted matters less than what was found.
        with suppress(KeeperError, OSError):
            wrong = next((one for one in found.problems if has_pointer_map(one)), None)
            remember_map(state, path, wrong)
    findings = [_damaged(name, path, problem) for problem in found.problems]
    findings += [_remarked(name, path, remark, remark.text) for remark in found.remarks]
    findings += [_remarked(name, path, None, text) for text in found.unchecked]
    return findings or [Finding("ok", name, "integrity", f"{path}: integrity_check says ok")]


def _damaged(name: str, path: Path, problem: str) -> Finding:
    file = shlex.quote(str(path))
    fix = f"keeper restore {shlex.quote(name)} --replace; or salvage it: sqlite3 {file} .recover"
    if index := index_of(problem):
        fix = f"sqlite3 {file} {shlex.quote(f'REINDEX {quoted(index)}')}"
    elif is_pointer_map(problem):
        problem = f"the pointer map is wrong, which freeing pages relies on: {problem}"
        convert = "keeper convert --yes"
        fix = f"{convert} --auto-vacuum none {file} && {convert} {file}"
    return Finding("fail", name, "integrity", f"{path}: {' '.join(problem.split())}", fix)


def _remarked(name: str, path: Path, remark: Remark | None, text: str) -> Finding:
    if remark is None:
        return Finding("warn", name, "remark", f"{path}: {text}", _LET_IT)
    fix = "only the application can mend it"
    if remark.mend:
        fix = f"sqlite3 {shlex.quote(str(path))} {shlex.quote(remark.mend)}"
        fix += _ITS_OWN if remark.by_application else ""
    message = f"{path}: {remark.text}: {remark.why}; no damage"
    return Finding("warn", name, "remark", message, fix)
