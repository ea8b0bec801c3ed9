"""Syncing folders beside the databases, with real rclone."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sqlitekeeper.config import FileSet
from sqlitekeeper.events import Event, Level, Note
from sqlitekeeper.files.run import FilesOptions, FilesResult, sync_files
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.program import find_rclone
from tests.conftest import (
    S3,
    Beside,
    MakeDatabase,
    OtherUser,
    WrapRclone,
    contents,
    needs_root,
)


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    """A folder with 20 files in two folders."""
    folder = tmp_path / "uploads"
    for index in range(20):
        file = folder / str(index % 2) / f"{index:02}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"picture {index}")
    return folder


Sync = Callable[..., FilesResult]


@pytest.fixture
def sync(tmp_path: Path, uploads: Path) -> Sync:
    """Sync the folder to tmp_path/there; what a job or the options have can be given."""

    def run(
        *,
        to: str | None = None,
        path: Path = uploads,
        rclone_args: tuple[str, ...] = (),
        databases: tuple[Path, ...] = (),
        dry_run: bool = False,
        force: bool = False,
        on_event: Callable[[Event], None] = lambda event: None,
        **job: object,
    ) -> FilesResult:
        options = FilesOptions(
            Rclone(find_rclone(None), rclone_args),
            tmp_path / "state",
            databases=databases,
            dry_run=dry_run,
            force=force,
        )
        one = FileSet("uploads", path, to or str(tmp_path / "there"), **job)  # type: ignore[arg-type]
        (result,) = sync_files([one], options, on_event)
        return result

    return run


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The destination."""
    return tmp_path / "there"


def remove(folder: Path, count: int) -> None:
    for file in sorted(path for path in folder.rglob("*") if path.is_file())[:count]:
        file.unlink()


# What is synced


def test_destination_holds_what_the_folder_holds(
    sync: Sync, uploads: Path, there: Path, any_rclone: Path
) -> None:
    """New, changed and deleted files, each counted, and nothing twice."""
    first = sync()
    (uploads / "0" / "00.jpg").write_text("another picture")
    (uploads / "1" / "01.jpg").unlink()
    (uploads / "new.jpg").write_text("new")
    second = sync()
    third = sync()

    assert (first.outcome, first.files_before, first.uploaded_files) == ("synced", 0, 20)
    assert first.uploaded_bytes == first.bytes == 190
    assert (second.outcome, second.reason, second.exit_code) == ("synced", None, 0)
    assert (second.files, second.files_before, second.deleted_files) == (20, 20, 1)
    assert (second.uploaded_files, second.uploaded_bytes) == (2, 18)
    assert (third.files, third.uploaded_files, third.deleted_files) == (20, 0, 0)
    assert contents(there) == contents(uploads)


def test_file_of_the_same_size_is_uploaded_when_it_is_newer(
    sync: Sync, uploads: Path, there: Path, any_rclone: Path
) -> None:
    """Only what would be deleted is found out by size alone."""
    sync()
    (uploads / "0" / "00.jpg").write_text("PICTURE 0")

    assert sync().uploaded_files == 1
    assert contents(there) == contents(uploads)


def test_databases_are_left_out_with_what_lies_beside_them(
    sync: Sync, uploads: Path, there: Path, make_database: MakeDatabase, beside: Beside
) -> None:
    """By content, while an application writes; and the files of like names are not."""
    database = make_database("uploads/0/holiday.jpg")
    writer = beside("write", database)
    (uploads / "0" / "holiday.jpg-journal").write_text("x")
    (uploads / "0" / "holiday.jpg-walrus").write_text("x")
    (uploads / "0" / "00.jpg-wal").write_text("a file that happens to be called so")

    result = sync()
    writer.end()

    assert result.left_out == ("0/holiday.jpg",)
    assert {"0/holiday.jpg-walrus", "0/00.jpg-wal"} < contents(there).keys()
    assert len(contents(there)) == result.files == 22


def test_configured_databases_are_left_out_even_if_empty(
    sync: Sync, uploads: Path, there: Path
) -> None:
    """Their header is not written yet."""
    database = uploads / "production.sqlite3"
    database.touch()
    (uploads / "production.sqlite3-wal").touch()

    result = sync(databases=(database,))

    assert result.left_out == ("production.sqlite3",)
    assert len(contents(there)) == 20


