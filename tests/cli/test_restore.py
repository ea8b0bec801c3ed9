"""`keeper restore`: what a person at three in the morning relies on."""

import json
import os
from pathlib import Path

import pytest

from sqlitekeeper.database.files import sidecar
from tests.conftest import (
    S3,
    Beside,
    Keeper,
    MakeDatabase,
    OtherUser,
    WrapRclone,
    count_rows,
    in_folder,
    pragma,
)
from tests.database.replace.test_replace import IN_PLACE, crash_with_wal


@pytest.fixture
def shipped(keeper: Keeper, make_database: MakeDatabase, tmp_path: Path) -> Path:
    """A database of 50 rows in WAL mode with one snapshot at ./dest."""
    path = make_database(rows=50)
    assert keeper("backup", path, "--to", "dest").status == 0
    return path


def the_object(tmp_path: Path, suffix: str = ".sqlite3") -> Path:
    """The one snapshot at ./dest, or its manifest."""
    (found,) = (p for p in (tmp_path / "dest/app").glob(f"app-*{suffix}"))
    return found


def grow(path: Path) -> None:
    """Put one more row in."""
    import apsw

    connection = apsw.Connection(str(path))
    connection.execute("INSERT INTO t (body) VALUES (zeroblob(900))").fetchall()
    connection.close()


def test_lost_database_comes_back_with_its_wal_mode(
    keeper: Keeper, shipped: Path, any_rclone: Path
) -> None:
    """A snapshot is in rollback-journal mode; the application expects what it had."""
    shipped.unlink()

    run = keeper("restore", shipped, "--from", "dest", "--json")

    assert run.status == 0
    assert count_rows(shipped) == 50
    assert pragma(shipped, "journal_mode") == "wal"
    assert run.json["path"] == str(shipped)
    assert run.json["outcome"] == "restored"
    assert run.json["set_aside"] == []


def test_rollback_journal_database_stays_one(keeper: Keeper, make_database: MakeDatabase) -> None:
    """WAL mode only where the source had it."""
    path = make_database(journal_mode="delete")
    keeper("backup", path, "--to", "dest")
    path.unlink()

    assert keeper("restore", path, "--from", "dest").status == 0

    assert pragma(path, "journal_mode") == "delete"


def test_restore_from_s3(
    keeper: Keeper, make_database: MakeDatabase, s3: S3, any_rclone: Path
) -> None:
    """From a bucket, on a host that knows nothing but the remote."""
    path = make_database(rows=20)
    assert keeper("backup", path, "--to", f"{s3.to}/host").status == 0
    bare = {"KEEPER_STATE": str(path.parent / "another-state")}

    run = keeper("restore", "app", "--from", f"{s3.to}/host", "--to", "fresh.db", env=bare)

    assert run.status == 0
    assert count_rows(path.with_name("fresh.db")) == 20


def test_existing_database_is_not_touched_without_replace(keeper: Keeper, shipped: Path) -> None:
    """Nothing is downloaded, nothing changes, and the way out is named."""
    before = shipped.read_bytes()

    run = keeper("restore", shipped, "--from", "dest")

    assert run.status == 1
    assert "--replace" in run.err
    assert shipped.read_bytes() == before


def test_replace_sets_aside_and_undo_brings_back(keeper: Keeper, shipped: Path) -> None:
    """The row that came after the backup is back after the undo."""
    grow(shipped)

    replaced = keeper("restore", shipped, "--from", "dest", "--replace")
    assert replaced.status == 0
    assert count_rows(shipped) == 50
    assert f"keeper restore {shipped} --undo" in replaced.out

    assert keeper("restore", shipped, "--undo").status == 0
    assert count_rows(shipped) == 51

    assert keeper("restore", shipped, "--undo").status == 0
    assert count_rows(shipped) == 50


@pytest.mark.parametrize("role", ["idle", "read", "write"])
def test_open_database_is_never_replaced(
    keeper: Keeper, shipped: Path, beside: Beside, role: str
) -> None:
    """The process that has it open is named."""
    companion = beside(role, shipped)

    run = keeper("restore", shipped, "--from", "dest", "--replace")

    assert run.status == 1
    assert f"pid {companion.pid}" in run.err
    companion.end()
    assert count_rows(shipped) == 50


