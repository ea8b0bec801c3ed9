"""Proving snapshots: whatever is wrong with one is found."""

import hashlib
import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from sqlitekeeper.destination.catalog import Subject
from sqlitekeeper.destination.destination import list_destination
from sqlitekeeper.destination.manifest import Manifest
from sqlitekeeper.events import Event, Note
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.program import find_rclone
from sqlitekeeper.restore.drill import DrillOptions, DrillResult, drill
from sqlitekeeper.restore.verify import verify
from tests.catalogs import (
    REFUSES_WRITES,
    copied,
    edit,
    flip_bit,
    manifest_beside,
    newest,
    set_back,
    ship_once,
)
from tests.conftest import BackupConfig, Keeper, MakeDatabase, WrapRclone, contents, in_folder
from tests.damage import make_foreign_key_malformed, make_orphan
from tests.full_text import CONTENT, add_full_text, run_sql

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def once_shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ship_once(tmp_path_factory.mktemp("shipped"), "app")


@pytest.fixture
def to(once_shipped: Path, tmp_path: Path) -> Path:
    """A destination with a snapshot of tmp_path/app.sqlite3, to do anything to."""
    return copied(once_shipped, tmp_path)


def drilled(
    to: Path, staging: Path, heard: list[Event] | None = None, **more: object
) -> DrillResult:
    """Drill the database `app` at a destination."""
    rclone = Rclone(find_rclone(None))
    place = in_folder(to) if "RCLONE_CONFIG_DISK_TYPE" in os.environ else str(to)
    options = DrillOptions(
        rclone, staging, staging.parent / "state", "test", partial(datetime.now, UTC)
    )
    for key, value in more.items():
        object.__setattr__(options, key, value)
    on_event = heard.append if heard is not None else lambda event: None
    (result,) = drill([Subject("app")], [list_destination(rclone, place)], options, on_event)
    return result


def warnings(heard: list[Event]) -> str:
    return "\n".join(one.text for one in heard if isinstance(one, Note) and one.level == 2)


def marks(to: Path) -> list[Path]:
    """The marks at a destination, failed ones first."""
    return [*to.rglob("*.failed.json"), *to.rglob("*.proven.json")]


def load(snapshot: Path) -> Manifest:
    return Manifest.from_json(manifest_beside(snapshot).read_bytes(), "manifest")


def test_sound_snapshot_is_proven(to: Path, staging: Path) -> None:
    """Everything is said to be ok, and the snapshot is untouched."""
    before = newest(to).read_bytes()

    result = drilled(to, staging)

    assert (result.outcome, result.reason, result.exit_code) == ("proven", None, 0)
    assert (result.sha256_ok, result.check, result.rows_ok) == (True, "ok", True)
    assert result.object == f"app/{newest(to).name}"
    assert newest(to).read_bytes() == before


def test_nothing_stays_in_the_staging_folder(to: Path, staging: Path) -> None:
    """Not the copy, nor what a killed drill left."""
    litter = staging / "keeper-staging-killed_1"
    litter.mkdir(mode=0o700)
    (litter / ".keeper").touch()
    drilled(to, staging)
    assert list(staging.iterdir()) == []


def test_bit_flipped_anywhere_is_found(to: Path, staging: Path) -> None:
    """A spread of bits over the whole object, its first and last byte, each pages' edges."""
    snapshot = newest(to)
    manifest, copy = load(snapshot), staging / "copy.sqlite3"
    size = snapshot.stat().st_size
    edges = [edge + step for edge in range(0, size, 4096) for step in (0, 4095)]
    for offset in sorted({*edges, *range(0, size, 997), 18, 19, 96, 100}):
        shutil.copyfile(snapshot, copy)
        flip_bit(copy, offset, offset % 8)
        proof = verify(copy, manifest)
        assert proof.problem, offset
        assert proof.sha256_ok is False


@pytest.mark.parametrize("where", [0, 0.5, 1])
def test_flipped_bit_at_the_destination_fails_the_drill(
    to: Path, staging: Path, where: float
) -> None:
    """All the way through rclone."""
    snapshot = newest(to)
    flip_bit(snapshot, int(where * (snapshot.stat().st_size - 1)), 7)
    result = drilled(to, staging)
    assert (result.outcome, result.exit_code, result.sha256_ok) == ("failed", 12, False)
    assert "its sha256 is" in str(result.reason)


