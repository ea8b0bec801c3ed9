"""`--html` and `--prometheus` of real runs, the page opened in a real browser."""

from datetime import timedelta
from pathlib import Path

import apsw
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sqlitekeeper.database.measure import Measurement
from sqlitekeeper.state.history import History
from tests.chromium import browse, list_destinations, needs_chromium
from tests.conftest import BackupConfig, Keeper, MakeDatabase
from tests.histories import NOW

HOSTILE = "<script>alert(1)</script>"
FOLDER_MISSING = "there is no folder"


def samples(file: Path) -> dict[str, dict[str, float]]:
    """Values by metric, then by database."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(file.read_text()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[sample.labels["database"]] = sample.value
    return found


@pytest.fixture
def page(tmp_path: Path, keeper: Keeper, make_database: MakeDatabase) -> Path:
    """The page of three databases, one with hostile names, and of 60 days."""
    good, cache = make_database("production.sqlite3"), make_database("cache.db", deleted=300)
    hostile = make_database("<script>alert(1)<.db", auto_vacuum="none")
    connection = apsw.Connection(str(hostile))
    connection.execute(f'CREATE TABLE "{HOSTILE}" (a)').fetchall()
    connection.close()
    history = History(tmp_path / "state")
    for day in range(60, 0, -1):
        size = 10_000 * (70 - day)
        old = Measurement(size, 1000, size // 1000, 5, 0, "wal", "incremental")
        measured = [(path, old) for path in (good, cache, hostile)]
        history.add_samples(measured, NOW - timedelta(days=day))
    config = tmp_path / "keeper.toml"
    config.write_text(
        f"[[databases]]\npath = {str(good)!r}\n[[databases]]\npath = {str(cache)!r}\n"
        f"[[databases]]\npath = {str(hostile)!r}\nname = '<script>alert(1)<'\n"
    )
    file = tmp_path / "page.html"
    run = keeper("report", "--tables", "--since", "61d", "--html", file)
    assert run.status == 0, run.err
    return file


@needs_chromium
def test_page_opens_from_a_file_without_a_complaint(page: Path) -> None:
    """No console error, and the browser adds nothing to fetch."""
    dom, console = browse(page)

    assert console == []
    assert "SQLite databases on" in dom


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_page_fits_its_window(page: Path, width: int) -> None:
    """Neither a phone nor a desktop has to scroll sideways."""
    seen = list_destinations(page, width)

    assert seen.console == []
    assert seen.facts["width"] in range(width - 20, width + 1)
    assert seen.facts["needed"] == seen.facts["width"]


@needs_chromium
def test_browser_shows_hostile_names_as_text(page: Path) -> None:
    """And runs nothing."""
    seen = list_destinations(page, 1280)

    assert seen.facts["scripts"] == 0
    assert f"{HOSTILE} table" in seen.facts["text"]


@needs_chromium
def test_screen_reader_finds_headings_and_a_text_for_each_chart(page: Path) -> None:
    """One heading of the first level, a section for each database, no id twice."""
    seen = list_destinations(page, 1280)

    assert seen.facts["headings"][0] == "H1"
    assert seen.facts["headings"].count("H2") == 4
    assert seen.facts["twice"] == []
    words = [words for _, words in seen.facts["charts"]]
    assert ["the file went from" in one for one in words] == [True] * 3


def test_page_is_private(page: Path) -> None:
    """It tells names and paths."""
    assert page.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("option", ["--html", "--prometheus"])
def test_database_is_not_replaced_by_a_page(
    keeper: Keeper, make_database: MakeDatabase, option: str
) -> None:
    """As when it is named as if the page were to be about it."""
    path = make_database(rows=3)
    before = path.read_bytes()

    run = keeper("report", path, option, path)

    assert run.status == 1
    assert f"{path}: is not a text file; keeper does not overwrite it" in run.err
    assert path.read_bytes() == before


@pytest.mark.parametrize("option", ["--html", "--prometheus"])
def test_file_of_the_run_before_is_replaced(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path, option: str
) -> None:
    """Each hour anew."""
    file = tmp_path / "file"
    runs = [keeper("report", make_database(f"{n}.db"), option, file) for n in ("first", "last")]

    assert [run.status for run in runs] == [0, 0]
    assert "last" in file.read_text()


@pytest.mark.parametrize("option", ["--html", "--prometheus"])
def test_missing_folder_is_one_clear_line(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path, option: str
) -> None:
    """After the report itself, which is printed."""
    file = tmp_path / "missing" / "file"

    run = keeper("report", make_database(), option, file)

    assert run.status == 1
    assert "size 412.0 KiB" in run.out
    assert run.err == f"keeper: error: {file}: {FOLDER_MISSING} {file.parent}\n"


def test_json_tells_that_the_file_was_not_written(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """The databases are in it all the same."""
    run = keeper("report", make_database(), "--json", "--html", tmp_path / "missing" / "file")

    assert (run.status, run.json["ok"], run.json["error"]["code"]) == (1, False, 1)
    assert FOLDER_MISSING in run.json["error"]["message"]
    assert run.entry["outcome"] == "done"


def test_metrics_are_written_although_a_database_failed(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """With a success of 0 for that one."""
    file = tmp_path / "keeper.prom"

    run = keeper("report", make_database(), tmp_path / "gone.db", "--prometheus", file)

    assert run.status == 3
    assert samples(file)["keeper_report_success"] == {"app": 1, "gone": 0}
    assert samples(file)["keeper_database_size_bytes"] == {"app": 412 * 1024}


def test_metrics_can_be_read_by_the_collector(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """It is another user, whatever keeper's umask."""
    file = tmp_path / "keeper.prom"

    keeper("report", make_database(), "--prometheus", file, umask=0o077)

    assert file.stat().st_mode & 0o777 == 0o644


