"""Small files from a destination and to it, with real rclone."""

from pathlib import Path

import pytest

from sqlitekeeper.destination.destination import list_destination
from sqlitekeeper.destination.manifest import MAX_MANIFEST_BYTES, ManifestError, encode
from sqlitekeeper.destination.metadata import (
    fetch_manifests,
    fetch_metadata,
    store_metadata,
    try_metadata,
)
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.errors import RcloneError
from sqlitekeeper.rclone.program import find_rclone
from tests.conftest import S3, WrapRclone
from tests.destination.test_untrusted import GOOD


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "place"
    (folder / "app").mkdir(parents=True)
    return folder


def rclone() -> Rclone:
    return Rclone(find_rclone(None))


def test_contents_come_by_path(place: Path, any_rclone: Path) -> None:
    """Odd names, and those that look like options or comments, are names like any other."""
    texts = {f"app/{name}": name.encode() for name in ("a.json", "# b.json", "ü é.json", "-c.json")}
    for path, text in texts.items():
        (place / path).write_bytes(text)

    objects = list_destination(rclone(), str(place)).listing
    assert objects is not None
    assert fetch_metadata(rclone(), str(place), objects.values()) == texts


def test_what_is_too_large_is_not_downloaded(s3: S3, any_rclone: Path) -> None:
    """What the listing says to be too large is left out, and an error where it is read."""
    with (s3.folder / "latest.json").open("wb") as file:
        file.truncate(MAX_MANIFEST_BYTES + 1)
    (s3.folder / "small.json").write_bytes(b"{}")
    objects = (list_destination(rclone(), s3.to).listing or {}).values()
    assert {one.bytes for one in objects} == {2, MAX_MANIFEST_BYTES + 1}
    s3.forget_calls()

    found = fetch_manifests(rclone(), s3.to, objects)

    assert s3.calls().count("GET OBJECT") == 1
    error = found["latest.json"]
    assert isinstance(error, ManifestError)
    assert "bytes are too many" in error.message


def test_largest_manifest_is_still_read(place: Path) -> None:
    """The limit itself is allowed."""
    (place / "app/full.json").write_bytes(b" " * MAX_MANIFEST_BYTES)
    objects = (list_destination(rclone(), str(place)).listing or {}).values()
    assert len(fetch_metadata(rclone(), str(place), objects)["app/full.json"]) == MAX_MANIFEST_BYTES


def test_nothing_wanted_runs_nothing(place: Path, tmp_path: Path) -> None:
    """No rclone is needed for no files."""
    absent = Rclone(str(tmp_path / "no-such-rclone"))
    assert try_metadata(absent, str(place), []) == ({}, None)
    assert store_metadata(absent, list_destination(rclone(), str(place)), {}) == {}


def test_those_that_came_are_kept_when_others_do_not(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, any_rclone: Path
) -> None:
    """One paper that the remote cannot give, here a damaged one of a crypt remote, is no more."""
    for key, value in {
        "TYPE": "crypt",
        "REMOTE": str(place),
        "PASSWORD": "cVJ4yZMYZDUlMQeYvVzSCLRVrEJdBQg",
        "FILENAME_ENCRYPTION": "off",
    }.items():
        monkeypatch.setenv(f"RCLONE_CONFIG_SECRET_{key}", value)
    monkeypatch.setenv("RCLONE_RETRIES", "1")
    monkeypatch.setenv("RCLONE_LOW_LEVEL_RETRIES", "1")
    destination = list_destination(rclone(), "secret:")
    texts = {"app/a.json": b"a" * 99, "app/b.json": b"b" * 99}
    assert store_metadata(rclone(), destination, texts) == {}
    damaged = place / "app/b.json.bin"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    objects = (list_destination(rclone(), "secret:").listing or {}).values()
    contents, error = try_metadata(rclone(), "secret:", objects)

    assert contents == {"app/a.json": texts["app/a.json"]}
    assert error is not None
    assert "b.json" in error.message
    with pytest.raises(RcloneError):
        fetch_metadata(rclone(), "secret:", objects)


def test_stored_papers_are_there(place: Path, any_rclone: Path) -> None:
    """They replace what was there of the same name."""
    (place / "app/a.json").write_bytes(b"old")
    texts = {"app/a.json": b"new", "other/b.json": b"also"}

    assert store_metadata(rclone(), list_destination(rclone(), str(place)), texts) == {}

    assert {path: (place / path).read_bytes() for path in texts} == texts


def test_upload_that_is_only_claimed_is_a_problem(place: Path, wrap_rclone: WrapRclone) -> None:
    """rclone's word is not taken for it, and an older paper of the same size does not pass."""
    (place / "app/a.json").write_bytes(b"old")
    wrap_rclone(copy="exit 0")
    texts = {"app/a.json": b"new", "app/b.json": b"new"}

    problems = store_metadata(rclone(), list_destination(rclone(), f"disk:{place}"), texts)

    assert "is an older one" in problems["app/a.json"]
    assert "not whole" in problems["app/b.json"]


