"""keeper's memory of sizes and shipments."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest

from sqlitekeeper.database.measure import Measurement
from sqlitekeeper.errors import KeeperError
from sqlitekeeper.state.history import History, HistoryPoint, Shipment
from sqlitekeeper.state.history_file import FORMAT, SetAsideError
from sqlitekeeper.state.thinning import HOUR_MS, thin
from tests.conftest import contents
from tests.manifests import manifest_of

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


def test_untouched_database_keeps_its_sizes(tmp_path: Path) -> None:
    """Nobody has to open it for another sample; without an earlier one there is none."""
    history, path, new = History(tmp_path / "state"), tmp_path / "app.db", tmp_path / "new.db"
    history.add_samples([(path, measurement(40960))], MONDAY)

    history.add_samples([(path, None), (new, None)], TUESDAY)

    assert history.points([path, new]) == {
        path: (
            HistoryPoint("2026-11-23T03:00:00.000+00:00", 40960, 8192, 100),
            HistoryPoint("2026-11-24T03:00:00.000+00:00", 40960, 8192, 100),
        ),
        new: (),
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
        history.add_shipments([Shipment("b2:x", "app", f"app-{number}", manifest_of(n=number))])

    assert history.shipments() == {
        ("b2:x", "app"): Shipment("b2:x", "app", "app-2", manifest_of(n=2)),
    }


def test_shipment_to_a_remote_with_a_slash_after_it_is_known_without(tmp_path: Path) -> None:
    """Such a destination loses its slash when it is read; what lies there is not shipped again."""
    history = History(tmp_path / "state")
    old = [Shipment(to, "app", "app-1", manifest_of()) for to in ("b2:x/", "b2:y/", "b2:/")]
    history.add_shipments([*old, Shipment("b2:x", "app", "app-2", manifest_of())])

    found = history.shipments()

    assert found["b2:x", "app"].object == "app-2"
    assert found["b2:y", "app"] == Shipment("b2:y", "app", "app-1", manifest_of())
    assert ("b2:", "app") not in found


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


def test_history_of_a_newer_keeper_is_left_alone(tmp_path: Path) -> None:
    """Not a byte of it changes, and it keeps its name."""
    history = History(tmp_path / "state")
    history.add_samples([(tmp_path / "a.db", measurement(1))], MONDAY)
    connection = apsw.Connection(str(history.path))
    connection.pragma("user_version", FORMAT + 1)
    connection.close()
    before = contents(tmp_path / "state")

    with pytest.raises(KeeperError):
        history.points([tmp_path / "a.db"])

    assert contents(tmp_path / "state") == before


def garbage(path: Path) -> None:
    path.write_bytes(b"no database" * 100)


def torn(path: Path) -> None:
    """Pages in the middle are overwritten, the first one is as it was."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


def bare(path: Path) -> None:
    """The right version, without the tables."""
    path.unlink()
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", FORMAT)
    connection.close()


def foreign(path: Path) -> None:
    """Somebody else's database."""
    path.unlink()
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE users (id)").fetchall()
    connection.close()