def test_vacuum_tells_what_it_freed(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """The same numbers as its JSON."""
    file = tmp_path / "vacuum.prom"

    run = keeper("vacuum", make_database(deleted=200), "--json", "--prometheus", file)

    found = samples(file)
    assert found["keeper_vacuum_success"] == {"app": 1}
    assert found["keeper_vacuum_freed_bytes"] == {"app": run.entry["freed_bytes"]}
    assert found["keeper_vacuum_longest_lock_seconds"]["app"] == pytest.approx(
        run.entry["longest_lock_ms"] / 1000
    )


def test_backup_tells_what_it_uploaded(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """And nothing the second time, when nothing has changed."""
    file, path = tmp_path / "backup.prom", make_database()

    first = keeper("backup", path, "--to", tmp_path / "to", "--json", "--prometheus", file)
    uploaded = samples(file)["keeper_backup_uploaded_bytes"]
    keeper("backup", path, "--to", tmp_path / "to", "--prometheus", file)

    assert uploaded == {"app": first.json["uploaded_bytes"]}
    assert samples(file)["keeper_backup_uploaded_bytes"] == {"app": 0}
    assert samples(file)["keeper_backup_success"] == {"app": 1}


def test_backup_that_cannot_begin_writes_a_success_of_zero(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig, tmp_path: Path
) -> None:
    """The file of the last good run must not stay."""
    backup_config(make_database(), to=str(tmp_path / "to"))
    file = tmp_path / "backup.prom"
    keeper("backup", "--prometheus", file)

    run = keeper("backup", "--to", "nowhere:x", "--prometheus", file)

    assert run.status != 0
    assert samples(file)["keeper_backup_success"] == {"app": 0}


@pytest.mark.parametrize("command", ["vacuum", "backup"])
def test_dry_run_writes_no_metrics(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path, command: str
) -> None:
    """It would look like a run."""
    run = keeper(command, make_database(), "--dry-run", "--prometheus", tmp_path / "x.prom")

    assert run.status == 2
    assert "--dry-run and --prometheus contradict each other" in run.err
    assert not (tmp_path / "x.prom").exists()
