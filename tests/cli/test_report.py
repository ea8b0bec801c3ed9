"""`keeper report`."""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.measure import measure
from sqlitekeeper.state.history import History
from sqlitekeeper.state.history_file import FORMAT
from tests.conftest import BackupConfig, Beside, Companion, Keeper, MakeDatabase, contents, pragma

KEYS = {
    *("name", "path", "outcome", "reason", "bytes", "page_size", "pages", "free_pages"),
    *("reclaimable_bytes", "reclaimable_percent", "wal_bytes", "journal_mode", "auto_vacuum"),
    *("growth_bytes_per_day", "days_to_full", "history", "advice"),
    *("live_growth_bytes_per_day", "days_to_drained", "disk_free_bytes", "trend"),
}


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_counters_are_the_pragmas(
    keeper: Keeper, make_database: MakeDatabase, journal_mode: str
) -> None:
    """Each number is what SQLite itself says."""
    path = make_database(deleted=300, journal_mode=journal_mode)

    entry = keeper("report", path, "--json").entry

    assert entry["bytes"] == path.stat().st_size
    assert entry["pages"] == pragma(path, "page_count")
    assert entry["free_pages"] == pragma(path, "freelist_count")
    assert entry["page_size"] == pragma(path, "page_size")
    assert entry["reclaimable_bytes"] == pragma(path, "freelist_count") * 4096
    assert (entry["journal_mode"], entry["auto_vacuum"]) == (journal_mode, "incremental")


def test_json_has_the_documented_keys(keeper: Keeper, make_database: MakeDatabase) -> None:
    """Scripts rely on them."""
    run = keeper("report", make_database(), "--json")

    assert run.json.keys() >= {"command", "ok", "error", "databases"}
    assert run.entry.keys() >= KEYS


def test_history_grows_with_each_run(keeper: Keeper, make_database: MakeDatabase) -> None:
    """Earlier measurements are shown, with their times."""
    path = make_database()
    keeper("report", path)

    (point,) = keeper("report", path, "--json").entry["history"]

    assert point.keys() == {"at", "bytes", "free_bytes", "wal_bytes"}
    assert point["at"].endswith("+00:00")
    assert point["bytes"] == path.stat().st_size


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_nothing_changes(keeper: Keeper, make_database: MakeDatabase, journal_mode: str) -> None:
    """Not a byte of the database, and neither -wal nor -shm is left beside it."""
    path = make_database("data/app.sqlite3", deleted=300, journal_mode=journal_mode)
    before = contents(path.parent)

    keeper("report", path)

    assert contents(path.parent) == before


def test_modification_time_stays(keeper: Keeper, make_database: MakeDatabase) -> None:
    """Tools that look at times see no write."""
    path = make_database()
    os.utime(path, ns=(10**18, 10**18))

    keeper("report", path)

    assert path.stat().st_mtime_ns == 10**18


def test_database_in_use_is_measured(
    keeper: Keeper, make_database: MakeDatabase, beside: Callable[[str, Path], Companion]
) -> None:
    """Beside a writer, and without holding it up."""
    path = make_database(rows=5)
    writer = beside("write", path)

    run = keeper("report", path, "--json")

    assert run.status == 0
    assert run.entry["wal_bytes"] > 0
    assert int(writer.end()) > 0


def test_what_is_no_database_may_be_encrypted(keeper: Keeper, tmp_path: Path) -> None:
    """Both are said, in one line."""
    (tmp_path / "secret.db").write_bytes(os.urandom(5000))

    run = keeper("report", "secret.db")

    assert run.status == 1
    (line,) = run.err.splitlines()
    assert "is not an SQLite database, or it is encrypted" in line


