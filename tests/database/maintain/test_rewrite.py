"""A database written anew: every row under its old rowid, and no commit lost."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.maintain.convert import convert, plan_conversion
from sqlitekeeper.database.measure import AutoVacuum
from sqlitekeeper.errors import BusyError, CheckError
from sqlitekeeper.events import Event
from sqlitekeeper.filesystem.private_folder import STAGING
from tests.conftest import Companion, MakeDatabase, Mount, contents, count_rows, needs_root, pragma
from tests.database.references import add_references, answers

MODES = pytest.mark.parametrize("journal_mode", ["wal", "delete"])
AfterStatement = Callable[[str, Callable[[], object]], None]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where SQLite is told to put temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("SQLITE_TMPDIR", str(folder))
    return folder


@pytest.fixture
def after_statement() -> Iterator[AfterStatement]:
    """Do something right after keeper has run a statement, in the same microseconds."""
    hooks: list[Callable[[apsw.Connection], None]] = []

    def start(sql: str, work: Callable[[], object]) -> None:
        def watch(connection: apsw.Connection) -> None:
            def profile(statement: str, _: int) -> None:
                if statement == sql:
                    work()

            connection.set_profile(profile)

        hooks.append(watch)
        apsw.connection_hooks.append(watch)

    yield start
    for hook in hooks:
        apsw.connection_hooks.remove(hook)


def commit(path: Path) -> None:
    """Commit a row, in another connection that is closed again."""
    apsw.connection_hooks, hooks = [], apsw.connection_hooks
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(1000)
    connection.execute("INSERT INTO t (body) VALUES (x'00')")
    connection.close()
    apsw.connection_hooks = hooks


@MODES
@pytest.mark.parametrize(
    ("before", "wanted"), [("none", "incremental"), ("none", "full"), ("incremental", "none")]
)
def test_answers_stay_the_same(
    make_database: MakeDatabase, journal_mode: str, before: str, wanted: AutoVacuum
) -> None:
    """Full-text search, R-Tree and the application's own references find the same rows."""
    path = make_database(rows=10, auto_vacuum=before, journal_mode=journal_mode)
    add_references(path)
    expected = answers(path)

    assert convert(plan_conversion(path, wanted)).outcome == "converted"

    assert answers(path) == expected


def test_spatial_index_finds_the_same_places(tmp_path: Path) -> None:
    """SpatiaLite keeps rowids in an R-Tree; keeper converts its tables without SpatiaLite."""
    path = tmp_path / "map.sqlite3"

    def with_spatialite() -> apsw.Connection:
        connection = apsw.Connection(str(path))
        connection.enable_load_extension(True)
        try:
            connection.load_extension("mod_spatialite")
        except apsw.ExtensionLoadingError:
            pytest.skip("mod_spatialite is missing")
        return connection

    connection = with_spatialite()
    connection.execute(
        "SELECT InitSpatialMetaData(1);"
        "CREATE TABLE towns (name TEXT);"
        "SELECT AddGeometryColumn('towns', 'place', 4326, 'POINT', 'XY');"
        "SELECT CreateSpatialIndex('towns', 'place')"
    ).fetchall()
    with connection:
        for number in range(1, 101):
            connection.execute(
                "INSERT INTO towns VALUES (?, MakePoint(?, 0, 4326))", (f"town{number}", number)
            )
        connection.execute("DELETE FROM towns WHERE rowid % 2")
    search = (
        "SELECT name FROM towns WHERE rowid IN (SELECT rowid FROM SpatialIndex"
        " WHERE f_table_name = 'towns' AND search_frame = BuildMbr(30, -1, 60, 1))"
    )
    expected = connection.execute(search).fetchall()
    connection.close()

    convert(plan_conversion(path))

    connection = with_spatialite()
    assert len(expected) == 16
    assert connection.execute(search).fetchall() == expected
    connection.close()