@pytest.mark.parametrize("damage", [garbage, torn, bare, foreign])
def test_damaged_history_is_set_aside_once(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """It is kept under another name, and the next use starts a new one."""
    history = History(tmp_path / "state")
    history.add_samples([(tmp_path / "a.db", measurement(1))], MONDAY)
    damage(history.path)
    damaged = history.path.read_bytes()

    with pytest.raises(SetAsideError, match=r"set aside as history\.sqlite3\.damaged-"):
        history.points([tmp_path / "a.db"])
    history.add_samples([(tmp_path / "a.db", measurement(2))], TUESDAY)

    (aside,) = (tmp_path / "state").glob("history.sqlite3.damaged-*Z")
    assert aside.read_bytes() == damaged
    (point,) = history.points([tmp_path / "a.db"])[tmp_path / "a.db"]
    assert point.bytes == 2


def test_stale_wal_is_set_aside_too(tmp_path: Path) -> None:
    """SQLite would mix it into the new history."""
    (tmp_path / "state").mkdir()
    garbage(tmp_path / "state" / "history.sqlite3")
    (tmp_path / "state" / "history.sqlite3-journal").write_bytes(b"stale")
    history = History(tmp_path / "state")

    with pytest.raises(SetAsideError):
        history.shipments()

    assert not (tmp_path / "state" / "history.sqlite3-journal").exists()


def test_only_what_was_asked_for_comes_back(tmp_path: Path) -> None:
    """Samples from `since` on."""
    history, path = History(tmp_path / "state"), tmp_path / "app.db"
    history.add_samples([(path, measurement(1))], MONDAY)
    history.add_samples([(path, measurement(2))], TUESDAY)

    (point,) = history.points([path], since=TUESDAY)[path]

    assert point.bytes == 2


def test_long_history_comes_back_in_part(tmp_path: Path) -> None:
    """The first and the newest are there, the newest without a gap."""
    history, path = History(tmp_path / "state"), tmp_path / "app.db"
    history.add_samples([(path, measurement(1))], MONDAY)
    connection = apsw.Connection(str(history.path))
    begin = round(MONDAY.timestamp() * 1000)
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
        " INSERT INTO sample SELECT 1, ? + i * 60000, i, 0, 0 FROM n",
        (begin,),
    ).fetchall()
    connection.close()

    points = history.points([path], most=100)[path]

    assert 60 <= len(points) <= 102
    assert [point.bytes for point in points[-24:]] == list(range(1977, 2001))
    assert points[0].bytes < 40


def test_name_that_is_not_utf8_has_no_history(tmp_path: Path) -> None:
    """And does no harm: SQLite cannot open such a file anyway."""
    history, odd = History(tmp_path / "state"), tmp_path / os.fsdecode(b"\xff.db")
    history.add_samples([(tmp_path / "a.db", measurement(1))], MONDAY)

    assert history.points([odd]) == {odd: ()}


def test_old_samples_are_thinned_on_the_way(tmp_path: Path) -> None:
    """By a run of another day, and the pages given back."""
    history, path = History(tmp_path / "state"), tmp_path / "app.db"
    for minute in range(10):
        history.add_samples([(path, measurement(minute))], MONDAY + timedelta(minutes=minute))

    history.add_samples([(path, measurement(99))], MONDAY + timedelta(days=60))

    assert [point.bytes for point in history.points([path])[path]] == [9, 99]


def test_ten_years_of_hourly_runs_stay_small(tmp_path: Path) -> None:
    """20 databases, measured each hour and thinned each month (a day's worth is less): 10 MB."""
    history = History(tmp_path / "state")
    paths = [tmp_path / f"storage/production_{n}.sqlite3" for n in range(20)]
    history.add_samples([(path, measurement(1)) for path in paths], MONDAY)
    begin = round(MONDAY.timestamp() * 1000)
    connection = apsw.Connection(str(history.path))
    with connection:
        for month in range(122):
            connection.execute(
                "WITH RECURSIVE n(i) AS"
                " (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i < :last)"
                " INSERT INTO sample SELECT id, :at + i * 3600000, 40000000000 + i,"
                " 1000000 + i, 4194304 FROM watched, n",
                {"at": begin, "first": month * 720 + 1, "last": month * 720 + 720},
            ).fetchall()
            thin(connection, begin + (month * 720 + 720) * HOUR_MS, begin + month * 720 * HOUR_MS)
    connection.close()

    end = MONDAY + timedelta(hours=122 * 720 + 1)
    history.add_samples([(path, measurement(1)) for path in paths], end)

    assert sum(path.stat().st_size for path in (tmp_path / "state").iterdir()) < 10_000_000
    points = history.points(paths[:1], most=10_000)[paths[0]]
    assert 3650 + 27 * 24 < len(points) < 3650 + 31 * 24 + 50