def test_damage_that_the_manifest_agrees_with_is_found(to: Path, staging: Path) -> None:
    """Somebody who can write a manifest cannot make a broken database pass."""
    snapshot = newest(to)
    with snapshot.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xa5" * 4096)
    edit(manifest_beside(snapshot), lambda m: m["snapshot"].update(sha256=_sha256(snapshot)))
    result = drilled(to, staging)
    assert (result.outcome, result.exit_code) == ("failed", 12)
    assert (result.sha256_ok, result.check, result.rows_ok) == (True, "failed", None)


def test_truncated_object_is_found_without_a_download(
    to: Path, staging: Path, wrap_rclone: WrapRclone, tmp_path: Path
) -> None:
    """The listing's size is enough."""
    snapshot = newest(to)
    with snapshot.open("r+b") as file:
        file.truncate(snapshot.stat().st_size - 1)
    wrap_rclone(copy=f'echo "$from" >> "{tmp_path}/copies"')
    result = drilled(to, staging)
    assert (result.outcome, result.exit_code, result.sha256_ok) == ("failed", 12, False)
    assert "bytes, its manifest says" in str(result.reason)
    copies = (tmp_path / "copies").read_text().split()
    assert copies  # manifest, mark
    assert not [one for one in copies if one.endswith(".sqlite3")]


def test_missing_object_is_found(to: Path, staging: Path) -> None:
    """Its manifest is there, so it once was."""
    name = newest(to).name
    newest(to).unlink()
    result = drilled(to, staging)
    assert (result.outcome, result.exit_code, result.object) == ("failed", 12, f"app/{name}")
    assert "is missing, although" in str(result.reason)


def test_newest_that_is_gone_with_its_manifest_is_missed(
    to: Path, staging: Path, keeper: Keeper, tmp_path: Path
) -> None:
    """latest.json still names it, so an older one does not pass for the newest."""
    set_back(to, 24)
    assert keeper("backup", tmp_path / "app.sqlite3", "--to", to, "--force").status == 0
    gone = newest(to)
    manifest_beside(gone).unlink()
    gone.unlink()
    result = drilled(to, staging)
    assert (result.outcome, result.exit_code, result.object) == ("failed", 12, f"app/{gone.name}")


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        (lambda m: m["snapshot"].update(bytes=4096), "its manifest says 4096"),
        (lambda m: m["snapshot"].update(sha256="0" * 64), "its manifest says 000000000000"),
        (lambda m: m["tables"].update(t=41), "table t: 40 rows, its manifest says 41 rows"),
        (lambda m: m["tables"].update(u=1), "table u: no such table, its manifest says 1 row"),
        (lambda m: m["tables"].pop("t"), "table t: 40 rows, its manifest says no such table"),
        (lambda m: m.update(taken_at="2026-01-01T00:00:00+00:00"), "it was taken at 2026-01-01"),
        (
            lambda m: m["snapshot"].update(object="app/app-20260101T000000Z.sqlite3"),
            "its manifest belongs to app/app-20260101T000000Z.sqlite3",
        ),
    ],
    ids=["bytes", "sha256", "rows", "more tables", "fewer tables", "time", "object"],
)
def test_manifest_that_lies_is_found(to: Path, staging: Path, lie: object, said: str) -> None:
    """A sound database that is not what its manifest says is not proven."""
    assert callable(lie)
    edit(manifest_beside(newest(to)), lie)
    result = drilled(to, staging)
    assert (result.outcome, result.exit_code) == ("failed", 12)
    assert said in str(result.reason)


def test_rows_that_differ_are_told_from_a_failed_check(to: Path, staging: Path) -> None:
    """The database is sound, only its rows are not those of the manifest."""
    edit(manifest_beside(newest(to)), lambda m: m["tables"].update(t=41))
    result = drilled(to, staging)
    assert (result.sha256_ok, result.check, result.rows_ok) == (True, "ok", False)


@pytest.mark.parametrize("text", [b"\xff\xfe", b"{}"])
def test_manifest_that_cannot_be_read_fails_the_drill(to: Path, staging: Path, text: bytes) -> None:
    """There is nothing to prove the snapshot against."""
    manifest_beside(newest(to)).write_bytes(text)
    result = drilled(to, staging)
    assert (result.outcome, result.exit_code) == ("failed", 12)
    assert newest(to).name.removesuffix(".sqlite3") in str(result.reason)