def test_settings_in_the_header_stay(make_database: MakeDatabase) -> None:
    """What the application has put there, and how its text and pages are laid out."""
    path = make_database(rows=1, auto_vacuum="none")
    path.unlink()
    connection = apsw.Connection(str(path))
    settings = {"page_size": 1024, "encoding": "UTF-16le", "user_version": 7}
    settings |= {"application_id": 8}
    for name, value in settings.items():
        connection.pragma(name, value)
    connection.execute("CREATE TABLE t (x); INSERT INTO t VALUES ('ü')")
    connection.close()

    convert(plan_conversion(path))

    assert {name: pragma(path, name) for name in settings} == settings


@MODES
def test_connection_that_is_open_goes_on(make_database: MakeDatabase, journal_mode: str) -> None:
    """It finds its rows again, and what it commits then is there."""
    path = make_database(rows=10, auto_vacuum="none", journal_mode=journal_mode)
    connection = apsw.Connection(str(path))
    select = "SELECT count(*) FROM t"
    assert connection.execute(select).get == 10

    convert(plan_conversion(path))

    connection.execute("INSERT INTO t (body) VALUES (x'00')")
    assert connection.execute(select).get == 11
    assert connection.pragma("integrity_check") == "ok"
    connection.close()


@MODES
def test_commit_before_the_copy_is_written_back_is_kept(
    make_database: MakeDatabase, after_statement: AfterStatement, journal_mode: str
) -> None:
    """Writers are let go for a moment; who uses it makes keeper begin again."""
    path = make_database(rows=10, auto_vacuum="none", journal_mode=journal_mode)
    commits = iter([commit, commit])
    after_statement("ROLLBACK", lambda: next(commits, lambda _: None)(path))

    convert(plan_conversion(path))

    assert count_rows(path) == 12
    assert pragma(path, "auto_vacuum") == 2


def test_change_to_wal_before_the_copy_is_written_back_is_kept(
    make_database: MakeDatabase, after_statement: AfterStatement
) -> None:
    """Each mode has its own way to tell of a commit; the way back is barred while keeper reads."""
    path = make_database(rows=10, auto_vacuum="none", journal_mode="delete")
    modes = iter(["wal"])

    def change() -> None:
        for mode in modes:
            connection = apsw.Connection(str(path))
            connection.pragma("journal_mode", mode)
            commit(path)
            connection.close()

    after_statement("ROLLBACK", change)

    convert(plan_conversion(path))

    assert count_rows(path) == 11
    assert (pragma(path, "journal_mode"), pragma(path, "auto_vacuum")) == ("wal", 2)


@MODES
def test_single_page_is_not_written_before_it_was_looked(
    make_database: MakeDatabase, after_statement: AfterStatement, journal_mode: str
) -> None:
    """A database without a table: the backup API would be done with its first step."""
    path = make_database(rows=1, journal_mode=journal_mode)
    connection = apsw.Connection(str(path))
    connection.execute("DROP TABLE t; PRAGMA incremental_vacuum").fetchall()
    assert connection.pragma("page_count") == 1
    connection.close()
    versions = iter([7])

    def change() -> None:
        for version in versions:
            connection = apsw.Connection(str(path))
            connection.pragma("user_version", version)
            connection.close()

    after_statement("ROLLBACK", change)

    convert(plan_conversion(path, "none"))

    assert (pragma(path, "user_version"), pragma(path, "auto_vacuum")) == (7, 0)


@MODES
def test_writer_that_gets_in_each_time_ends_the_tries(
    make_database: MakeDatabase, after_statement: AfterStatement, journal_mode: str
) -> None:
    """The old database with all that was committed, and advice to come back later."""
    path = make_database(rows=10, auto_vacuum="none", journal_mode=journal_mode)
    after_statement("ROLLBACK", lambda: commit(path))

    with pytest.raises(BusyError, match=r"not converted: it was written to .* 5 times"):
        convert(plan_conversion(path))

    assert count_rows(path) == 15
    assert pragma(path, "auto_vacuum") == 0


