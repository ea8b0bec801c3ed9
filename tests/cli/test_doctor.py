"""`keeper doctor` as its users see it."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import S3, BackupConfig, Keeper, MakeDatabase, Outcome, contents, pragma


@pytest.fixture
def steady() -> Iterator[Path]:
    """A folder that outlives a restart of the host, as tmp_path may not."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        yield Path(name)


def risky(done: Outcome) -> dict[str, Any]:
    """The findings that are not in order, by check."""
    return {one["check"]: one for one in done.json["findings"] if one["level"] != "ok"}


def test_healthy_setup(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig, steady: Path, s3: S3
) -> None:
    """Neither failure nor warning, before and after asking the destination."""
    backup_config(Path(shutil.move(make_database(), steady)), to=s3.to)
    assert keeper("backup").status == 0
    for arguments in (["doctor"], ["doctor", "--remote"]):
        done = keeper(*arguments, "--json")
        assert (done.status, risky(done), done.json["error"]) == (0, {}, None)


def test_findings_as_json(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig
) -> None:
    """Level, database or null, check, message, fix."""
    backup_config(make_database(auto_vacuum="none"))
    done = keeper("doctor", "--json")
    assert done.json["command"] == "doctor"
    for one in done.json["findings"]:
        assert list(one) == ["level", "database", "check", "message", "fix"]
    found = risky(done)
    assert found["auto_vacuum"]["database"] == "app"
    assert found["destination"]["database"] is None


def test_warnings_alone_end_with_0(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig
) -> None:
    """And the object says ok."""
    backup_config(make_database(auto_vacuum="none"))
    done = keeper("doctor", "--json")
    assert {one["level"] for one in risky(done).values()} == {"warn"}
    assert (done.status, done.json["ok"]) == (0, True)


def test_failure_ends_with_1(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig, tmp_path: Path
) -> None:
    """One bad database does not hide behind a good one."""
    broken = tmp_path / "broken.sqlite3"
    broken.write_text("not a database\n" * 100)
    backup_config(make_database(), broken)
    done = keeper("doctor", "--json")
    assert done.status == done.json["error"]["code"] == 1
    assert [one["database"] for one in risky(done).values() if one["level"] == "fail"] == ["broken"]


def test_missing_database_is_a_failure(
    keeper: Keeper, backup_config: BackupConfig, tmp_path: Path
) -> None:
    """The configuration names it."""
    backup_config(tmp_path / "gone.sqlite3")
    found = risky(keeper("doctor", "--json"))["open"]
    assert (found["level"], found["database"]) == ("fail", "gone")


def test_optional_database_may_be_missing(
    keeper: Keeper, backup_config: BackupConfig, tmp_path: Path
) -> None:
    """It is in order."""
    backup_config({"path": tmp_path / "gone.sqlite3", "optional": True})
    done = keeper("doctor", "--json")
    assert done.status == 0
    assert "open" not in risky(done)


def test_pattern_without_a_match(
    keeper: Keeper, backup_config: BackupConfig, tmp_path: Path
) -> None:
    """The fix names its line."""
    backup_config({"path": f"{tmp_path}/none/*.sqlite3"})
    found = risky(keeper("doctor", "--json"))["open"]
    assert found["level"] == "fail"
    assert "databases[1]" in found["fix"] or "databases[0]" in found["fix"]


def test_one_database_through_a_symlink(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig, tmp_path: Path
) -> None:
    """The configuration itself is refused, and both names are said."""
    path = make_database()
    (tmp_path / "link.sqlite3").symlink_to(path)
    backup_config(path, tmp_path / "link.sqlite3")
    done = keeper("doctor", "--json")
    assert done.status == 2
    message = done.json["error"]["message"]
    assert f"{tmp_path}/link.sqlite3 is the same file as {path}" in message


