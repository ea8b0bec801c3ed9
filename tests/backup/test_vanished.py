"""Databases that were backed up until lately and are gone."""

import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import BackupConfig, Keeper, MakeDatabase, OtherUser


@pytest.fixture
def tenants(make_database: MakeDatabase, backup_config: BackupConfig, to: Path) -> list[Path]:
    """Two databases that a glob finds."""
    paths = [make_database(f"tenants/{name}.sqlite3", rows=3) for name in "ab"]
    backup_config({"path": paths[0].parent / "*.sqlite3"}, to=to)
    return paths


def test_database_that_vanished_from_a_glob_is_told(
    keeper: Keeper, tenants: list[Path], to: Path
) -> None:
    """Even when quiet: nobody else would notice."""
    assert keeper("backup").status == 0
    tenants[0].unlink()

    run = keeper("backup", "-q")

    assert run.status == 0
    assert "a: warning: was backed up until 20" in run.err
    assert f"and {tenants[0]} is gone" in run.err


def test_database_that_may_not_be_looked_at_has_not_vanished(
    other_user: OtherUser, make_database: MakeDatabase
) -> None:
    """Taken out of the configuration, and its folder closed since: the others go on."""
    closed, app = other_user.folder / "closed", other_user.folder / "app.sqlite3"
    closed.mkdir()
    os.chown(closed, other_user.uid, other_user.gid)
    made = make_database(rows=3)
    for path in (app, closed / "other.sqlite3"):
        shutil.copy(made, path)
        os.chown(path, other_user.uid, other_user.gid)
    config = other_user.folder / "keeper.toml"
    entries = [f'[[databases]]\npath = "{path}"\n' for path in (app, closed / "other.sqlite3")]
    backup = f'[backup]\nto = "{other_user.folder / "to"}"\n'
    config.write_text("".join([*entries, backup]))
    assert other_user.keeper("backup", "--config", config).status == 0
    config.write_text(entries[0] + backup)
    closed.chmod(0)

    run = other_user.keeper("backup", "--config", config)

    assert (run.status, "is gone" in run.err) == (0, False)


def test_database_that_was_not_asked_for_has_not_vanished(
    keeper: Keeper, tenants: list[Path]
) -> None:
    """A run of one says nothing of the others; nor is one gone that is only moved in the config."""
    assert keeper("backup").status == 0
    tenants[0].unlink()

    assert "is gone" not in keeper("backup", "b").err