@MODES
def test_copy_that_differs_is_not_written_back(
    make_database: MakeDatabase,
    after_statement: AfterStatement,
    temporary: Path,
    journal_mode: str,
) -> None:
    """Whatever made it so: the database stays as it is."""
    path = make_database("data/app.sqlite3", rows=10, auto_vacuum="none", journal_mode=journal_mode)
    before = contents(path.parent)

    def spoil() -> None:
        (copy,) = temporary.glob("*/copy")
        connection = apsw.Connection(str(copy))
        connection.execute("UPDATE t SET id = 99 WHERE id = 3")
        connection.close()

    after_statement("VACUUM INTO ?", spoil)

    with pytest.raises(CheckError, match="left as it is, since a copy of it differs from it in t"):
        convert(plan_conversion(path))

    assert contents(path.parent) == before


@MODES
def test_readers_go_on_while_the_copy_is_made(
    make_database: MakeDatabase, after_statement: AfterStatement, journal_mode: str
) -> None:
    """Also in rollback mode; writers wait."""
    path = make_database(rows=10, auto_vacuum="none", journal_mode=journal_mode)
    seen: list[object] = []

    def look() -> None:
        connection = apsw.Connection(str(path))
        seen.append(connection.execute("SELECT count(*) FROM t").get)
        with pytest.raises(apsw.BusyError):
            connection.execute("BEGIN IMMEDIATE")
        connection.close()

    after_statement("VACUUM INTO ?", look)

    convert(plan_conversion(path))

    assert seen == [10]


def test_copy_is_nobody_elses_to_read(make_database: MakeDatabase, temporary: Path) -> None:
    """A folder of its own, gone in the end."""
    path = make_database(rows=3000, auto_vacuum="none")
    modes: set[int] = set()

    def look(event: Event) -> None:
        for copy in temporary.glob("*/copy"):
            modes.update((copy.stat().st_mode & 0o777, copy.parent.stat().st_mode & 0o777))

    convert(plan_conversion(path), look)

    assert modes == {0o600, 0o700}
    assert contents(temporary) == {}


@pytest.mark.parametrize("where", ["temporary", "data"])
def test_copy_of_a_killed_run_is_removed(
    make_database: MakeDatabase, temporary: Path, where: str
) -> None:
    """Before anybody asks how much room there is, wherever it was put."""
    path = make_database("data/app.sqlite3", auto_vacuum="none")
    litter = path.parent.parent / where / f"{STAGING}abcdefgh"
    litter.mkdir(0o700)
    (litter / ".keeper").touch()
    (litter / "copy").write_bytes(b"SQLite")

    plan_conversion(path)

    assert not os.path.lexists(litter)


@needs_root
def test_copy_lies_beside_the_database_where_temporary_files_have_no_room(
    make_database: MakeDatabase, mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left of it there."""
    monkeypatch.setenv("SQLITE_TMPDIR", str(mount("small", "1m")))
    path = make_database("data/app.sqlite3", rows=3000, auto_vacuum="none")
    seen: set[Path] = set()

    convert(plan_conversion(path), lambda _: seen.update(path.parent.glob(f"{STAGING}*/copy")))

    assert seen
    assert list(contents(path.parent)) == ["app.sqlite3"]


@MODES
def test_reader_that_stays_is_waited_for_in_rollback_mode_only(
    make_database: MakeDatabase,
    beside: Callable[[str, Path], Companion],
    monkeypatch: pytest.MonkeyPatch,
    journal_mode: str,
) -> None:
    """It reads the old database; in WAL mode the new one is in the WAL until it is done."""
    monkeypatch.setattr("sqlitekeeper.database.maintain.convert.WAIT_SECONDS", 0.2)
    path = make_database(rows=10, auto_vacuum="none", journal_mode=journal_mode)
    beside("read", path)

    if journal_mode == "wal":
        assert convert(plan_conversion(path)).outcome == "converted"
    else:
        with pytest.raises(BusyError, match="database is locked"):
            convert(plan_conversion(path))

    assert pragma(path, "auto_vacuum") == (2 if journal_mode == "wal" else 0)