def test_one_database_through_a_hard_link(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig, tmp_path: Path
) -> None:
    """Only doctor sees it."""
    path = make_database()
    (tmp_path / "link.sqlite3").hardlink_to(path)
    backup_config(path, tmp_path / "link.sqlite3")
    done = keeper("doctor", "--json")
    assert done.status == 1
    assert risky(done)["twin"]["level"] == "fail"


def test_nothing_configured(keeper: Keeper) -> None:
    """The host is looked at all the same."""
    done = keeper("doctor", "--json")
    assert done.status == 0
    assert {one["database"] for one in done.json["findings"]} == {None}
    assert list(risky(done)) == ["destination"]


def test_path_of_the_command_line(keeper: Keeper, make_database: MakeDatabase) -> None:
    """It needs no configuration, and nobody expects a backup of it."""
    done = keeper("doctor", make_database("cache.sqlite3"), "--json")
    assert done.status == 0
    checks = [one["check"] for one in done.json["findings"] if one["database"]]
    assert "open" in checks
    assert not {"worth_backup", "last_backup"} & set(checks)


def test_unknown_name(keeper: Keeper, backup_config: BackupConfig) -> None:
    """As with every command."""
    backup_config()
    assert keeper("doctor", "nonsense").status == 2


def test_cache_that_is_backed_up(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig, tmp_path: Path
) -> None:
    """Unless the configuration says that it is not."""
    cache, queue = make_database("cache.sqlite3"), make_database("queue.sqlite3")
    backup_config(cache, {"path": queue, "backup": False})
    findings = keeper("doctor", "--json").json["findings"]
    (found,) = (one for one in findings if one["check"] == "worth_backup")
    assert (found["level"], found["database"]) == ("warn", "cache")
    assert found["fix"] == "backup = false in its [[databases]] of keeper.toml"


def test_log_has_a_line_for_each_finding_and_for_its_fix(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig
) -> None:
    """The worst first; what is in order only with --verbose."""
    path = make_database(auto_vacuum="none")
    backup_config(path, path.with_name("gone.sqlite3"))
    lines = [line.partition(" ")[2] for line in keeper("doctor").out.splitlines()]
    assert lines[0].startswith("fail: gone: ")
    assert f"warn: fix: keeper convert {path}" in lines
    assert not any(line.startswith("ok: ") for line in lines)
    assert "1 failure, " in lines[-1]
    assert "ok: app: auto_vacuum" not in keeper("doctor", "-v").out
    assert "ok: app: has one name only [hard_links]" in keeper("doctor", "-v").out


def test_terminal_groups_findings(
    terminal: Keeper, make_database: MakeDatabase, backup_config: BackupConfig
) -> None:
    """By level, the fix below each."""
    path = make_database(auto_vacuum="none")
    backup_config(path, path.with_name("gone.sqlite3"))
    done = terminal("doctor", "--no-color")
    lines = done.out.splitlines()
    assert done.status == 1
    assert lines[0] == "failures"
    assert lines.index("warnings") > 0
    assert "in order" not in lines
    assert f"    fix: keeper convert {path}" in lines
    assert "in order" in terminal("doctor", "--no-color", "-v").out.splitlines()


def test_quiet_says_only_failures(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig
) -> None:
    """On standard error."""
    path = make_database(auto_vacuum="none")
    backup_config(path)
    done = keeper("doctor", "-q")
    assert (done.status, done.out, done.err) == (0, "", "")
    backup_config(path, path.with_name("gone.sqlite3"))
    done = keeper("doctor", "-q")
    assert (done.status, done.out) == (1, "")
    assert "gone: open: " in done.err


def test_nothing_is_changed(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig, tmp_path: Path
) -> None:
    """Not even keeper's own memory, made where there is none."""
    backup_config(make_database(), to=f"{tmp_path}/dest")
    before = contents(tmp_path)
    assert keeper("doctor").status == 0
    after = {name for name in contents(tmp_path) if not name.startswith("home/cache/")}
    assert after == before.keys()
    assert not (tmp_path / "dest").exists()
    assert not (tmp_path / "state").exists()


