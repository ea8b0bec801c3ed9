"""Databases that are sound, and unlike others: all the work is done on them as on any."""

import json
from pathlib import Path
from typing import Any

import apsw
import pytest

from sqlitekeeper.database.check import check_integrity, check_snapshot, row_counts
from sqlitekeeper.database.connection import open_database
from sqlitekeeper.database.maintain.convert import convert, plan_conversion
from sqlitekeeper.database.maintain.vacuum import VacuumOptions, vacuum
from sqlitekeeper.database.measure import AutoVacuum
from sqlitekeeper.database.snapshot.snapshot import take_snapshot
from sqlitekeeper.destination.manifest import Manifest
from sqlitekeeper.errors import KeeperError
from sqlitekeeper.filesystem.checksum import sha256_of
from sqlitekeeper.report.tables import table_spaces
from sqlitekeeper.restore.verify import verify
from tests.conftest import BackupConfig, Keeper, contents
from tests.destination.test_untrusted import GOOD
from tests.faults.strange import SOUND, ChecksumVFS, make_strange

COPIED_BY_PAGES = {
    "unknown_function_in_check",
    "unknown_function_in_index",
    "unknown_function_in_partial_index",
    "unknown_function_in_generated",
    "unknown_collation_in_column",
    "unknown_collation_in_index",
    "unknown_collation_in_unique",
    "unknown_collation_in_key",
    "checksums",
}
NOT_ALL_CHECKED = {
    "unknown_tokenizer": "the table f could not be checked",
    "unknown_function_in_check": "the CHECK constraints of t could not be looked at",
    "unknown_function_in_index": "the indexes of t could not be compared with it",
    "unknown_function_in_partial_index": "the indexes of t could not be compared with it",
    "unknown_collation_in_index": "the indexes of t could not be compared with it",
    "unknown_collation_in_unique": "the indexes of t could not be compared with it",
    "unknown_collation_in_key": "the indexes of t could not be compared with it",
}

every_kind = pytest.mark.parametrize("kind", SOUND)


def logical_content(path: Path) -> list[Any]:
    """Every row of every b-tree, the schema, and the settings that go with a database."""
    with open_database(path) as connection:
        schema = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name, type"
        settings = ("user_version", "application_id", "encoding", "page_size", "auto_vacuum")
        return [
            connection.execute(schema).fetchall(),
            row_counts(connection),
            [connection.pragma(name) for name in settings],
            connection.reserve_bytes(),
        ]


@pytest.mark.parametrize(
    ("kind", "journal_mode"),
    [*((kind, "wal") for kind in SOUND), ("unknown_collation_in_key", "delete")],
)
def test_snapshot_of_a_strange_database_is_the_same_and_proven(
    tmp_path: Path, kind: str, journal_mode: str
) -> None:
    """Nothing is lost, the check does not complain, and the same content gives the same bytes."""
    (tmp_path / "data").mkdir()
    path = make_strange(tmp_path / "data" / "app.sqlite3", kind, journal_mode)
    before = contents(path.parent)

    source = take_snapshot(path, tmp_path / "one")
    take_snapshot(path, tmp_path / "two")
    checked = check_snapshot(tmp_path / "one", sha256_of(tmp_path / "one"), "integrity")

    assert (source.method == "pages") == (kind in COPIED_BY_PAGES)
    assert logical_content(tmp_path / "one") == logical_content(path)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o600
    assert checked.tables == logical_content(path)[1]
    assert contents(path.parent) == before


@every_kind
def test_drill_of_a_strange_snapshot_proves_it(tmp_path: Path, kind: str) -> None:
    """What could not be looked at is no reason to fail."""
    path, file = make_strange(tmp_path / "app.sqlite3", kind), tmp_path / "copy"
    take_snapshot(path, file)
    checked = check_snapshot(file, sha256_of(file), "integrity")
    facts = {"bytes": checked.bytes, "sha256": checked.sha256}
    checks = {"kind": "integrity", "foreign_key_violations": checked.foreign_key_violations}
    manifest = GOOD | {"snapshot": GOOD["snapshot"] | facts, "tables": checked.tables}

    proof = verify(
        file, Manifest.from_json(json.dumps(manifest | {"checks": checks}).encode(), "here")
    )

    assert (proof.sha256_ok, proof.check, proof.rows_ok) == (True, "ok", True)


@every_kind
def test_what_could_not_be_checked_is_said(tmp_path: Path, kind: str) -> None:
    """And only that: nothing is left out silently."""
    path = make_strange(tmp_path / "app.sqlite3", kind)

    with open_database(path) as connection:
        found = check_integrity(connection, "integrity")

    assert found.problems == ()
    assert bool(found.unchecked) == (kind in NOT_ALL_CHECKED)
    assert NOT_ALL_CHECKED.get(kind, "") in "".join(found.unchecked)