@pytest.mark.parametrize("flags", [(), ("--replace",), ("--undo",)])
def test_deleted_database_that_is_still_open_is_not_replaced(
    keeper: Keeper, shipped: Path, beside: Beside, wrap_rclone: WrapRclone, flags: tuple[str, ...]
) -> None:
    """Its application has the only copy of what it commits; nothing is downloaded."""
    assert keeper("restore", shipped, "--from", "dest", "--replace").status == 0
    writer = beside("write", shipped)
    shipped.unlink()
    wal = sidecar(shipped, "-wal").stat().st_ino
    wrap_rclone(copy="exit 9")

    run = keeper("restore", shipped, "--from", in_folder("dest"), *flags)

    assert run.status == 1
    assert f"was deleted, and is still open in pid {writer.pid} " in run.err
    assert not shipped.exists()
    assert sidecar(shipped, "-wal").stat().st_ino == wal
    writer.end()


def test_undo_is_not_offered_where_there_is_nothing_to_undo(keeper: Keeper, shipped: Path) -> None:
    """A WAL without its database is kept, but nobody can bring it back."""
    shipped.unlink()
    sidecar(shipped, "-wal").write_bytes(b"forgotten")

    run = keeper("restore", shipped, "--from", "dest")

    assert run.status == 0
    (kept,) = shipped.parent.glob("app.sqlite3.before-*-wal")
    assert str(kept) in run.out
    assert "--undo" not in run.out


def test_damaged_database_is_replaced_and_comes_back_as_it_was(
    keeper: Keeper, shipped: Path
) -> None:
    """Its last commit is in the WAL, and whoever salvages it needs both."""
    crash_with_wal(shipped, 1, IN_PLACE)
    with shipped.open("r+b") as file:
        file.write(b"X")
    wal = sidecar(shipped, "-wal")
    before = (shipped.read_bytes(), wal.read_bytes())

    run = keeper("restore", shipped, "--from", "dest", "--replace", "--assume-stopped", "--json")

    assert run.status == 0
    assert count_rows(shipped) == 50
    kept = [Path(path) for path in run.json["set_aside"]]
    assert [path.read_bytes() for path in kept[:2]] == list(before)

    assert keeper("restore", shipped, "--undo").status == 0
    assert (shipped.read_bytes(), wal.read_bytes()) == before


@pytest.mark.parametrize("flags", [(), ("--replace",)])
def test_database_that_appears_during_the_download_needs_replace_too(
    keeper: Keeper,
    shipped: Path,
    make_database: MakeDatabase,
    wrap_rclone: WrapRclone,
    flags: tuple[str, ...],
) -> None:
    """Its application was started meanwhile; what counts is what is there in the end."""
    shipped.unlink()
    born = make_database("born.sqlite3", rows=3).read_bytes()
    wrap_rclone(copy=f'cp "{shipped.parent}/born.sqlite3" "{shipped}"')

    run = keeper("restore", shipped, "--from", in_folder("dest"), *flags)

    kept = [path.read_bytes() for path in shipped.parent.glob("app.sqlite3.before-*")]
    if flags:
        assert (run.status, kept) == (0, [born])
        assert count_rows(shipped) == 50
    else:
        assert (run.status, kept) == (1, [])
        assert "exists already, left as it is (--replace sets it aside first" in run.err
        assert shipped.read_bytes() == born


@pytest.mark.parametrize("name", ["aside", "part", "back", "downloads", "workshop"])
def test_any_name_of_a_database_will_do(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path, name: str
) -> None:
    """Those that keeper uses itself in its own folder included."""
    path = make_database(name, rows=50)
    assert keeper("backup", f"./{name}", "--to", "dest").status == 0
    crash_with_wal(path, 5)

    replaced = keeper("restore", f"./{name}", "--from", "dest", "--replace")
    assert replaced.status == 0, replaced.err
    assert count_rows(path) == 50

    undone = keeper("restore", f"./{name}", "--undo")
    assert undone.status == 0, undone.err
    assert count_rows(path) == 55


def test_owner_and_mode_of_the_replaced_file_are_kept(keeper: Keeper, shipped: Path) -> None:
    """root restores, and the application can still open its database."""
    if os.geteuid() != 0:
        pytest.skip("needs root to give files away")
    os.chown(shipped, 12345, 12346)
    shipped.chmod(0o640)

    assert keeper("restore", shipped, "--from", "dest", "--replace").status == 0

    facts = shipped.stat()
    assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o777) == (12345, 12346, 0o640)


