"""The `keeper backup` command: what its users see."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from tests.conftest import (
    S3,
    BackupConfig,
    Companion,
    Keeper,
    MakeDatabase,
    Outcome,
    WrapRclone,
    count_rows,
)
from tests.damage import (
    damage_pages,
    make_foreign_key_malformed,
    make_index_disagree,
    make_orphan,
)

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"


@pytest.fixture
def to(tmp_path: Path) -> Path:
    """A local destination that is not there yet."""
    return tmp_path / "to"


@pytest.fixture
def three(make_database: MakeDatabase, backup_config: BackupConfig, to: Path) -> list[Path]:
    """Three configured databases: a, b and c."""
    paths = [make_database(f"{name}.sqlite3", rows=20) for name in "abc"]
    backup_config(*paths, to=to)
    return paths


def outcomes(run: Outcome) -> dict[str, str]:
    return {entry["name"]: entry["outcome"] for entry in run.json["databases"]}


# Exit status


def test_one_bad_database_of_three_is_status_3(keeper: Keeper, three: list[Path], to: Path) -> None:
    """The others are shipped; the one that failed is named, quiet or not."""
    three[1].write_bytes(b"not a database at all" * 100)

    run = keeper("backup", "-q")

    assert run.status == 3
    assert re.search(f"^{TIME} b: failed: {three[1]}: is not an SQLite database", run.err, re.M)
    assert sorted(path.name for path in to.iterdir()) == ["a", "c"]


def test_all_bad_is_status_1(keeper: Keeper, three: list[Path]) -> None:
    """Nothing was done."""
    for path in three:
        path.write_bytes(b"not a database at all" * 100)

    run = keeper("backup", "--json")

    assert run.status == 1
    assert run.json["error"]["message"] == "3 of 3 failed: a, b, c"


def test_failed_check_wins(keeper: Keeper, three: list[Path]) -> None:
    """12 among others that failed and others that are done."""
    three[0].write_bytes(b"not a database at all" * 100)
    make_index_disagree(three[1])

    run = keeper("backup", "--json")

    assert run.status == run.json["error"]["code"] == 12
    assert outcomes(run) == {"a": "failed", "b": "failed", "c": "shipped"}


def test_damaged_database_is_status_12(keeper: Keeper, three: list[Path]) -> None:
    """Damage that SQLite trips over counts as a failed check."""
    damage_pages(three[2])

    run = keeper("backup")

    assert run.status == 12
    assert "c: failed: " in run.err


@pytest.mark.parametrize("break_keys", [make_orphan, make_foreign_key_malformed])
def test_foreign_keys_are_a_warning(
    keeper: Keeper, three: list[Path], break_keys: Callable[[Path], None]
) -> None:
    """What the application does with its foreign keys fails no backup."""
    break_keys(three[0])

    run = keeper("backup", "-q")

    assert run.status == 0
    assert re.search(rf"^{TIME} a: warning: .*foreign.key", run.err, re.M)


# Which databases


def test_configured_database_that_is_missing_fails(keeper: Keeper, three: list[Path]) -> None:
    """A file that the configuration names has to be there."""
    three[0].unlink()

    run = keeper("backup", "--json")

    assert run.status == 3
    assert outcomes(run) == {"a": "failed", "b": "shipped", "c": "shipped"}
    assert run.json["databases"][0]["reason"] == f"{three[0]}: no such file"


def test_optional_database_that_is_missing_is_skipped(
    keeper: Keeper, three: list[Path], backup_config: BackupConfig, to: Path, tmp_path: Path
) -> None:
    """optional = true makes it a skip, with a word."""
    backup_config({"path": tmp_path / "gone.sqlite3", "optional": True}, three[0], to=to)

    run = keeper("backup")

    assert run.status == 0
    assert re.search(rf"^{TIME} gone: .*no such file, and it is optional$", run.out, re.M)


def test_database_with_backup_false_is_left_out(
    keeper: Keeper, three: list[Path], backup_config: BackupConfig, to: Path
) -> None:
    """A cache is vacuumed, not backed up."""
    backup_config(three[0], {"path": three[1], "backup": False}, to=to)

    assert outcomes(keeper("backup", "--json")) == {"a": "shipped"}


def test_database_with_backup_false_is_backed_up_when_named(
    keeper: Keeper, three: list[Path], backup_config: BackupConfig, to: Path
) -> None:
    """An explicit wish wins."""
    backup_config(three[0], {"path": three[1], "backup": False}, to=to)

    assert outcomes(keeper("backup", "b", "--json")) == {"b": "shipped"}


def test_only_named_databases_are_backed_up(keeper: Keeper, three: list[Path]) -> None:
    """Names and paths, each database once."""
    run = keeper("backup", "c", three[0], "a", "--json")

    assert outcomes(run) == {"c": "shipped", "a": "shipped"}


def test_all_with_backup_false_is_a_usage_error(
    keeper: Keeper, three: list[Path], backup_config: BackupConfig, to: Path
) -> None:
    """Nothing to back up is no success."""
    backup_config({"path": three[0], "backup": False}, to=to)

    run = keeper("backup", "--json")

    assert run.status == 2
    assert "backup = false" in run.json["error"]["message"]


def test_nothing_to_back_up_says_how_to_start(keeper: Keeper, to: Path) -> None:
    """Without arguments and configuration there is a hint."""
    run = keeper("backup", "--to", to)

    assert run.status == 2
    assert "no database to work on" in run.err
    assert "keeper.toml" in run.err


def test_name_twin_is_refused(
    keeper: Keeper, three: list[Path], make_database: MakeDatabase, to: Path
) -> None:
    """Another file's snapshots never get among those of a configured database."""
    twin = make_database("elsewhere/a.sqlite3", rows=1)

    run = keeper("backup", twin)

    assert run.status == 2
    assert str(twin) in run.err
    assert not to.exists()


