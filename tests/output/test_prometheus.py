"""The metrics, read by Prometheus' own parser, and the file that they are in."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sqlitekeeper.backup.result import BackupResult, Seconds, Shipped
from sqlitekeeper.database.maintain.vacuum import VacuumResult
from sqlitekeeper.errors import KeeperError
from sqlitekeeper.filesystem.atomic import FOR_EVERYONE, PRIVATE, write_whole
from sqlitekeeper.output.prometheus import backup_metrics, report_metrics, vacuum_metrics
from sqlitekeeper.report.report import ReportEntry

AT = datetime(2026, 11, 23, 3, 0, 0, 250_000, UTC)


def samples(text: str) -> dict[tuple[str, str], float]:
    """Values by metric and database."""
    return {
        (sample.name, sample.labels["database"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def report(name: str = "app", **fields: object) -> ReportEntry:
    return ReportEntry(name, Path(f"/srv/{name}"), "done", **fields)  # type: ignore[arg-type]


def test_report_gives_sizes_in_bytes_and_times_in_seconds() -> None:
    """Base units, as Prometheus wants them."""
    text = report_metrics([report(bytes=4096, reclaimable_bytes=1024, wal_bytes=32)], AT)

    assert samples(text) == {
        ("keeper_database_size_bytes", "app"): 4096,
        ("keeper_database_free_bytes", "app"): 1024,
        ("keeper_database_wal_bytes", "app"): 32,
        ("keeper_database_last_sample_timestamp_seconds", "app"): AT.timestamp(),
        ("keeper_report_last_run_timestamp_seconds", "app"): AT.timestamp(),
        ("keeper_report_success", "app"): 1,
    }


def test_failed_database_has_no_sizes_but_a_success_of_zero() -> None:
    """Zero bytes would be a lie."""
    failed = ReportEntry("gone", Path("/srv/gone"), "failed", "no such file", exit_code=1)

    assert samples(report_metrics([failed], AT)) == {
        ("keeper_report_last_run_timestamp_seconds", "gone"): AT.timestamp(),
        ("keeper_report_success", "gone"): 0,
    }


def test_vacuum_gives_its_longest_lock_in_seconds() -> None:
    """It is measured in milliseconds."""
    done = VacuumResult(
        "app", Path("/srv/app"), "done", freed_bytes=8192, longest_lock_ms=12.5, seconds=0.75
    )

    found = samples(vacuum_metrics([done], AT))

    assert found["keeper_vacuum_longest_lock_seconds", "app"] == 0.0125
    assert found["keeper_vacuum_duration_seconds", "app"] == 0.75
    assert found["keeper_vacuum_freed_bytes", "app"] == 8192


def test_backup_counts_what_was_uploaded_to_all_destinations() -> None:
    """What was unchanged or failed there is not counted."""
    done = BackupResult(
        "app",
        Path("/srv/app"),
        "shipped",
        bytes=100,
        shipped=(
            Shipped("a:", "app/1", "uploaded", 100),
            Shipped("b:", "app/1", "uploaded", 100),
            Shipped("c:", "app/1", "unchanged", 100),
        ),
        seconds=Seconds(1.0, 0.5, 0.25),
    )

    found = samples(backup_metrics([done], AT))

    assert found["keeper_backup_uploaded_bytes", "app"] == 200
    assert found["keeper_backup_snapshot_bytes", "app"] == 100
    assert found["keeper_backup_duration_seconds", "app"] == 1.75


def test_every_metric_has_help_type_and_a_unit() -> None:
    """A success is a yes or no, and has none."""
    text = report_metrics([report()], AT) + vacuum_metrics(
        [VacuumResult("app", Path("/srv/app"), "done")], AT
    )

    for family in text_string_to_metric_families(text):
        assert (family.type, bool(family.documentation)) == ("gauge", True)
        assert family.name.startswith("keeper_")
        assert family.name.endswith(("_bytes", "_seconds", "_success"))


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\\nb", "a\nb", "ä{},=#", "<script>"])
def test_label_says_the_name_whatever_is_in_it(name: str) -> None:
    """Escaped by the format's rules."""
    found = samples(report_metrics([report(name, bytes=1)], AT))

    assert found["keeper_database_size_bytes", name] == 1


def test_name_that_is_no_utf_8_does_not_spoil_the_file(tmp_path: Path) -> None:
    """The collector would refuse it as a whole."""
    write_whole(tmp_path / "k.prom", report_metrics([report("\udcff")], AT), FOR_EVERYONE)

    assert r"\\udcff" in (tmp_path / "k.prom").read_text(encoding="utf-8")


def test_two_databases_of_one_name_are_told_apart_by_their_paths() -> None:
    """The same series twice would make the collector refuse the file."""
    both = [
        ReportEntry("db", Path("/a/db.sqlite3"), "done", bytes=1),
        ReportEntry("db", Path("/b/db.sqlite3"), "done", bytes=2),
    ]

    found = samples(report_metrics(both, AT))

    assert found["keeper_database_size_bytes", "/a/db.sqlite3"] == 1
    assert found["keeper_database_size_bytes", "/b/db.sqlite3"] == 2


def test_no_metric_is_in_two_commands_files() -> None:
    """They lie in one folder, and the collector wants each series once."""
    files = [
        report_metrics([report()], AT),
        vacuum_metrics([VacuumResult("app", Path("/srv/app"), "done")], AT),
        backup_metrics([BackupResult("app", Path("/srv/app"), "shipped")], AT),
    ]

    names = [name for text in files for name, _ in samples(text)]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("mode", [PRIVATE, FOR_EVERYONE])
def test_file_has_the_mode_that_was_asked_for(tmp_path: Path, mode: int) -> None:
    """Also when it was there before with another."""
    file = tmp_path / "x"
    file.touch(0o640)

    write_whole(file, "text", mode)

    assert file.stat().st_mode & 0o777 == mode
    assert file.read_text() == "text"


def test_nothing_but_the_file_is_left(tmp_path: Path) -> None:
    """The temporary file has become it."""
    write_whole(tmp_path / "x", "text", PRIVATE)

    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["x"]


def test_reader_of_the_old_file_keeps_it_whole(tmp_path: Path) -> None:
    """It is replaced, not overwritten."""
    file = tmp_path / "x"
    file.write_text("# HELP old" * 1000)

    with file.open() as reader:
        write_whole(file, "# HELP new", PRIVATE)
        assert reader.read() == "# HELP old" * 1000


def test_link_stays_a_link(tmp_path: Path) -> None:
    """What it points to is replaced."""
    (tmp_path / "real").write_text("# HELP old")
    (tmp_path / "link").symlink_to("real")

    write_whole(tmp_path / "link", "# HELP new", PRIVATE)

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "# HELP new"


@pytest.mark.parametrize("place", ["/dev/null", "."])
def test_devices_and_folders_are_not_replaced(place: str) -> None:
    """Root could do it."""
    with pytest.raises(KeeperError, match="is not a regular file"):
        write_whole(Path(place), "text", PRIVATE)