def test_new_file_of_root_goes_to_the_owner_of_the_folder(
    keeper: Keeper, shipped: Path, tmp_path: Path
) -> None:
    """And to nobody else."""
    if os.geteuid() != 0:
        pytest.skip("needs root to give files away")
    folder = tmp_path / "application"
    folder.mkdir()
    os.chown(folder, 12345, 12346)

    assert keeper("restore", "app", "--from", "dest", "--to", f"{folder}/").status == 0

    facts = (folder / "app.sqlite3").stat()
    assert (facts.st_uid, facts.st_gid) == (12345, 12346)


def test_lost_file_comes_back_with_its_mode(keeper: Keeper, make_database: MakeDatabase) -> None:
    """Whoever reads through the group goes on doing so."""
    path = make_database(rows=5)
    path.chmod(0o660)
    assert keeper("backup", path, "--to", "dest").status == 0
    path.unlink()

    assert keeper("restore", path, "--from", "dest").status == 0

    assert path.stat().st_mode & 0o777 == 0o660


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.999])
def test_flipped_bit_is_found_and_nothing_is_put_in_place(
    keeper: Keeper, shipped: Path, tmp_path: Path, share: float
) -> None:
    """Wherever in the object it is."""
    snapshot = the_object(tmp_path)
    content = bytearray(snapshot.read_bytes())
    content[int(share * len(content))] ^= 1
    snapshot.write_bytes(content)

    run = keeper("restore", "app", "--from", "dest", "--to", "out.db")

    assert run.status == 12
    assert "sha256" in run.err
    assert not (tmp_path / "out.db").exists()
    assert not list(tmp_path.glob("keeper-staging-*"))


def test_damaged_snapshot_names_the_next_one(keeper: Keeper, shipped: Path, tmp_path: Path) -> None:
    """At three in the morning nobody wants to look for it."""
    older = the_object(tmp_path).name
    assert keeper("drill", "app", "--from", "dest").status == 0
    grow(shipped)
    newest = keeper("backup", shipped, "--to", "dest", "--json").entry["shipped"][0]["object"]
    (tmp_path / "dest" / newest).write_bytes(b"rubbish")

    run = keeper("restore", "app", "--from", "dest", "--to", "out.db")

    assert run.status == 12
    assert f"(try --at {older}, the next older one, whose last drill passed)" in run.err
    assert keeper("restore", "app", "--from", "dest", "--to", "out.db", "--at", older).status == 0
    assert count_rows(tmp_path / "out.db") == 50