def test_names_that_a_destination_may_take_for_one_are_refused_where_they_are_shipped(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig, to: Path
) -> None:
    """Where case does not count, each overwrites the other; all that ships nothing goes on."""
    paths = [make_database(f"{name}/db.sqlite3", rows=3) for name in ("Acme", "acme")]
    pattern = {"path": paths[0].parent.parent / "*/db.sqlite3", "name": "{parent}"}
    backup_config(pattern, to=to)

    for command in (["backup", "acme"], ["config", "show"]):
        run = keeper(*command)
        assert run.status == 2
        assert f"{paths[1]} has the name acme, which many destinations do not tell from" in run.err
    assert not to.exists()
    assert keeper("vacuum").status == 0
    doctor = keeper("doctor", "--json")
    assert doctor.status == 1
    assert "names" in [one["check"] for one in doctor.json["findings"] if one["level"] == "fail"]


def test_snapshots_of_names_that_differ_in_case_come_back(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig, to: Path
) -> None:
    """Where they were shipped before that was refused, or by two hosts."""
    for name in ("Acme", "acme"):
        path = make_database(f"{name}.sqlite3", rows=3)
        backup_config(path, to=to)
        assert keeper("backup").status == 0
    backup_config(path.parent / "[Aa]cme.sqlite3", to=to)

    assert keeper("status").status == 0
    assert keeper("restore", "Acme", "--to", "back.db").status == 0


# Where to


def test_no_destination_says_how_to_name_one(keeper: Keeper, make_database: MakeDatabase) -> None:
    """--to and keeper.toml are both named."""
    run = keeper("backup", make_database(rows=1))

    assert run.status == 2
    assert "no destination" in run.err
    assert "--to" in run.err
    assert "[backup]" in run.err


def test_relative_folder_is_this_folders(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path, any_rclone: Path
) -> None:
    """--to backups is a folder below the current one, without any rclone configuration."""
    run = keeper("backup", make_database(rows=1), "--to", "backups", "--json")

    assert run.status == 0
    assert run.entry["shipped"][0]["to"] == str(tmp_path / "backups")
    assert list((tmp_path / "backups/app").glob("*.sqlite3"))
    assert not Path(os.environ["RCLONE_CONFIG"]).exists()


def test_command_line_destinations_replace_the_configured_ones(
    keeper: Keeper, three: list[Path], to: Path, tmp_path: Path
) -> None:
    """--to wins, and may be repeated; the same one twice counts once."""
    one, other = tmp_path / "one", tmp_path / "other"

    run = keeper("backup", "a", "--to", one, "--to", other, "--to", one, "--json")

    assert [shipped["to"] for shipped in run.entry["shipped"]] == [str(one), str(other)]
    assert not to.exists()