@every_kind
def test_vacuum_frees_the_pages_of_a_strange_database(tmp_path: Path, kind: str) -> None:
    """The content stays; `optimize` that only the application could run fails nothing."""
    path = make_strange(tmp_path / "app.sqlite3", kind)
    before = logical_content(path)

    result = vacuum(path, VacuumOptions(pages=0, optimize=True))

    if kind in ("reserved_bytes", "checksums"):
        assert (result.outcome, result.freed_pages) == (result.outcome, 0)
    else:
        assert (result.outcome, result.free_pages_left) == ("done", 0)
        assert result.freed_pages > 0
    without = ["sqlite_stat1", "sqlite_stat4"]
    assert [row for row in logical_content(path)[0] if row[1] not in without] == [
        row for row in before[0] if row[1] not in without
    ]
    assert logical_content(path)[1:] == before[1:]


@every_kind
def test_convert_keeps_what_a_strange_database_holds(tmp_path: Path, kind: str) -> None:
    """Where only the application can VACUUM it, nothing changes and the error says so."""
    path = make_strange(tmp_path / "app.sqlite3", kind)
    before = logical_content(path)
    wanted: AutoVacuum = "none" if before[2][-1] else "incremental"

    if kind in COPIED_BY_PAGES:
        with pytest.raises(KeeperError) as caught:
            convert(plan_conversion(path, wanted))
        assert (
            caught.value.hint == f"let the application run: PRAGMA auto_vacuum = {wanted}; VACUUM"
        )
        assert logical_content(path) == before
    else:
        assert convert(plan_conversion(path, wanted)).outcome == "converted"
        assert logical_content(path)[:2] == before[:2]


@every_kind
def test_every_page_of_a_strange_database_is_told(tmp_path: Path, kind: str) -> None:
    """The space of its tables, whatever they are called, adds up to the pages in use."""
    path = make_strange(tmp_path / "app.sqlite3", kind)

    spaces = table_spaces(path)

    with open_database(path) as connection:
        used = connection.pragma("page_count") - connection.pragma("freelist_count")
    maps = 1 if kind not in ("reserved_bytes", "checksums") else 0
    assert used - maps * (1 + used // 100) <= sum(space.pages for space in spaces) <= used


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_pages_keep_their_checksums(
    tmp_path: Path, keeper: Keeper, backup_config: BackupConfig, command: str
) -> None:
    """An application with the checksum VFS can read the snapshot, and what is restored of it."""
    path = make_strange(tmp_path / "app.sqlite3", "checksums")
    backup_config(path, to=tmp_path / "shelf")
    assert keeper("backup").status == 0
    (file,) = (tmp_path / "shelf").rglob("*.sqlite3")
    if command == "restore":
        file = tmp_path / "restored.sqlite3"
        assert keeper("restore", "app", "--to", file).status == 0

    application = ChecksumVFS()
    connection = apsw.Connection(str(file), vfs="checksums")
    assert connection.execute("SELECT count(*), sum(a), sum(b) FROM t").fetchall() == [(2, 4, 6)]
    assert connection.execute("PRAGMA integrity_check").get == "ok"
    connection.close()
    del application


def test_one_run_backs_up_all_of_them(
    tmp_path: Path, keeper: Keeper, backup_config: BackupConfig
) -> None:
    """Every kind beside each other: all are shipped, and drilled; the second run ships none."""
    (tmp_path / "data").mkdir()
    for kind in SOUND:
        make_strange(tmp_path / "data" / f"{kind}.sqlite3", kind)
    backup_config(tmp_path / "data" / "*.sqlite3", to=tmp_path / "shelf")

    first, second = keeper("backup", "--json"), keeper("backup", "--json")
    drill = keeper("drill", "--json")

    assert (first.status, second.status, drill.status) == (0, 0, 0)
    for run, outcome in ((first, "shipped"), (second, "unchanged"), (drill, "proven")):
        outcomes = {entry["name"]: entry["outcome"] for entry in run.json["databases"]}
        assert outcomes == dict.fromkeys(SOUND, outcome)


def test_manifest_says_how_it_was_copied_and_what_was_not_checked(
    tmp_path: Path, keeper: Keeper, backup_config: BackupConfig
) -> None:
    """And so does the log, in a line each; a drill repeats what it could not check either."""
    kind = "unknown_collation_in_index"
    backup_config(make_strange(tmp_path / "app.sqlite3", kind), to=tmp_path / "shelf")

    backup, drill = keeper("backup"), keeper("drill")

    manifest = json.loads((tmp_path / "shelf" / "app" / "latest.json").read_text())
    (sentence,) = manifest["checks"]["unchecked"]
    assert manifest["source"]["method"] == "pages"
    assert sentence.startswith("the indexes of t could not be compared with it (no such coll")
    assert f"app: {sentence}" in backup.err
    assert "copied page by page, free pages too: no such collation sequence: people" in backup.err
    assert sentence in drill.err


def test_report_and_doctor_take_all_of_them(tmp_path: Path, keeper: Keeper) -> None:
    """Names that a terminal would obey come out as text."""
    paths = [make_strange(tmp_path / f"{kind}.sqlite3", kind) for kind in SOUND]

    report, doctor = keeper("report", "--tables", *paths), keeper("doctor", *paths)

    assert (report.status, doctor.status) == (0, 0)
    assert "\x1b" not in report.out + report.err + doctor.out + doctor.err
    assert "\\x1b[31m" in report.out