def test_database_that_was_synced_as_a_file_stays_where_it_is(
    sync: Sync, uploads: Path, there: Path, make_database: MakeDatabase, any_rclone: Path
) -> None:
    """What is left out is not deleted, even where rclone's arguments ask for it."""
    (uploads / "app.db").write_text("not yet a database")
    sync()
    (uploads / "app.db").unlink()
    make_database("uploads/app.db")

    result = sync(rclone_args=("--delete-excluded",))

    assert (result.left_out, result.deleted_files) == (("app.db",), 0)
    assert (there / "app.db").read_text() == "not yet a database"


def test_users_patterns_are_rclones_own(sync: Sync, uploads: Path, there: Path) -> None:
    """With ** and alternatives; what is excluded is not counted."""
    (uploads / "tmp" / "deep").mkdir(parents=True)
    (uploads / "tmp" / "deep" / "x").touch()

    result = sync(exclude=("tmp/**", "*0{0,2}.jpg"))

    assert result.files == len(contents(there)) == 18
    assert not {"tmp/deep/x", "0/00.jpg", "0/02.jpg"} & contents(there).keys()


def test_symlinks_are_told_and_not_followed(
    sync: Sync, uploads: Path, there: Path, tmp_path: Path, any_rclone: Path
) -> None:
    """Not even with rclone's --copy-links: a database might be behind one."""
    (tmp_path / "elsewhere").write_text("x")
    (uploads / "link.jpg").symlink_to(tmp_path / "elsewhere")
    said: list[Event] = []

    result = sync(on_event=said.append, rclone_args=("--copy-links",))

    assert (result.outcome, result.links, result.files) == ("synced", 1, 20)
    assert not (there / "link.jpg").exists()
    assert any(isinstance(note, Note) and note.level == Level.WARNING for note in said)


def test_folder_may_be_named_by_a_symlink(
    sync: Sync, uploads: Path, there: Path, tmp_path: Path
) -> None:
    """As Capistrano's `current` is."""
    (tmp_path / "current").symlink_to(uploads)

    assert sync(path=tmp_path / "current").files == 20
    assert contents(there) == contents(uploads)


def test_any_name_arrives_once(sync: Sync, uploads: Path, s3: S3, any_rclone: Path) -> None:
    """What rclone has to write in another way is neither uploaded again nor deleted."""
    names = [b"caf\xe9", b"new\nline", b"trail ", b" lead", b"[x]{y}*?", b"back\\slash", b"#a,b"]
    for name in names:
        (uploads / os.fsdecode(name)).touch()

    first = sync(to=f"{s3.to}/files")
    second = sync(to=f"{s3.to}/files")

    assert (first.outcome, first.uploaded_files) == ("synced", 27)
    assert (second.outcome, second.uploaded_files, second.deleted_files) == ("synced", 0, 0)
    assert second.files_before == 27


# What is never deleted


@pytest.mark.parametrize("kind", ["missing", "empty", "all excluded", "a file", "databases only"])
def test_folder_without_files_is_a_failure(
    sync: Sync, uploads: Path, there: Path, make_database: MakeDatabase, kind: str
) -> None:
    """A vanished mount must not empty the backup, whatever is forced."""
    sync()
    before = contents(there)
    if kind != "all excluded":
        uploads.rename(uploads.with_name("moved"))
    if kind == "empty":
        uploads.mkdir()
    elif kind == "a file":
        uploads.touch()
    elif kind == "databases only":
        make_database("uploads/app.db")

    result = sync(force=True, exclude=("**",) if kind == "all excluded" else ())

    assert (result.outcome, result.exit_code, result.deleted_files) == ("failed", 1, 0)
    assert str(uploads) in str(result.reason)
    assert "mounted" in str(result.reason)
    assert contents(there) == before


def test_more_deletions_than_allowed_are_refused_before_the_first(
    sync: Sync, uploads: Path, there: Path, any_rclone: Path
) -> None:
    """Neither are new files uploaded: the run says why, and how to go on."""
    sync()
    before = contents(there)
    remove(uploads, 3)
    (uploads / "new.jpg").touch()

    refused = sync()

    assert contents(there) == before
    assert (refused.outcome, refused.exit_code) == ("failed", 1)
    assert f"would delete 3 of 20 files at {there}, more than the 2" in str(refused.reason)
    assert "keeper files uploads --force" in str(refused.reason)
    assert (refused.would_delete_files, refused.deleted_files) == (3, 0)

    forced = sync(force=True)

    assert (forced.outcome, forced.deleted_files, forced.uploaded_files) == ("synced", 3, 1)
    assert contents(there) == contents(uploads)