def test_empty_steps_and_dots_in_a_remote_make_no_other_place(
    keeper: Keeper, backup_config: BackupConfig, make_database: MakeDatabase, s3: S3
) -> None:
    """What is backed up, listed, restored and pruned lies where it would without them."""
    odd, plain = f"{s3.to}//a/./b/", f"{s3.to}/a/b"
    keeps = dict.fromkeys(("keep_daily", "keep_weekly", "keep_monthly"), 0)
    backup_config(make_database(rows=3), to=odd, prune=False, **keeps)

    assert keeper("backup").status == 0
    assert keeper("backup", "--force", "--to", plain).status == 0
    found = keeper("snapshots", "--from", odd, "--json").json["snapshots"]
    assert [one["to"] for one in found] == [plain, plain]
    assert keeper("restore", "app", "--from", odd, "--to", "back.db").status == 0
    assert keeper("prune", "--from", odd).status == 0
    assert len(list(s3.folder.glob("a/b/app/*.sqlite3"))) == 1


@pytest.mark.parametrize("arguments", [["--to"], ["--dry-run", "--to"]])
def test_remote_with_a_way_back_up_is_refused(
    keeper: Keeper, make_database: MakeDatabase, arguments: list[str], s3: S3
) -> None:
    """A run would say shipped, and nobody would ever find it again."""
    run = keeper("backup", make_database(rows=3), *arguments, f"{s3.to}/x/../y")

    assert run.status == 2
    assert f"{s3.to}/x/../y: the path of a remote must not have .. in it" in run.err
    assert not list(s3.folder.iterdir())


def test_unknown_remote_has_a_hint(keeper: Keeper, three: list[Path]) -> None:
    """A remote that rclone does not know ends the run before any snapshot."""
    run = keeper("backup", "--to", "unknown:bucket", "--json")

    assert run.status == 1
    assert "unknown" in run.json["error"]["message"]
    assert "rclone listremotes" in run.json["error"]["hint"]


def test_awkward_names_are_shipped_and_recognised(
    keeper: Keeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    s3: S3,
    any_rclone: Path,
) -> None:
    """Blanks, quotes, brackets and other alphabets in a database's name."""
    name = "it's #1; [a]* é☃ +%20"
    backup_config({"path": make_database(rows=3), "name": name}, to=s3.to)

    first, second = keeper("backup", "--json"), keeper("backup", "--json")

    assert (outcomes(first), outcomes(second)) == ({name: "shipped"}, {name: "unchanged"})
    assert (s3.folder / name / "latest.json").exists()


# Output


def test_json_has_the_keys_of_the_design(keeper: Keeper, three: list[Path], to: Path) -> None:
    """One object, with plain bytes and float seconds."""
    run = keeper("backup", "a", "--json")

    assert (
        run.json.items() >= {"command": "backup", "ok": True, "error": None, "pruned": []}.items()
    )
    entry = run.entry
    assert run.json["uploaded_bytes"] == entry["bytes"] > 0
    (shipped,) = entry["shipped"]
    assert entry["name"] == "a"
    assert entry["path"] == str(three[0])
    assert (entry["outcome"], entry["reason"], entry["check"]) == ("shipped", None, "ok")
    assert re.fullmatch("[0-9a-f]{64}", entry["sha256"])
    assert entry["tables"] == {"t": 20}
    assert shipped.keys() == {"to", "object", "outcome", "bytes", "encoding"}
    assert (shipped["to"], shipped["outcome"]) == (str(to), "uploaded")
    assert (to / shipped["object"]).stat().st_size == shipped["bytes"] == entry["bytes"]
    assert entry["seconds"].keys() == {"snapshot", "check", "ship"}
    assert all(isinstance(value, float) for value in entry["seconds"].values())


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
def test_rollback_database_says_how_long_its_writers_waited(
    keeper: Keeper, make_database: MakeDatabase, to: Path, journal_mode: str
) -> None:
    """While it is read nobody can commit, and only there."""
    path = make_database(rows=2000, journal_mode=journal_mode)

    run = keeper("backup", path, "--to", to, "--json")

    locked = run.entry["longest_lock_ms"]
    assert locked <= run.entry["seconds"]["snapshot"] * 1000
    assert (locked > 0) == (journal_mode == "delete")
    assert (f"writers locked out for {locked:.0f} ms" in run.err) == (journal_mode == "delete")


