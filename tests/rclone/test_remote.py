"""What rclone is asked of a remote, and what an upload does not do twice."""

import os
from pathlib import Path

import pytest

from sqlitekeeper.rclone import remote
from sqlitekeeper.rclone.client import Rclone
from tests.conftest import S3, WrapRclone

PARTS = ["--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M"]


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file that is uploaded in parts."""
    monkeypatch.setattr(remote, "PARTS_BYTES", 5 * 2**20)
    folder = tmp_path / "from"
    folder.mkdir()
    (folder / "large").write_bytes(os.urandom(5 * 2**20 + 1))
    return folder


def test_large_upload_to_s3_arrives(large: Path, s3: S3, any_rclone: Path) -> None:
    """In parts, and as it was."""
    report = Rclone(str(any_rclone), PARTS).copy(large, s3.to, ["large"])

    assert report.error is None
    assert (s3.folder / "large").read_bytes() == (large / "large").read_bytes()
    assert "put multipart upload" in s3.calls()


@pytest.mark.parametrize(
    ("name", "to", "extra", "compared"),
    [
        ("large", "lab:bucket", [], False),
        ("small", "lab:bucket", [], True),
        ("large", "disk:to", [], True),
        ("large", "lab:bucket", ["--ignore-checksum=false", "--multi-thread-streams=4"], True),
    ],
)
def test_hashes_are_compared_wherever_they_prove_something(
    large: Path,
    s3: S3,
    wrap_rclone: WrapRclone,
    name: str,
    to: str,
    extra: list[str],
    compared: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """S3 computes the MD5 of what comes in one piece itself, and other providers that of all."""
    monkeypatch.chdir(large)
    program = wrap_rclone(copy=f'printf "%s" "$REQUEST" > "{large}/asked"')
    (large / "small").write_bytes(b"x")

    report = Rclone(str(program), extra).copy(large, to, [name])

    assert report.done == {name}
    assert ("IgnoreChecksum" not in (large / "asked").read_text()) is compared


def test_object_is_asked_for_once(large: Path, s3: S3, any_rclone: Path) -> None:
    """By keeper, not by rclone before that."""
    (large / "small").write_bytes(b"x")
    rclone = Rclone(str(any_rclone))
    rclone.list_objects(s3.to)
    s3.forget_calls()

    rclone.copy(large, s3.to, ["small"])
    held = rclone.confirm(s3.to, ["small"])

    assert held["small"].bytes == 1
    assert s3.calls() == ["CREATE OBJECT", "HEAD OBJECT"]


@pytest.mark.parametrize("way", ["rclone_args", "environment"])
def test_what_the_user_has_set_wins(
    large: Path, s3: S3, any_rclone: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Here that rclone looks at what it has uploaded."""
    (large / "small").write_bytes(b"x")
    if way == "environment":
        monkeypatch.setenv("RCLONE_S3_NO_HEAD", "false")
    extra = ["--s3-no-head=false"] if way == "rclone_args" else []

    rclone = Rclone(str(any_rclone), extra)
    rclone.list_objects(s3.to)
    s3.forget_calls()

    rclone.copy(large, s3.to, ["small"])

    assert s3.calls() == ["CREATE OBJECT", "HEAD OBJECT"]
