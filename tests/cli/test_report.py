"""`keeper report`."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Companion, Keeper, MakeDatabase, contents, pragma

KEYS = {
    *("name", "path", "outcome", "reason", "bytes", "page_size", "pages", "free_pages"),
    *("reclaimable_bytes", "reclaimable_percent", "wal_bytes", "journal_mode", "auto_vacuum"),
    *("growth_bytes_per_day", "days_to_full", "history", "advice"),
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

    head, first, second = run.out.splitlines()
    assert head.split() == ["database", "size", "free", "WAL", "journal", "auto_vacuum"]
    assert first.startswith("a            ")
    assert second.startswith("longer-name  ")
    assert len({len(line) for line in (head, first, second)}) == 1
