"""keeper's memory of sizes and shipments."""

import os
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.measure import Measurement
from sqlitekeeper.errors import KeeperError
from sqlitekeeper.state.history import FORMAT, History, Shipment
from sqlitekeeper.state.report import HistoryPoint

MONDAY = datetime(2026, 11, 23, 3, tzinfo=UTC)
TUESDAY = datetime(2026, 11, 24, 3, tzinfo=UTC)


def measurement(size: int) -> Measurement:
    return Measurement(size, 4096, size // 4096, 2, 100, "wal", "incremental")


def test_samples_come_back_oldest_first(tmp_path: Path) -> None:
    """Whatever the order in which they were added."""
    history, path = History(tmp_path / "state"), tmp_path / "app.db"

    history.add_samples([(path, measurement(81920))], TUESDAY)
    history.add_samples([(path, measurement(40960))], MONDAY)

    assert history.points([path]) == {
        path: (
            HistoryPoint("2026-11-23T03:00:00.000+00:00", 40960, 8192, 100),
            HistoryPoint("2026-11-24T03:00:00.000+00:00", 81920, 8192, 100),
        )
    }


def test_databases_are_kept_apart(tmp_path: Path) -> None:
    """Each has only its own samples."""
    history = History(tmp_path / "state")
    history.add_samples([(tmp_path / "a.db", measurement(4096))], MONDAY)

    assert history.points([tmp_path / "b.db"]) == {tmp_path / "b.db": ()}


def test_link_and_target_share_their_samples(tmp_path: Path) -> None:
    """A database is remembered by its real path."""
    (tmp_path / "link.db").symlink_to(tmp_path / "app.db")
    history = History(tmp_path / "state")
    history.add_samples([(tmp_path / "link.db", measurement(4096))], MONDAY)

    assert len(history.points([tmp_path / "app.db"])[tmp_path / "app.db"]) == 1


def test_looking_makes_no_history(tmp_path: Path) -> None:
    """Reading before anything was remembered leaves no folder behind."""
    assert History(tmp_path / "state").points([tmp_path / "a.db"]) == {}
    assert not (tmp_path / "state").exists()


def test_newest_shipment_replaces_the_last(tmp_path: Path) -> None:
    """One for each destination and database."""
    history = History(tmp_path / "state")
    for number in (1, 2):
        history.add_shipments([Shipment("b2:x", "app", f"app-{number}", {"n": number})])

    assert history.shipments() == {
        ("b2:x", "app"): Shipment("b2:x", "app", "app-2", {"n": 2}),
    }


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_history_is_private(tmp_path: Path, umask: int) -> None:
    """The file is this user's only, whatever the umask says."""
    previous = os.umask(umask)
    try:
        history = History(tmp_path / "state")
        history.add_samples([(tmp_path / "a.db", measurement(1))], MONDAY)
    finally:
        os.umask(previous)

    assert history.path.stat().st_mode & 0o777 == 0o600


def test_history_can_shrink_too(tmp_path: Path) -> None:
    """keeper's own database is made as it makes others."""
    history = History(tmp_path / "state")
    history.add_samples([(tmp_path / "a.db", measurement(1))], MONDAY)
    connection = apsw.Connection(str(history.path))

    assert (connection.pragma("auto_vacuum"), connection.pragma("journal_mode")) == (2, "wal")
    connection.close()


def test_history_of_a_newer_keeper_is_refused(tmp_path: Path) -> None:
    """A format that this version does not know is neither read nor written."""
    history = History(tmp_path / "state")
    history.add_samples([(tmp_path / "a.db", measurement(1))], MONDAY)
    connection = apsw.Connection(str(history.path))
    connection.pragma("user_version", FORMAT + 1)
    connection.close()

    with pytest.raises(KeeperError, match=rf"newer keeper \(format {FORMAT + 1}\)") as caught:
        history.add_samples([(tmp_path / "a.db", measurement(1))], TUESDAY)

    assert "upgrade keeper" in (caught.value.hint or "")


def test_damaged_history_is_an_error_of_keepers(tmp_path: Path) -> None:
    """Not a crash: callers turn it into a warning."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "history.sqlite3").write_bytes(b"no database" * 100)

    with pytest.raises(KeeperError, match="is not an SQLite database"):
        History(tmp_path / "state").points([tmp_path / "a.db"])