@pytest.mark.parametrize(
    ("files", "percent", "there", "most"),
    [
        (1000, 10, 0, 0),
        (1000, 10, 1, 1),
        (1000, 10, 20, 2),
        (1000, 10, 21, 3),
        (1000, 10, 1_000_000, 1000),
        (5, 100, 3, 3),
        (5, 100, 30, 5),
        (0, 100, 30, 0),
        (None, 2.5, 1_000_000, 25_000),
        (None, 1.1, 3000, 33),
        (None, 0, 30, 0),
        (None, 100, 30, 30),
    ],
)
def test_limit_is_the_smaller_of_both(
    files: int | None, percent: float, there: int, most: int
) -> None:
    """A part of a file counts as one, so that a small folder can change."""
    job = FileSet("x", Path("/x"), "b2:x", (), files, percent)

    assert job.most_deletions(there) == most


def test_what_appears_at_the_destination_meanwhile_is_safe_too(
    sync: Sync, there: Path, wrap_rclone: WrapRclone
) -> None:
    """rclone itself has the limit as well: it stops there."""
    sync()
    more = "".join(f'touch "{there}/late{index}";' for index in range(5))
    wrap_rclone(sync=f'case "$*" in *--size-only*) ;; *) {more} ;; esac')

    result = sync()

    assert (result.outcome, result.exit_code) == ("failed", 1)
    assert "stopped after deleting the 2 that max_delete allows" in str(result.reason)
    assert result.deleted_files == 2
    assert len([name for name in contents(there) if "late" in name]) == 3


def test_rclone_that_does_not_say_what_it_would_delete_deletes_nothing(
    sync: Sync, uploads: Path, there: Path, tmp_path: Path
) -> None:
    """Its log may have been sent elsewhere."""
    sync()
    remove(uploads, 1)

    result = sync(rclone_args=("--log-file", str(tmp_path / "log")))

    assert result.outcome == "failed"
    assert "does not say" in str(result.reason)
    assert len(contents(there)) == 20


def test_rclone_arguments_do_not_make_a_rehearsal_of_it(sync: Sync, there: Path) -> None:
    """What is reported as uploaded is there."""
    assert sync(rclone_args=("--dry-run",)).uploaded_files == 20
    assert len(contents(there)) == 20


# What cannot be done


@needs_root
@pytest.mark.parametrize("kind", ["folder", "file", "excluded folder"])
def test_what_cannot_be_read_fails_while_the_rest_is_uploaded(
    other_user: OtherUser, uploads: Path, any_rclone: Path, kind: str
) -> None:
    """Nothing is deleted then, whatever rclone's arguments; what is excluded is of no account."""
    folder = other_user.folder
    shutil.copytree(uploads, folder / "uploads")
    (folder / "there").mkdir()
    (folder / "there" / "gone").touch()
    # The program beside Python may lie where nobody else may look.
    shutil.copy(any_rclone, folder / "rclone")
    (folder / "keeper.toml").write_text(
        f"rclone = '{folder}/rclone'\n[backup]\nrclone_args = ['--ignore-errors']\n"
        "[[files]]\nname = 'uploads'\npath = 'uploads'\nto = 'there'\n"
        f"exclude = {['/closed/**'] if kind == 'excluded folder' else []}\n"
    )
    subprocess.run(["chown", "-R", str(other_user.uid), folder], check=True)
    if kind == "file":
        (folder / "uploads" / "closed").touch(mode=0o600)
    else:
        (folder / "uploads" / "closed").mkdir(mode=0o700)

    run = other_user.keeper("files", "--json", "--config", folder / "keeper.toml")

    (entry,) = run.json["files"]
    assert entry["uploaded_files"] == 20
    if kind == "excluded folder":
        assert (run.status, entry["outcome"], entry["deleted_files"]) == (0, "synced", 1)
    else:
        assert (run.status, entry["outcome"], entry["deleted_files"]) == (1, "failed", 0)
        assert "closed" in entry["reason"]
        assert "permission denied" in entry["reason"]
        assert (folder / "there" / "gone").exists()


def test_destination_that_does_not_answer_is_a_failure(sync: Sync) -> None:
    """In rclone's own words."""
    result = sync(to="nowhere:files")

    assert (result.outcome, result.exit_code) == ("failed", 1)
    assert "rclone listremotes" in str(result.reason)


def test_bad_pattern_is_a_failure_in_rclones_words(sync: Sync, there: Path) -> None:
    """Nothing is synced without it."""
    result = sync(exclude=("{x",))

    assert result.outcome == "failed"
    assert "{x" in str(result.reason)
    assert not there.exists()