def test_json_is_printed_on_failure_too(keeper: Keeper, three: list[Path]) -> None:
    """Code, message and hint, and the keys that a success has."""
    three[0].unlink()

    run = keeper("backup", "a", "--json")

    assert run.json["ok"] is False
    assert run.json["error"] == {
        "code": 1,
        "message": f"{three[0]}: no such file",
        "hint": None,
    }
    assert run.json["uploaded_bytes"] == 0
    assert run.entry["shipped"] == []


def test_log_has_one_timestamped_line_for_each_step(
    keeper: Keeper, three: list[Path], to: Path
) -> None:
    """Snapshot with its check, then where it is; a total on standard output."""
    run = keeper("backup", "a")

    snapshot, shipped = run.err.splitlines()
    assert re.fullmatch(rf"{TIME} a: snapshot \d+\.\d KiB in \d+\.\d s, integrity ok", snapshot)
    assert re.fullmatch(
        rf"{TIME} a: shipped to {to} as a/a-\d{{8}}T\d{{6}}Z-\w{{5}}\.sqlite3 in \d+\.\d s", shipped
    )
    total = rf"{TIME} 1 database: 1 shipped; \d+\.\d KiB uploaded in \d+\.\d s\n"
    assert re.fullmatch(total, run.out)


@pytest.mark.parametrize(("check", "words"), [("quick", "quick ok"), ("none", "not checked")])
def test_log_tells_how_the_snapshot_was_checked(
    keeper: Keeper, three: list[Path], backup_config: BackupConfig, to: Path, check: str, words: str
) -> None:
    """Nothing is called ok that was not looked at."""
    backup_config(three[0], to=to, check=check)

    assert keeper("backup").err.splitlines()[0].endswith(words)


def test_quiet_says_nothing_when_all_went_well(keeper: Keeper, three: list[Path]) -> None:
    """cron sends no mail."""
    run = keeper("backup", "-q")

    assert (run.status, run.out, run.err) == (0, "", "")


def test_verbose_shows_what_rclone_is_asked(
    keeper: Keeper, three: list[Path], to: Path, wrap_rclone: WrapRclone
) -> None:
    """Each as a command, ready to be pasted into a shell."""
    wrap_rclone()
    run = keeper("backup", "a", "-v")

    assert re.search(rf"^{TIME} \S+rclone lsjson .*{to}/", run.err, re.M)
    assert re.search(rf"^{TIME} printf '%s\\n' .+ \| \S+rclone copy .*{to}/", run.err, re.M)


def test_configured_arguments_reach_rclone(
    keeper: Keeper,
    three: list[Path],
    backup_config: BackupConfig,
    to: Path,
    wrap_rclone: WrapRclone,
) -> None:
    """backup.rclone_args are part of each transfer."""
    wrap_rclone()
    backup_config(three[0], to=to, rclone_args=["--bwlimit", "8M"])

    run = keeper("backup", "-v")

    assert run.status == 0
    assert re.search(r"rclone copy .*--bwlimit 8M ", run.err)


@pytest.mark.parametrize("options", [["-v"], ["-v", "--json"]])
def test_secret_among_the_arguments_is_never_shown(
    keeper: Keeper,
    three: list[Path],
    backup_config: BackupConfig,
    to: Path,
    options: list[str],
    wrap_rclone: WrapRclone,
) -> None:
    """rclone gets it; the log and the result do not."""
    wrap_rclone()
    backup_config(
        three[0], to=to, rclone_args=["--password-command=echo hunter2", "--b2-account", "AK"]
    )

    run = keeper("backup", *options)

    assert run.status == 0
    assert "--b2-account AK" in run.err
    assert "hunter2" not in run.out + run.err


