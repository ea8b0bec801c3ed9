"""What an upload does not do twice."""

import os
from pathlib import Path

import pytest

from sqlitekeeper.rclone import upload_options as options
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.program import find_rclone
from tests.conftest import S3

PARTS = ["--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M"]


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file that is uploaded in parts."""
    monkeypatch.setattr(options, "PARTS_BYTES", 5 * 2**20)
    folder = tmp_path / "from"
    folder.mkdir()
    (folder / "large").write_bytes(os.urandom(5 * 2**20 + 1))
    return folder


def test_large_upload_to_s3_is_not_read_before_it_begins(
    large: Path, s3: S3, any_rclone: Path
) -> None:
    """That would only put an MD5 of rclone's own beside it, which nobody else has checked."""
    said: list[str] = []
    rclone = Rclone(str(any_rclone), PARTS, said.append)
    rclone.list_objects(s3.to)

    report = rclone.copy(large, s3.to, ["large"], bucket_exists=True)

    assert report.error is None
    assert (s3.folder / "large").read_bytes() == (large / "large").read_bytes()
    assert "--s3-disable-checksum --ignore-checksum --multi-thread-streams=0" in said[-1]
    assert "put multipart upload" in s3.calls()


@pytest.mark.parametrize("kind", ["small, to S3", "local", "unknown"])
def test_hashes_are_compared_wherever_they_prove_something(large: Path, s3: S3, kind: str) -> None:
    """S3 computes the MD5 of what comes in one piece itself, and other providers that of all."""
    said: list[str] = []
    rclone = Rclone(find_rclone(None), PARTS, said.append)
    (large / "small").write_bytes(b"x")
    if kind == "small, to S3":
        rclone.list_objects(s3.to)

    to, name = {"local": (str(large / "to"), "large"), "unknown": (s3.to, "large")}.get(
        kind, (s3.to, "small")
    )
    rclone.copy(large, to, [name], bucket_exists=True)

    assert "--s3-disable-checksum" not in said[-1]
    assert ("--ignore-checksum" in said[-1]) == (kind == "local")


def test_object_is_asked_for_once(large: Path, s3: S3, any_rclone: Path) -> None:
    """By keeper, not by rclone before that."""
    (large / "small").write_bytes(b"x")
    rclone = Rclone(str(any_rclone))

    rclone.copy(large, s3.to, ["small"], bucket_exists=True)
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

    Rclone(str(any_rclone), extra).copy(large, s3.to, ["small"], bucket_exists=True)

    assert s3.calls() == ["CREATE OBJECT", "HEAD OBJECT"]