def test_nothing_leaves_the_host_without_being_asked(
    keeper: Keeper, backup_config: BackupConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A destination that nobody could reach is not missed; with --remote it is."""
    for key, value in {"TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(f"RCLONE_CONFIG_LAB_{key}", value)
    stall_watch = ["--retries", "1", "--low-level-retries", "1"]
    backup_config(to="lab:bucket", rclone_args=stall_watch)
    assert keeper("doctor").status == 0
    done = keeper("doctor", "--remote", "--json")
    assert done.status == 1
    assert list(risky(done)) == ["reachable"]


@pytest.mark.parametrize(
    ("configured", "said", "fix"),
    [
        ('journal_mode = "wal"', "journal_mode is delete, the configuration says wal", "PRAGMA"),
        (
            'auto_vacuum = "incremental"',
            "auto_vacuum is none, the configuration says incremental",
            "keeper convert --auto-vacuum incremental ",
        ),
    ],
)
def test_mode_that_differs_from_the_configured_one_is_found(
    keeper: Keeper,
    make_database: MakeDatabase,
    tmp_path: Path,
    configured: str,
    said: str,
    fix: str,
) -> None:
    """The application may have been set up before its settings were."""
    make_database(auto_vacuum="none", journal_mode="delete")
    (tmp_path / "keeper.toml").write_text(
        f'[[databases]]\npath = "app.sqlite3"\n{configured}\n[backup]\nto = "dest"\n'
    )

    run = keeper("doctor", "--json")

    (found,) = [one for one in run.json["findings"] if one["check"] == "configured_mode"]
    assert (found["level"], found["database"], found["message"]) == ("warn", "app", said)
    assert fix in found["fix"]


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Path]:
    """The database of a diskcache, which asks for auto_vacuum = full at each open."""
    diskcache = pytest.importorskip("diskcache")
    with diskcache.Cache(tmp_path / "cache") as cache:
        for number in range(200):
            cache[number] = bytes(5000)
        cache.clear()
    path = tmp_path / "cache" / "cache.db"
    yield path
    with diskcache.Cache(tmp_path / "cache"):
        assert pragma(path, "auto_vacuum") == 1


def test_nobody_is_told_to_convert_what_the_application_sets_back(
    keeper: Keeper, cache: Path
) -> None:
    """What shrinks by itself is no fault; a conversion would not last."""
    for command in ("doctor", "vacuum", "report", "init"):
        run = keeper(command, cache, *["--exist-ok"][: command == "init"])
        assert run.status == 0
        assert "keeper convert" not in run.out + run.err


def test_configured_mode_that_the_application_sets_back(
    keeper: Keeper, cache: Path, tmp_path: Path
) -> None:
    """The configuration can give way, if a conversion has not lasted."""
    (tmp_path / "keeper.toml").write_text(
        '[[databases]]\npath = "cache/cache.db"\nauto_vacuum = "incremental"\nbackup = false\n'
    )

    run = keeper("doctor", "--json")

    (found,) = [one for one in run.json["findings"] if one["check"] == "configured_mode"]
    assert found["fix"] == (
        'auto_vacuum = "full" in keeper.toml if the application asks for that whenever it opens'
        f" the database; else: keeper convert --auto-vacuum incremental {cache}"
    )


def test_mode_as_configured_is_ok(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """And not a word of it without --verbose."""
    make_database()
    (tmp_path / "keeper.toml").write_text(
        '[[databases]]\npath = "app.sqlite3"\njournal_mode = "wal"\n[backup]\nto = "dest"\n'
    )

    run = keeper("doctor", "--json")

    (found,) = [one for one in run.json["findings"] if one["check"] == "configured_mode"]
    assert (found["level"], found["fix"]) == ("ok", None)
