"""Whole snapshots as zstd frames."""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sqlitekeeper.errors import ConfigError
from sqlitekeeper.store import library
from sqlitekeeper.store.base import BaseFile
from sqlitekeeper.store.files import Restored, Stored
from sqlitekeeper.store.frames import FRAME_BYTES, compress, unpacked
from sqlitekeeper.store.library import StoreError, zstd_library
from sqlitekeeper.store.restore import restore_whole
from tests.store.snapshots import fill, make_snapshot


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of three frames."""
    folder = tmp_path_factory.mktemp("snapshot")
    fill(folder / "live.sqlite3", 8000)
    return make_snapshot(folder / "live.sqlite3", folder / "snapshot.sqlite3")


@pytest.fixture(scope="module")
def stored(snapshot: Path) -> Path:
    """It, compressed."""
    compress(snapshot, snapshot.with_suffix(".zst"))
    return snapshot.with_suffix(".zst")


def sums(file: Path) -> tuple[int, str]:
    """The size and sha256 of a file."""
    data = file.read_bytes()
    return len(data), hashlib.sha256(data).hexdigest()


def test_tells_the_sizes_and_sums_of_both(snapshot: Path, tmp_path: Path) -> None:
    """The file is private."""
    target = tmp_path / "target"
    assert compress(snapshot, target) == Stored(*sums(snapshot), *sums(target))
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.skipif(not shutil.which("zstd"), reason="zstd is not installed")
def test_zstd_gives_the_plain_snapshot(snapshot: Path, stored: Path) -> None:
    """Byte for byte, and it finds nothing wrong."""
    done = subprocess.run(["zstd", "-dqc", stored], check=True, capture_output=True)
    assert done.stderr == b""
    assert done.stdout == snapshot.read_bytes()


def test_restores_the_plain_snapshot(snapshot: Path, stored: Path, tmp_path: Path) -> None:
    """And tells its size and sha256."""
    with BaseFile(stored) as base:
        restored = restore_whole(base, tmp_path / "plain", base.bytes)
    assert restored == Restored(*sums(snapshot))
    assert sums(tmp_path / "plain") == sums(snapshot)


@pytest.mark.parametrize("size", [0, 1, FRAME_BYTES, FRAME_BYTES + 1])
def test_restores_files_of_any_size(size: int, tmp_path: Path) -> None:
    """Also those that are no databases, or nothing at all."""
    (tmp_path / "plain").write_bytes(os.urandom(size))
    compress(tmp_path / "plain", tmp_path / "stored")
    with BaseFile(tmp_path / "stored") as base:
        restore_whole(base, tmp_path / "again", size)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "plain").read_bytes()


def test_base_is_read_from_anywhere(snapshot: Path, stored: Path) -> None:
    """Across frames too."""
    plain = snapshot.read_bytes()
    with BaseFile(stored) as base:
        assert base.bytes == len(plain)
        for offset, length in ((0, 10), (FRAME_BYTES - 5, 10), (5, 2 * FRAME_BYTES), (7, 0)):
            assert base.read(offset, length) == plain[offset : offset + length]


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1), (0, 2**40), (2**63, 1)])
def test_base_is_not_read_outside(offset: int, length: int, stored: Path) -> None:
    """A manifest may say anything."""
    with BaseFile(stored) as base, pytest.raises(StoreError, match="bytes, none at"):
        base.read(offset, length)


def test_a_target_that_is_there_stays(snapshot: Path, tmp_path: Path) -> None:
    """Whoever made it."""
    (tmp_path / "target").write_text("theirs")
    with pytest.raises(FileExistsError):
        compress(snapshot, tmp_path / "target")
    assert (tmp_path / "target").read_text() == "theirs"


@pytest.mark.parametrize("place", [100, -30, -5])
def test_damage_is_told(place: int, stored: Path, tmp_path: Path) -> None:
    """In a frame, in the table of frames, at the end; nothing is left."""
    data = bytearray(stored.read_bytes())
    data[place] ^= 0xFF
    (tmp_path / "damaged").write_bytes(data)
    with pytest.raises(StoreError), BaseFile(tmp_path / "damaged") as base:
        restore_whole(base, tmp_path / "plain", base.bytes)
    assert not (tmp_path / "plain").exists()


@pytest.mark.parametrize("length", [0, 5, 1000])
def test_a_part_of_a_file_is_refused(length: int, stored: Path, tmp_path: Path) -> None:
    """As an interrupted download leaves it."""
    (tmp_path / "part").write_bytes(stored.read_bytes()[:length])
    with pytest.raises(StoreError, match="is not a whole snapshot as keeper stores it"):
        BaseFile(tmp_path / "part")


def test_another_size_than_the_manifests_is_refused(stored: Path, tmp_path: Path) -> None:
    """Before anything is written."""
    with BaseFile(stored) as base, pytest.raises(StoreError, match=r"holds .* bytes, not 4,096"):
        restore_whole(base, tmp_path / "plain", 4096)
    assert not (tmp_path / "plain").exists()


def test_a_frame_that_says_less_than_it_holds_is_refused() -> None:
    """It is not unpacked to find out."""
    frame = zstd_library().compress(bytes(10**6))
    with pytest.raises(StoreError, match="another number of bytes"):
        unpacked(frame, 1000)


def test_a_frame_of_a_huge_window_is_refused() -> None:
    """It would take that much memory."""
    zstd = zstd_library()
    parameter = zstd.CompressionParameter
    compressor = zstd.ZstdCompressor(
        options={parameter.window_log: 27, parameter.content_size_flag: 0}
    )
    frame = compressor.compress(b"much" * 1000) + compressor.flush()
    with pytest.raises(StoreError):
        unpacked(frame, 4000)


def test_a_python_without_zstd_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the configuration."""
    monkeypatch.setattr(library, "NAMES", ("sqlitekeeper.no_such_library",))
    zstd_library.cache_clear()
    try:
        with pytest.raises(ConfigError, match="has no zstd library") as caught:
            zstd_library()
    finally:
        zstd_library.cache_clear()
    assert caught.value.hint is not None
    assert "-m pip install backports.zstd" in caught.value.hint


def test_the_library_is_loaded_only_when_used() -> None:
    """It takes 20 ms."""
    program = "import sys, sqlitekeeper.store.restore, sqlitekeeper.store.delta\n"
    program += "print([name for name in sys.modules if name.endswith('zstd')])"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert done.stdout == b"[]\n"