def odd(kind: str, folder: Path) -> None:
    path = folder / kind
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            os.chdir(folder)  # a socket's whole path may not be long
            server.bind(kind)
    elif kind == "dangling":
        path.symlink_to("nowhere")
    elif kind == "device":
        path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("folder", "is a folder"),
        ("pipe", "is a named pipe"),
        ("socket", "is a socket"),
        ("device", "is a device"),
        ("dangling", "no such file"),
        ("absent", "no such file"),
    ],
)
@pytest.mark.parametrize("command", ["report", "vacuum"])
def test_other_things_are_named_in_one_line(
    keeper: Keeper,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    kind: str,
    word: str,
) -> None:
    """No hang on a pipe, no SQLite jargon for a folder."""
    monkeypatch.chdir(tmp_path)
    odd(kind, tmp_path)

    run = keeper(command, f"./{kind}")

    assert run.status == 1
    (line,) = run.err.splitlines()
    assert word in line


def test_damaged_memory_only_warns(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """The report is shown without its history."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "history.sqlite3").write_bytes(b"no database" * 100)

    run = keeper("report", make_database(), "--json")

    assert (run.status, run.entry["history"]) == (0, [])
    assert "warning: no history" in run.err


def test_advice_is_part_of_the_text(keeper: Keeper, make_database: MakeDatabase) -> None:
    """What to do stands below the numbers."""
    path = make_database(auto_vacuum="none")

    assert f"keeper convert {path}" in keeper("report", path).out


def test_log_line_tells_the_numbers(keeper: Keeper, make_database: MakeDatabase) -> None:
    """One line for each database."""
    run = keeper("report", make_database(deleted=200))

    (line,) = run.out.splitlines()
    assert " app: size 412.0 KiB, free 200.0 KiB (48 %), WAL 0 Bytes, journal wal," in line


def test_terminal_gets_a_table(terminal: Keeper, make_database: MakeDatabase) -> None:
    """Headings, and the columns below them."""
    run = terminal("report", make_database("a.db"), make_database("longer-name.db"), "--no-color")

    head, first, second, totals = run.out.splitlines()
    assert head.split() == [
        *("database", "size", "free", "WAL", "per", "day", "history", "to", "do"),
    ]
    assert first.startswith("a            ")
    assert second.startswith("longer-name  ")
    assert totals.startswith("2 databases: 824.0 KiB, ")


def remembered(tmp_path: Path, path: Path, sizes: dict[float, int]) -> None:
    """Give a database a history: bytes by days ago."""
    for days, size in sizes.items():
        then = datetime.now(UTC) - timedelta(days=days)
        found = replace(measure(path), bytes=size)
        History(tmp_path / "state").add_samples([(path, found)], then)


def test_growth_is_learnt_from_the_history(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """In bytes per day, with how long the disk lasts."""
    path = make_database()
    now = path.stat().st_size
    remembered(tmp_path, path, {10: now - 10 * 65536, 5: now - 5 * 65536})

    entry = keeper("report", path, "--json").entry

    assert entry["growth_bytes_per_day"] == pytest.approx(65536, rel=0.01)
    assert entry["days_to_full"] == pytest.approx(entry["disk_free_bytes"] / 65536, rel=0.01)
    assert entry["trend"] == "growing"


def test_growth_is_learnt_since_when_it_is_asked_for(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """What was before does not count."""
    path = make_database()
    now = path.stat().st_size
    remembered(tmp_path, path, {20: 0, 19: now // 2, 5: now, 3: now})

    entry = keeper("report", path, "--since", "7d", "--json").entry

    assert entry["growth_bytes_per_day"] == 0
    assert len(entry["history"]) == 2


def test_nonsense_for_since_is_refused(keeper: Keeper, make_database: MakeDatabase) -> None:
    """As in keeper.toml, with an example."""
    run = keeper("report", make_database(), "--since", "soon")

    assert run.status == 2
    assert "such as 26h, 7d or 1h30m" in run.err


def test_names_can_be_the_order(keeper: Keeper, make_database: MakeDatabase) -> None:
    """Of the text and of the JSON."""
    paths = [make_database(name, rows=rows) for name, rows in (("b.db", 9), ("a.db", 1))]

    def names(*options: str) -> list[str]:
        return [
            one["name"] for one in keeper("report", *paths, "--json", *options).json["databases"]
        ]

    assert names("--sort", "name") == ["a", "b"]
    assert names("--sort", "size") == ["b", "a"]


def test_what_needs_attention_comes_first(keeper: Keeper, make_database: MakeDatabase) -> None:
    """Before what is well."""
    well, ill = make_database("a.db"), make_database("b.db", auto_vacuum="none")

    found = keeper("report", well, ill, "--json").json["databases"]

    assert [one["name"] for one in found] == ["b", "a"]


def test_tables_are_shown_when_asked_for(keeper: Keeper, make_database: MakeDatabase) -> None:
    """With a word that this reads the whole file."""
    path = make_database()

    run = keeper("report", path, "--tables", "--json")

    assert [(one["name"], one["rows"]) for one in run.entry["tables"]] == [
        ("t", 400),
        ("sqlite_schema", 1),
    ]
    assert "reading the whole file" in run.err
    assert " app: table t: rows 400, size " in keeper("report", path, "--tables").out


def test_tables_are_null_otherwise(keeper: Keeper, make_database: MakeDatabase) -> None:
    """They cost too much to be shown unasked."""
    assert keeper("report", make_database(), "--json").entry["tables"] is None


def test_cache_that_is_backed_up_is_told(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig
) -> None:
    """Where keeper.toml names it; a path on the command line alone says nothing of backups."""
    path = make_database("production_cache.sqlite3")
    assert "backup = false" not in keeper("report", path).out

    backup_config(path, to="b2:x")

    assert "backup = false" in keeper("report").out


def test_writers_are_told_of_wal(keeper: Keeper, make_database: MakeDatabase) -> None:
    """A database in rollback-journal mode that was written today."""
    path = make_database(journal_mode="delete")

    assert f"sqlite3 {path} 'PRAGMA journal_mode = wal'" in keeper("report", path).out


@pytest.mark.parametrize("command", ["report", "vacuum"])
def test_damaged_memory_is_set_aside_and_said_once(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path, command: str
) -> None:
    """The run is well, and the next one says nothing any more."""
    path = make_database()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "history.sqlite3").write_bytes(b"no database" * 100)

    first, second = keeper(command, path), keeper(command, path)

    assert (first.status, second.status) == (0, 0)
    assert first.err.count("set aside as history.sqlite3.damaged-") == 1
    assert second.err == ""
    assert len(keeper("report", path, "--json").entry["history"]) == 2


@pytest.mark.parametrize("command", ["report", "vacuum"])
def test_memory_of_a_newer_keeper_is_said_once(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path, command: str
) -> None:
    """One warning for each run, whose work goes on."""
    path = make_database()
    keeper("report", path)
    connection = apsw.Connection(str(tmp_path / "state" / "history.sqlite3"))
    connection.pragma("user_version", FORMAT + 1)
    connection.close()

    run = keeper(command, path)

    assert run.status == 0
    (line,) = run.err.splitlines()
    assert "written by a newer keeper" in line


@pytest.mark.parametrize("auto_vacuum", ["incremental", "none"])
def test_vacuum_leaves_a_sample(
    keeper: Keeper, make_database: MakeDatabase, auto_vacuum: str
) -> None:
    """Of each database, whether there was something to free or not."""
    path = make_database(auto_vacuum=auto_vacuum, journal_mode="delete")

    keeper("vacuum", path)

    assert len(keeper("report", path, "--json").entry["history"]) == 1


@pytest.mark.parametrize("command", ["report", "vacuum"])
def test_many_locked_databases_are_waited_for_together(
    keeper: Keeper, make_database: MakeDatabase, beside: Beside, command: str
) -> None:
    """A browser's profile has dozens of them; who holds them is told."""
    paths = [make_database(f"{n}.sqlite3", rows=5) for n in range(8)]
    holders = [beside("exclusive", path) for path in paths]
    good = make_database("good.sqlite3", rows=5)

    began = time.monotonic()
    run = keeper(command, *paths, good, "--jobs", "1", "--json")

    assert time.monotonic() - began < 15
    assert run.status == 3
    entries = {entry["name"]: entry for entry in run.json["databases"]}
    assert entries["good"]["outcome"] == "done"
    for number, holder in enumerate(holders):
        assert f"locked by pid {holder.pid} (python)" in entries[str(number)]["reason"]