def test_copy_that_a_drill_found_damaged_is_tried_last(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """The other destination's copy is downloaded first, so there is nothing to warn of."""
    path = make_database(rows=50)
    keeper("backup", path, "--to", "dest", "--to", "second")
    the_object(tmp_path).write_bytes(b"rubbish")
    assert keeper("drill", "app", "--from", "dest").status == 12

    run = keeper("restore", "app", "--from", "dest", "--from", "second", "--to", "out.db")

    assert run.status == 0
    assert "warning" not in run.err


def test_destination_that_does_not_answer_is_told(
    keeper: Keeper, shipped: Path, tmp_path: Path
) -> None:
    """It may have a newer snapshot."""
    run = keeper("restore", "app", "--from", "gone:x", "--from", "dest", "--to", "out.db")

    assert run.status == 0
    assert "warning" in run.err
    assert "gone:x" in run.err


def test_older_snapshot_is_not_proposed_while_a_destination_does_not_answer(
    keeper: Keeper, shipped: Path, tmp_path: Path
) -> None:
    """The wanted one may be sound there."""
    grow(shipped)
    newest = keeper("backup", shipped, "--to", "dest", "--json").entry["shipped"][0]["object"]
    (tmp_path / "dest" / newest).write_bytes(b"rubbish")

    run = keeper("restore", "app", "--from", "gone:x", "--from", "dest", "--to", "out.db")

    assert run.status == 12
    assert "gone:x did not answer, and may have a sound copy" in run.err
    assert "--at" not in run.err


@pytest.mark.parametrize("order", [("dest", "second"), ("second", "dest")])
def test_copy_that_could_not_be_fetched_may_be_sound(
    keeper: Keeper,
    make_database: MakeDatabase,
    tmp_path: Path,
    wrap_rclone: WrapRclone,
    order: tuple[str, str],
) -> None:
    """Whichever comes first, the damage of the other one is not the last word."""
    keeper("backup", make_database(rows=50), "--to", "dest", "--to", "second")
    the_object(tmp_path).write_bytes(b"rubbish")
    words = "connection reset by peer"
    wrap_rclone(copy=f'case "$from" in */second/*) echo "{words}" >&2; exit 9;; esac')
    froms = [word for one in order for word in ("--from", in_folder(one, tmp_path))]

    run = keeper("restore", "app", *froms, "--to", "out.db")

    assert run.status == 1
    assert words in run.err
    assert "its manifest says" in run.err


def test_truncated_object_is_found(keeper: Keeper, shipped: Path, tmp_path: Path) -> None:
    """Its manifest knows how long it was."""
    snapshot = the_object(tmp_path)
    os.truncate(snapshot, 4096)

    run = keeper("restore", "app", "--from", "dest", "--to", "out.db")

    assert run.status == 12
    assert "4096 bytes" in run.err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tables": {"t": 51}}, "table t: 50 rows, its manifest says 51"),
        ({"format": 2}, "upgrade keeper"),
        ({"tables": ["t"]}, "manifest"),
        ({"database": "other"}, "no snapshot of"),
        ({"snapshot": {"object": "../../etc/passwd", "bytes": 1, "sha256": "0" * 64}}, "passwd"),
    ],
)
def test_manifest_that_lies_is_not_believed(
    keeper: Keeper, shipped: Path, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    """Whatever it claims, nothing is put in place."""
    manifest = the_object(tmp_path, ".json")
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))

    run = keeper("restore", "app", "--from", "dest", "--to", "out.db")

    assert run.status in (1, 12)
    assert said in run.err
    assert not (tmp_path / "out.db").exists()