def test_one_that_fails_does_not_stop_the_others(
    tmp_path: Path, uploads: Path, there: Path
) -> None:
    """Each has a result of its own, in the order in which they were given."""
    jobs = [
        FileSet("gone", tmp_path / "gone", str(tmp_path / "there-gone")),
        FileSet("uploads", uploads, str(there)),
    ]

    results = sync_files(jobs, FilesOptions(Rclone(find_rclone(None)), tmp_path / "state"))

    assert [(one.name, one.outcome) for one in results] == [
        ("gone", "failed"),
        ("uploads", "synced"),
    ]
    assert len(contents(there)) == 20


def test_dry_run_changes_nothing_and_says_what_a_run_would_do(
    sync: Sync, uploads: Path, there: Path, tmp_path: Path, any_rclone: Path
) -> None:
    """Also what has the same size; not even keeper's state is made."""
    sync()
    before = contents(there)
    remove(uploads, 1)
    (uploads / "1" / "01.jpg").write_text("PICTURE 1")
    (uploads / "new.jpg").write_text("new")

    result = sync(dry_run=True)

    assert contents(there) == before
    assert (result.outcome, result.exit_code, result.uploaded_files) == ("skipped", 0, 0)
    assert (result.would_upload_files, result.would_upload_bytes) == (2, 12)
    assert (result.would_delete_files, result.files_before, result.deleted_files) == (1, 20, 0)
    assert result.reason == (
        f"dry run: would upload 2 files (12 Bytes) to {there} and delete 1 of 20 there"
    )


# At a remote


def test_a_remote_is_listed_whole(sync: Sync, uploads: Path, s3: S3) -> None:
    """Not folder by folder, which is billed for each; and nothing is uploaded twice."""
    for index in range(12):
        (uploads / f"{index:02}" / "deep").mkdir(parents=True)
        (uploads / f"{index:02}" / "deep" / "x").write_text("x")

    first = sync(to=f"{s3.to}/files")
    s3.forget_calls()
    (uploads / "new").touch()
    second = sync(to=f"{s3.to}/files")

    assert (first.outcome, first.uploaded_files, first.files) == ("synced", 32, 32)
    assert contents(s3.folder / "files") == contents(uploads)
    assert (second.outcome, second.uploaded_files, second.files_before) == ("synced", 1, 32)
    assert s3.calls().count("LIST BUCKET") <= 4
    # Times of modification are asked for once, and not to find out what would be deleted.
    assert s3.calls().count("HEAD OBJECT") < 40
    assert s3.calls().count("CREATE OBJECT") == 1
    assert not {"CREATE BUCKET", "DELETE"} & set(s3.calls())


def test_a_remote_is_guarded_too(sync: Sync, uploads: Path, s3: S3, any_rclone: Path) -> None:
    """The limit is told from its own listing."""
    sync(to=f"{s3.to}/files")
    remove(uploads, 3)

    refused = sync(to=f"{s3.to}/files")
    remaining = len(contents(s3.folder / "files"))
    allowed = sync(to=f"{s3.to}/files", max_delete_files=3, max_delete_percent=100.0)

    assert (refused.outcome, remaining) == ("failed", 20)
    assert (allowed.outcome, allowed.deleted_files) == ("synced", 3)
    assert contents(s3.folder / "files") == contents(uploads)


@contextmanager
def writer(path: Path, mode: str) -> Iterator[None]:
    """Another process that writes to a file without pause."""
    program = (
        "import sys, time\nf = open(sys.argv[1], sys.argv[2], buffering=0)\nprint(flush=True)\n"
    )
    program += "while True: f.seek(9); f.write(b'x' * 50); time.sleep(0.0005)"
    with subprocess.Popen(
        [sys.executable, "-c", program, path, mode], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


@pytest.mark.parametrize("where", ["folder", "s3"])
@pytest.mark.parametrize("mode", ["ab", "r+b"])
def test_file_that_changes_all_the_time_is_there_all_the_same(
    sync: Sync, uploads: Path, there: Path, s3: S3, any_rclone: Path, where: str, mode: str
) -> None:
    """rclone gives it up, and may delete the copy that was there; deletions are made too."""
    target, to = (s3.folder / "u", f"{s3.to}/u") if where == "s3" else (there, str(there))
    busy = uploads / "0" / "00.jpg"
    assert sync(to=to).outcome == "synced"
    (uploads / "1" / "01.jpg").unlink()

    with writer(busy, mode):
        result = sync(to=to)

    assert (result.outcome, result.exit_code) == ("synced", 0), result.reason
    assert (target / "0" / "00.jpg").read_bytes().startswith(b"picture 0")
    assert not (target / "1" / "01.jpg").exists()