def uploaded(place: Path, then: str) -> str:
    """A shell script for rclone copy that does something when it has uploaded metadata."""
    upload = f'"$to" in *{place}/*'
    return f'"$real"; status=$?; case {upload}) {then};; esac; exit $status'


def test_half_a_paper_does_not_stay(place: Path, wrap_rclone: WrapRclone, any_rclone: Path) -> None:
    """It would be in the way of everyone who reads what there is."""
    wrap_rclone(copy=uploaded(place, f"truncate -s 2 {place}/app/a.json"))

    problems = store_metadata(
        rclone(), list_destination(rclone(), f"disk:{place}"), {"app/a.json": b"new"}
    )

    assert "not whole" in problems["app/a.json"]
    assert not (place / "app/a.json").exists()


def test_half_a_paper_that_cannot_be_deleted_is_told(place: Path, wrap_rclone: WrapRclone) -> None:
    """With what rclone says."""
    cut = uploaded(place, f"truncate -s 2 {place}/app/a.json")
    wrap_rclone(copy=cut, delete="echo not yours >&2; exit 7")

    problems = store_metadata(
        rclone(), list_destination(rclone(), f"disk:{place}"), {"app/a.json": b"new"}
    )

    assert "not whole" in problems["app/a.json"]
    assert "not yours" in problems["app/a.json"]


def test_what_others_have_put_in_its_place_stays(place: Path, wrap_rclone: WrapRclone) -> None:
    """Whatever it is, nobody but them knows."""
    wrap_rclone(copy=uploaded(place, f"echo theirs > {place}/app/a.json"))

    problems = store_metadata(
        rclone(), list_destination(rclone(), f"disk:{place}"), {"app/a.json": b"new"}
    )

    assert problems.keys() == {"app/a.json"}
    assert (place / "app/a.json").read_text() == "theirs\n"


@pytest.mark.parametrize("newer_will_do", [True, False])
def test_newer_paper_of_another_run_will_do_only_where_that_is_said(
    place: Path, wrap_rclone: WrapRclone, newer_will_do: bool
) -> None:
    """Whoever wants to change one has not done so then."""
    theirs = place / "theirs.json"
    theirs.write_bytes(encode(GOOD | {"confirmed_at": "2026-11-23T04:00:00+00:00"}))
    wrap_rclone(copy=uploaded(place, f"cp {theirs} {place}/app/latest.json"))
    texts = {"app/latest.json": encode(GOOD | {"confirmed_at": "2026-11-23T03:00:05+00:00"})}

    problems = store_metadata(
        rclone(), list_destination(rclone(), f"disk:{place}"), texts, newer_will_do=newer_will_do
    )

    assert bool(problems) == (not newer_will_do)


def test_download_that_fails_deletes_nothing(place: Path, wrap_rclone: WrapRclone) -> None:
    """An old rclone leaves an empty file where the disk is full."""
    script = uploaded(place, f"truncate -s 2 {place}/app/a.json")
    wrap_rclone(
        copy=f'case "$from" in disk:*) mkdir -p "${{to%/*}}"; : > "$to"; exit 1;; esac; {script}'
    )

    problems = store_metadata(
        rclone(), list_destination(rclone(), f"disk:{place}"), {"app/a.json": b"new"}
    )

    assert problems.keys() == {"app/a.json"}
    assert (place / "app/a.json").read_bytes() == b"ne"


def test_link_in_a_download_is_not_followed(place: Path, wrap_rclone: WrapRclone) -> None:
    """Whatever an rclone writes into the private folder, only regular files are read from it."""
    (place / "app/a.json").write_bytes(b"a")
    listing = list_destination(rclone(), str(place)).listing or {}
    wrap_rclone(
        copy=f'mkdir "${{to%/*}}"; ln -s "{place}/app/a.json" "$to" && touch "{place}/made"; exit 0'
    )
    assert try_metadata(rclone(), f"disk:{place}", listing.values()) == ({}, None)
    assert (place / "made").exists()


def test_stale_latest_json_of_the_same_size_is_found_without_hashes(
    place: Path, monkeypatch: pytest.MonkeyPatch, wrap_rclone: WrapRclone
) -> None:
    """A crypt remote knows none, so what lies there is read."""
    monkeypatch.setenv("RCLONE_CONFIG_SECRET_TYPE", "crypt")
    monkeypatch.setenv("RCLONE_CONFIG_SECRET_REMOTE", str(place))
    monkeypatch.setenv("RCLONE_CONFIG_SECRET_PASSWORD", "cVJ4yZMYZDUlMQeYvVzSCLRVrEJdBQg")
    older, sent = (
        {"app/latest.json": encode(GOOD | {"confirmed_at": f"2026-11-23T0{hour}:00:00+00:00"})}
        for hour in (3, 4)
    )
    destination = list_destination(rclone(), "secret:")
    assert store_metadata(rclone(), destination, older, newer_will_do=True) == {}
    wrap_rclone(copy='case "$to" in secret:*) exit 0;; esac')

    problems = store_metadata(rclone(), destination, sent, newer_will_do=True)

    assert "another one than was written" in problems["app/latest.json"]
