"""A downloaded snapshot verified against its manifest."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import apsw

from sqlitekeeper.database.check import Checked, check_snapshot
from sqlitekeeper.database.connection import open_database, report_progress
from sqlitekeeper.database.full_text import FullText, check_full_text
from sqlitekeeper.destination.catalog import Snapshot
from sqlitekeeper.destination.manifest import Manifest, timestamp
from sqlitekeeper.errors import CheckError
from sqlitekeeper.events import Listener, Tick, ignore
from sqlitekeeper.filesystem.checksum import sha256_of
from sqlitekeeper.wording import counted


@dataclass(frozen=True, slots=True)
class Verification:
    """What a snapshot was found to be; None where a proof ended before it came to that.

    `problem` says why it is not what it should be, `remarks` what is odd and no fault, which
    the manifest does not say already, and `check_remarks` what SQLite's checks remarked.
    """

    sha256_ok: bool | None = None
    check: Literal["ok", "failed"] | None = None
    rows_ok: bool | None = None
    problem: str | None = None
    remarks: tuple[str, ...] = ()
    check_remarks: tuple[str, ...] = ()


def contradiction(snapshot: Snapshot, manifest: Manifest) -> Verification | None:
    """How a manifest contradicts the listing, if it does; found without downloading anything."""
    if manifest.object != snapshot.object:
        return Verification(problem=f"its manifest belongs to {manifest.object}")
    if manifest.taken_at != snapshot.taken_at:
        said = timestamp(manifest.taken_at)
        return Verification(problem=f"its manifest says that it was taken at {said}")
    if manifest.stored_bytes != snapshot.bytes:
        problem = f"it has {snapshot.bytes} bytes, its manifest says {manifest.stored_bytes}"
        return Verification(sha256_ok=False, problem=problem)
    return None


def verify(
    file: Path, manifest: Manifest, on_event: Listener = ignore, *, full_text: bool = True
) -> Verification:
    """Prove keeper's own copy of a snapshot; its content may be anything.

    Full-text indexes can be rebuilt from what they index, so a restore does
    not ask for theirs.

    Raises:
        KeeperError: nothing can be said, as when the disk is full.
    """
    size = file.stat().st_size
    if size != manifest.bytes:
        return Verification(
            sha256_ok=False, problem=f"{size} bytes came, its manifest says {manifest.bytes}"
        )
    sha256 = sha256_of(file)
    if sha256 != manifest.sha256:
        return Verification(
            sha256_ok=False,
            problem=f"its sha256 is {sha256[:12]}..., its manifest says {manifest.sha256[:12]}...",
        )
    try:
        checked = check_snapshot(
            file,
            sha256,
            "integrity",
            lambda done: on_event(Tick(manifest.database, "check", done, size)),
        )
        indexes = _full_text_indexes(file) if full_text else FullText()
    except CheckError as error:
        problem = error.message.replace(f"{file}: ", "")
        return Verification(sha256_ok=True, check="failed", problem=problem)
    known = manifest.remarks or ()
    indexes = indexes.without(known)
    if indexes.problems:
        return Verification(sha256_ok=True, check="failed", problem="; ".join(indexes.problems))
    rows = _row_problem(checked, manifest)
    foreign_keys = _foreign_key_problem(checked, manifest)
    new = [text for text in checked.remarked if text not in known and text not in checked.unchecked]
    unexpected = f"integrity_check did not say before: {new[0]}" if new else None
    if not _is_comparable(manifest):
        unexpected = None
    return Verification(
        sha256_ok=True,
        check="failed" if foreign_keys or unexpected else "ok",
        rows_ok=rows is None,
        problem="; ".join(filter(None, (rows, foreign_keys, unexpected))) or None,
        remarks=(*new, *checked.unchecked, *indexes.remarks),
        check_remarks=checked.remarked,
    )


def _is_comparable(manifest: Manifest) -> bool:
    """Whether the same SQLite has looked for all that is looked for here, and said what it saw.

    Another one may complain of what this one takes for sound, and the other way round.
    """
    versions = manifest.raw.get("versions")
    by = versions.get("sqlite") if isinstance(versions, dict) else None
    was_complete = manifest.check == "integrity" and manifest.remarks is not None
    return was_complete and by == apsw.sqlite_lib_version()


def _full_text_indexes(file: Path) -> FullText:
    with open_database(file, write=True) as connection:
        report_progress(connection, lambda: None)
        return check_full_text(connection)


def _row_problem(checked: Checked, manifest: Manifest) -> str | None:
    """The first table whose rows are not as many as the manifest says, and how many more."""
    names = sorted(checked.tables.keys() | manifest.tables.keys())
    wrong = [name for name in names if checked.tables.get(name) != manifest.tables.get(name)]
    if not wrong:
        return None
    found, said = (_rows(tables.get(wrong[0])) for tables in (checked.tables, manifest.tables))
    more = f", and {counted(len(wrong) - 1, 'more table')}" if len(wrong) > 1 else ""
    return f"table {wrong[0]}: {found}, its manifest says {said}{more}"


def _rows(count: int | None) -> str:
    return "no such table" if count is None else counted(count, "row")


def _foreign_key_problem(checked: Checked, manifest: Manifest) -> str | None:
    """Violations that were there when the snapshot was taken are the application's own affair."""
    found, said = checked.foreign_key_violations, manifest.foreign_key_violations
    if found is None and said is not None:
        return "foreign keys cannot be checked, its manifest says that they were"
    if found is not None and said is not None and found > said:
        return f"{counted(found, 'foreign-key violation')}, its manifest says {said}"
    return None