@pytest.mark.parametrize("place", ["folder", "remote"])
def test_argument_that_makes_rclone_do_nothing_is_found_out(
    keeper: Keeper,
    three: list[Path],
    backup_config: BackupConfig,
    to: Path,
    wrap_rclone: WrapRclone,
    place: str,
) -> None:
    """With --dry-run among the arguments nothing arrives, and nothing is reported as shipped."""
    if place == "remote":
        wrap_rclone()
    to.mkdir()
    backup_config(three[0], to=to, rclone_args=["--dry-run"])

    run = keeper("backup", "--json")

    assert (run.status, outcomes(run)) == (1, {"a": "failed"})
    assert list(to.iterdir()) == []


def test_dry_run_does_nothing(
    keeper: Keeper, three: list[Path], to: Path, staging: Path, tmp_path: Path
) -> None:
    """No destination, no snapshot, no memory; the sizes are told."""
    run = keeper("backup", "--dry-run")

    assert run.status == 0
    line = rf"^{TIME} a: dry run: would ship about \d+\.\d KiB to {to}, if it has changed$"
    assert re.search(line, run.out, re.M)
    assert not to.exists()
    assert list(staging.iterdir()) == []
    assert not (tmp_path / "state").exists()


def test_dry_run_needs_no_rclone(
    keeper: Keeper, three: list[Path], wrap_rclone: WrapRclone
) -> None:
    """It does not run one either."""
    wrap_rclone(version="exit 1", rcd="exit 1")

    assert keeper("backup", "--dry-run").status == 0


def test_dry_run_has_the_keys_of_the_design(keeper: Keeper, three: list[Path]) -> None:
    """Scripts find what they find after a real run."""
    run = keeper("backup", "a", "--dry-run", "--json")

    assert (run.json["uploaded_bytes"], run.json["pruned"]) == (0, [])
    assert run.entry["outcome"] == "skipped"


def test_dry_run_fails_where_a_run_would(keeper: Keeper, three: list[Path]) -> None:
    """A missing database is noticed."""
    three[0].unlink()

    assert keeper("backup", "--dry-run").status == 3


# The scenario that keeper was made for


def test_three_days_of_a_rails_application(
    keeper: Keeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    beside: Callable[[str, Path], Companion],
    s3: S3,
    any_rclone: Path,
    tmp_path: Path,
) -> None:
    """Vacuumed hourly, backed up daily, written to all the time: each day restores by itself."""
    production = make_database("storage/production.sqlite3", rows=200, deleted=100)
    make_database("storage/production_errors.sqlite3", rows=5)
    make_database("storage/production_cache.sqlite3", rows=5)
    backup_config(
        {"path": production},
        {"path": "storage/*_errors.sqlite3"},
        {"path": "storage/*_cache.sqlite3", "backup": False},
        to=f"{s3.to}/web1",
        prune=False,  # three days in one minute
    )
    writer = beside("write", production)

    days = []
    for _ in range(3):
        for _ in range(2):
            assert keeper("vacuum", "-q").status == 0
        days.append(keeper("backup", "--json"))
    committed = int(writer.end())

    assert [day.status for day in days] == [0, 0, 0]
    assert [list(outcomes(day).items()) for day in days] == [
        [("production", "shipped"), ("production_errors", "shipped")],
        [("production", "shipped"), ("production_errors", "unchanged")],
        [("production", "shipped"), ("production_errors", "unchanged")],
    ]
    assert not (s3.folder / "web1/production_cache").exists()
    ledgers = []
    for number, day in enumerate(days):
        key = day.json["databases"][0]["shipped"][0]["object"]
        restored = tmp_path / f"restored-{number}.sqlite3"
        copy = [str(any_rclone), "copyto", f"{s3.to}/web1/{key}", str(restored)]
        subprocess.run(copy, check=True, capture_output=True)
        ledgers.append(ledger(restored))
        manifest = json.loads((s3.folder / "web1" / key).with_suffix(".json").read_text())
        assert manifest["tables"]["ledger"] == ledgers[-1][1]
    assert [total for total, _ in ledgers] == [0, 0, 0]
    rows = [count for _, count in ledgers]
    assert rows == sorted(set(rows))
    assert rows[-1] <= 2 * committed
    assert count_rows(production) == 100


def ledger(path: Path) -> tuple[object, int]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    assert connection.pragma("integrity_check") == "ok"
    total, rows = connection.execute("SELECT sum(amount), count(*) FROM ledger").fetchall()[0]
    connection.close()
    assert isinstance(rows, int)
    return total, rows