def test_manifest_of_a_newer_keeper_is_no_failed_check(to: Path, staging: Path) -> None:
    """This keeper cannot tell; so it says so, and leaves no record."""
    edit(manifest_beside(newest(to)), lambda m: m.update(format=3))
    result = drilled(to, staging)
    assert (result.outcome, result.exit_code) == ("failed", 1)
    assert "upgrade keeper" in str(result.reason)
    assert not list(to.rglob("*.failed.json"))


def shipped(
    keeper: Keeper, backup_config: BackupConfig, database: Path, check: str = "none"
) -> Path:
    """Ship a database as it is, unchecked, and return the destination."""
    to = database.parent / "dest"
    backup_config(database, to=str(to), check=check)
    run = keeper("backup")
    assert run.status == 0, run.err
    return to


def test_more_foreign_key_violations_than_the_manifest_says(
    keeper: Keeper, backup_config: BackupConfig, make_database: MakeDatabase, staging: Path
) -> None:
    """Those that were there at the time are the application's affair, others are not."""
    database = make_database(rows=5)
    make_orphan(database)
    to = shipped(keeper, backup_config, database)
    assert drilled(to, staging).outcome == "proven"

    edit(manifest_beside(newest(to)), lambda m: m["checks"].update(foreign_key_violations=0))

    result = drilled(to, staging)
    assert (result.outcome, result.exit_code) == ("failed", 12)
    assert "1 foreign-key violation, its manifest says 0" in str(result.reason)


def test_foreign_keys_that_cannot_be_checked_contradict_a_count(
    keeper: Keeper, backup_config: BackupConfig, make_database: MakeDatabase, staging: Path
) -> None:
    """A manifest that says so of such keys is believed, one that counted none is not."""
    database = make_database(rows=5)
    make_foreign_key_malformed(database)
    to = shipped(keeper, backup_config, database)
    assert drilled(to, staging).outcome == "proven"

    edit(manifest_beside(newest(to)), lambda m: m["checks"].update(foreign_key_violations=0))

    assert "foreign keys cannot be checked" in str(drilled(to, staging).reason)


def test_damaged_full_text_index_is_found(
    keeper: Keeper, backup_config: BackupConfig, make_database: MakeDatabase, staging: Path
) -> None:
    """A snapshot that was shipped unchecked does not pass with half of its index gone."""
    database = make_database(rows=5)
    add_full_text(database)
    run_sql(database, "DELETE FROM f_data WHERE id > 10")
    result = drilled(shipped(keeper, backup_config, database), staging)
    assert (result.outcome, result.check, result.exit_code) == ("failed", "failed", 12)


def test_index_that_its_external_content_has_left_behind_is_a_remark(
    keeper: Keeper, backup_config: BackupConfig, make_database: MakeDatabase, staging: Path
) -> None:
    """The application forgot to update it; the snapshot is faithful all the same."""
    database = make_database(rows=5)
    add_full_text(database, CONTENT["table"])
    run_sql(database, "UPDATE doc SET body = 'other' WHERE id = 3")
    heard: list[Event] = []
    result = drilled(shipped(keeper, backup_config, database), staging, heard)
    assert result.outcome == "proven"
    assert "f is sound, but differs from its external content" in warnings(heard)


def test_proof_is_kept_beside_the_snapshot(to: Path, staging: Path) -> None:
    """As a small object that says what, when, where and how."""
    drilled(to, staging)
    (drill_outcome,) = to.rglob("*.proven.json")
    value = json.loads(drill_outcome.read_text())
    assert abs(datetime.fromisoformat(value.pop("at")) - NOW) < timedelta(minutes=10)
    assert value == {
        "format": 1,
        "object": f"app/{newest(to).name}",
        "host": "test",
        "outcome": "proven",
        "reason": None,
    }


def test_failed_mark_replaces_proven_and_the_other_way_round(to: Path, staging: Path) -> None:
    """Only the last drill counts."""
    stem = newest(to).name.removesuffix(".sqlite3")
    drilled(to, staging)
    flip_bit(newest(to), 5000)
    drilled(to, staging)
    assert [drill_outcome.name for drill_outcome in marks(to)] == [f"{stem}.failed.json"]
    reason = json.loads((to / f"app/{stem}.failed.json").read_text())["reason"]
    assert "its sha256 is" in reason

    flip_bit(newest(to), 5000)
    drilled(to, staging)

    assert [drill_outcome.name for drill_outcome in marks(to)] == [f"{stem}.proven.json"]


