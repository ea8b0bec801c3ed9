"""What the tests of faults share: an application that goes on whatever happens to keeper."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, S3, WAIT_SECONDS, BackupConfig, Keeper, wait_until
from tests.faults.ledger import make_ledger
from tests.faults.scene import Scene


@dataclass(frozen=True)
class Writer:
    """An application that commits entries of a ledger, and writes down what it was told."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def committed(self) -> int:
        """The last entry that SQLite told it is committed."""
        lines = self.log.read_bytes().rpartition(b"\n")[0].split()
        return int(lines[-1]) if lines else 0

    def end(self) -> None:
        """Let it finish what it is doing."""
        self.process.communicate(timeout=WAIT_SECONDS)
        assert self.process.returncode == 0


StartWriter = Callable[[Path], Writer]


@pytest.fixture
def start_writer(tmp_path: Path) -> Iterator[StartWriter]:
    """Let an application write to a ledger; it ends with the test."""
    with ExitStack() as stack:

        def start(path: Path) -> Writer:
            log = tmp_path / "committed.log"
            with log.open("wb") as stream:
                process = subprocess.Popen(
                    [sys.executable, "-m", "tests.faults.ledger", "write", str(path)],
                    cwd=REPOSITORY,
                    stdin=subprocess.PIPE,
                    stdout=stream,
                )
            stack.callback(process.communicate)
            stack.callback(process.kill)
            writer = Writer(process, log)
            wait_until(lambda: writer.committed > 0)
            return writer

        yield start


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for all temporary files of this test, keeper's and SQLite's."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    for name in ("TMPDIR", "SQLITE_TMPDIR"):
        monkeypatch.setenv(name, str(folder))
    return folder


@pytest.fixture
def scene(
    tmp_path: Path, temporary: Path, staging: Path, backup_config: BackupConfig, keeper: Keeper
) -> Scene:
    """A ledger of 1 MB with one snapshot at a local destination, and a keeper.toml for both."""
    folder = tmp_path / "data"
    folder.mkdir()
    path = folder / "app.sqlite3"
    make_ledger(path, bytes_of_ballast=1_000_000)
    to = tmp_path / "dest"
    backup_config(path, to=to, keep_last=2, keep_daily=0, keep_weekly=0, keep_monthly=0)
    assert keeper("backup").status == 0
    return Scene(tmp_path, path, to, keeper)


@pytest.fixture(params=["folder", "s3"])
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """A destination: its name for keeper, and the folder that its objects are files in."""
    if request.param == "s3":
        s3: S3 = request.getfixturevalue("s3")
        return f"{s3.to}/host", s3.folder / "host"
    return str(tmp_path / "dest"), tmp_path / "dest"
