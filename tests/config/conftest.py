"""A working folder of its own for every test, and files to put into it."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sqlitekeeper.config import Config, read_config

Touch = Callable[..., list[Path]]
Configure = Callable[[str], Config]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder; the home folder is beside it and has nothing in it."""
    home = tmp_path / "home"
    work = tmp_path / "work"
    home.mkdir(exist_ok=True)
    work.mkdir()
    for variable in ("KEEPER_CONFIG", "KEEPER_STATE", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment that leads nowhere outside the test's folder."""
    return {"HOME": str(tmp_path / "home"), "KEEPER_STATE": str(tmp_path / "state")}


@pytest.fixture
def touch(folder: Path) -> Touch:
    """Make files below the working folder, and the folders they need."""

    def make(*names: str) -> list[Path]:
        paths = [folder / name for name in names]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        return paths

    return make


@pytest.fixture
def configure(folder: Path, environ: dict[str, str]) -> Configure:
    """Write ./keeper.toml and read it, on a host called web1."""

    def read(text: str) -> Config:
        (folder / "keeper.toml").write_text(text)
        return read_config(None, environ, hostname=lambda: "web1")

    return read


@pytest.fixture(scope="session")
def rclone() -> Path:
    """The rclone that keeper would find first: beside the running Python, then in PATH."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which("rclone", path=beside) or shutil.which("rclone")
    if found is None:
        pytest.skip("needs rclone")
    return Path(found)