def test_destination_that_refuses_writes_is_a_warning(
    to: Path, staging: Path, wrap_rclone: WrapRclone
) -> None:
    """The proof stands, and this host remembers it for the next rotation."""
    wrap_rclone(copy=REFUSES_WRITES)
    before, heard = contents(to), list[Event]()

    result = drilled(to, staging, heard)

    assert (result.outcome, result.exit_code) == ("proven", 0)
    assert "takes no drill records" in warnings(heard)
    assert "AccessDenied" in warnings(heard)
    assert contents(to) == before


def test_rotation_goes_round(to: Path, staging: Path, keeper: Keeper, tmp_path: Path) -> None:
    """Never drilled ones first, the oldest of them first; then whose drill is the longest ago."""
    set_back(to, 24)
    run_sql(tmp_path / "app.sqlite3", "INSERT INTO t (body) VALUES ('new')")
    assert keeper("backup", tmp_path / "app.sqlite3", "--to", to).status == 0
    names = sorted(path.name for path in (to / "app").glob("*.sqlite3"))
    assert len(names) == 2
    seen = []
    for _ in range(3):
        seen.append(str(drilled(to, staging, rotate=True).object).removeprefix("app/"))
        for drill_outcome in to.rglob("*.proven.json"):
            edit(drill_outcome, _an_hour_earlier)
    assert seen == [*names, names[0]]


def test_rotation_without_marks_uses_what_this_host_remembers(
    to: Path, staging: Path, keeper: Keeper, tmp_path: Path, wrap_rclone: WrapRclone
) -> None:
    """A read-only destination is not drilled at the same place for ever."""
    set_back(to, 24)
    run_sql(tmp_path / "app.sqlite3", "INSERT INTO t (body) VALUES ('new')")
    assert keeper("backup", tmp_path / "app.sqlite3", "--to", to).status == 0
    wrap_rclone(copy=REFUSES_WRITES)
    seen = {drilled(to, staging, rotate=True).object for _ in range(2)}
    assert len(seen) == 2


def test_snapshot_that_does_not_fit_is_not_downloaded(
    to: Path, staging: Path, mount: object
) -> None:
    """Room is checked first, and a lack of it says nothing of the snapshot."""
    assert callable(mount)
    small = mount("small", "64k")
    result = drilled(to, small)
    assert (result.outcome, result.exit_code) == ("failed", 1)
    assert "the drill needs" in str(result.reason)
    assert not list(to.rglob("*.failed.json"))


def test_object_that_cannot_be_decrypted_any_more_is_found(
    keeper: Keeper,
    make_database: MakeDatabase,
    staging: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    any_rclone: Path,
) -> None:
    """On a crypt remote a flipped bit comes as an error of rclone's, not as another sha256."""
    for key, value in {
        "TYPE": "crypt",
        "REMOTE": str(tmp_path / "vault"),
        "PASSWORD": "cVJ4yZMYZDUlMQeYvVzSCLRVrEJdBQg",
        "FILENAME_ENCRYPTION": "off",
    }.items():
        monkeypatch.setenv(f"RCLONE_CONFIG_SECRET_{key}", value)
    monkeypatch.setenv("RCLONE_RETRIES", "1")
    monkeypatch.setenv("RCLONE_LOW_LEVEL_RETRIES", "1")
    assert keeper("backup", make_database(rows=400), "--to", "secret:x").status == 0
    (stored,) = (tmp_path / "vault").rglob("*.sqlite3.bin")
    flip_bit(stored, stored.stat().st_size // 2)
    rclone = Rclone(find_rclone(None))
    options = DrillOptions(rclone, staging, tmp_path / "state", "test", partial(datetime.now, UTC))
    (result,) = drill([Subject("app")], [list_destination(rclone, "secret:x")], options)
    assert (result.outcome, result.exit_code) == ("failed", 12), result.reason


def _an_hour_earlier(drill_outcome: dict[str, str]) -> None:
    drill_outcome["at"] = (
        datetime.fromisoformat(drill_outcome["at"]) - timedelta(hours=1)
    ).isoformat()


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
