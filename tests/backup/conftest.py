"""What most tests of a backup need."""

from pathlib import Path

import pytest

from tests.conftest import BackupConfig, MakeDatabase


@pytest.fixture
def to(tmp_path: Path) -> Path:
    """A local destination that is not there yet."""
    return tmp_path / "to"


@pytest.fixture
def app(make_database: MakeDatabase, backup_config: BackupConfig, to: Path) -> Path:
    """A database that keeper.toml has shipped to `to`."""
    path = make_database(rows=20)
    backup_config(path, to=to)
    return path