def test_sound_copy_at_another_destination_is_taken(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """One damaged destination does not stop a restore, and is told."""
    path = make_database(rows=50)
    keeper("backup", path, "--to", "dest", "--to", "second")
    the_object(tmp_path).write_bytes(b"rubbish")

    run = keeper("restore", "app", "--from", "dest", "--from", "second", "--to", "out.db")

    assert run.status == 0
    assert "warning" in run.err
    assert count_rows(tmp_path / "out.db") == 50


def test_snapshot_without_manifest_needs_to_be_asked_for(
    keeper: Keeper, shipped: Path, tmp_path: Path
) -> None:
    """No manifest, no snapshot; --no-manifest checks integrity only."""
    the_object(tmp_path, ".json").unlink()

    refused = keeper("restore", "app", "--from", "dest", "--to", "out.db")
    assert refused.status == 1
    assert not (tmp_path / "out.db").exists()

    taken = keeper("restore", "app", "--from", "dest", "--to", "out.db", "--no-manifest")
    assert taken.status == 0
    assert count_rows(tmp_path / "out.db") == 50


def test_damaged_manifest_does_not_keep_a_sound_snapshot_away(
    keeper: Keeper, shipped: Path, tmp_path: Path
) -> None:
    """--no-manifest also means one that cannot be used."""
    the_object(tmp_path, ".json").write_bytes(b"")

    assert keeper("restore", "app", "--from", "dest", "--to", "out.db").status == 1
    run = keeper("restore", "app", "--from", "dest", "--to", "out.db", "--no-manifest")

    assert run.status == 0
    assert "is not JSON" in run.err
    assert count_rows(tmp_path / "out.db") == 50


def test_time_means_the_newest_not_after_it(keeper: Keeper, shipped: Path, tmp_path: Path) -> None:
    """A time before the first snapshot is refused with what there is."""
    run = keeper("restore", "app", "--from", "dest", "--to", "out.db", "--at", "2020-01-01")

    assert run.status == 1
    assert the_object(tmp_path).name in run.err


def test_unreachable_destination_is_a_failure(keeper: Keeper, tmp_path: Path) -> None:
    """rclone's own words, and nothing left behind."""
    run = keeper("restore", "app", "--from", "nosuch:bucket", "--to", "out.db")

    assert run.status == 1
    assert "nosuch" in run.err


def test_name_without_a_path_says_how_to_go_on(keeper: Keeper, shipped: Path) -> None:
    """A lost file in the working folder cannot be told from a name."""
    run = keeper("restore", "lost.db", "--from", "dest")

    assert run.status == 2
    assert "./lost.db" in run.err


@pytest.fixture
def shipped_by_other(other_user: OtherUser) -> Path:
    """A database of somebody else's with a snapshot, both in their own folder."""
    path = other_user.folder / "app.sqlite3"
    assert other_user.keeper("init", path).status == 0
    assert other_user.keeper("backup", path, "--to", other_user.folder / "dest").status == 0
    return path


def test_owner_restores_without_being_root(shipped_by_other: Path, other_user: OtherUser) -> None:
    """The mode stays, the file stays theirs."""
    shipped_by_other.chmod(0o640)

    run = other_user.keeper(
        "restore", shipped_by_other, "--from", other_user.folder / "dest", "--replace"
    )

    assert run.status == 0, run.err
    facts = shipped_by_other.stat()
    assert (facts.st_uid, facts.st_mode & 0o777) == (other_user.uid, 0o640)


def test_file_of_somebody_else_is_not_replaced_by_one_of_ours(
    shipped_by_other: Path, other_user: OtherUser
) -> None:
    """Its owner could not open it any more; nothing changes."""
    os.chown(shipped_by_other, 12345, 12346)
    before = shipped_by_other.read_bytes()

    run = other_user.keeper(
        "restore", shipped_by_other, "--from", other_user.folder / "dest", "--replace"
    )

    assert run.status == 1
    assert "run keeper as root, or as the owner" in run.err
    assert shipped_by_other.read_bytes() == before
    assert shipped_by_other.stat().st_uid == 12345


@pytest.mark.parametrize(
    ("to", "status", "said"),
    [
        ("", 2, "--to is empty"),
        ("live.db-wal", 2, "is the name of what SQLite keeps beside a database"),
        ("pipe", 1, "is not a regular file"),
    ],
)
def test_what_is_no_place_for_a_database_is_left_alone(
    keeper: Keeper, shipped: Path, tmp_path: Path, to: str, status: int, said: str
) -> None:
    """A variable that is not set, a live database's WAL, somebody's pipe."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "live.db-wal").write_text("transactions")
    before = sorted(tmp_path.iterdir())

    run = keeper("restore", "app", "--from", "dest", "--to", to, "--replace")

    assert (run.status, said in run.err) == (status, True)
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "live.db-wal").read_text() == "transactions"


def lose_rows(keeper: Keeper, path: Path) -> None:
    """Ship a new, nearly empty database over what was shipped."""
    import apsw

    connection = apsw.Connection(str(path))
    connection.execute("DELETE FROM t WHERE id > 2").fetchall()
    connection.close()
    assert keeper("backup", path, "--to", "dest").status == 12


def test_what_was_lost_does_not_come_back_unasked(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Without --at a snapshot on hold is refused with 12, and the last one before is named."""
    path = make_database(rows=400)
    assert keeper("backup", path, "--to", "dest").status == 0
    before = the_object(tmp_path).name
    lose_rows(keeper, path)
    assert keeper("backup", path, "--to", "dest").status == 12
    target = tmp_path / "back.sqlite3"

    run = keeper("restore", path, "--from", "dest", "--to", target)

    assert (run.status, target.exists()) == (12, False)
    assert "t fell from 400 rows to 2" in run.err
    assert f"the same command with --at {before}" in run.err
    assert keeper("restore", path, "--from", "dest", "--to", target, "--at", before).status == 0
    assert count_rows(target) == 400


def test_what_was_lost_comes_back_by_name(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """With --at latest a person has chosen it."""
    path = make_database(rows=400)
    assert keeper("backup", path, "--to", "dest").status == 0
    lose_rows(keeper, path)
    target = tmp_path / "back.sqlite3"

    run = keeper("restore", path, "--from", "dest", "--to", target, "--at", "latest")

    assert (run.status, count_rows(target)) == (0, 2)


def test_an_accepted_loss_comes_back_unasked(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """latest.json says that it is over, whatever the snapshot's own manifest says."""
    path = make_database(rows=400)
    assert keeper("backup", path, "--to", "dest").status == 0
    lose_rows(keeper, path)
    assert keeper("backup", path, "--to", "dest", "--accept-loss", "app").status == 0
    target = tmp_path / "back.sqlite3"

    assert keeper("restore", path, "--from", "dest", "--to", target).status == 0
    assert count_rows(target) == 2
