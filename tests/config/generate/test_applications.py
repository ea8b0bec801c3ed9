"""What a new keeper.toml says of applications that are known by their folders."""

from pathlib import Path

import pytest

from sqlitekeeper.config.generate.scan import Found, find_databases
from sqlitekeeper.config.generate.toml import draft
from tests.config.generate.test_scan import database
from tests.config.generate.test_toml import ENVIRON
from tests.conftest import Keeper


def without_backup(found: Found, folder: Path) -> dict[str, str]:
    """Why which database is not to be backed up."""
    return {
        str(one.path.relative_to(folder)): one.no_backup for one in found.databases if one.no_backup
    }


def test_caches_of_a_browser_need_no_backup(folder: Path) -> None:
    """What a profile of Chromium fills again; History and Cookies it does not."""
    for name in ("History", "Favicons", "Top Sites", "Network/Cookies", "Network/Trust Tokens"):
        database(folder / "Default" / name)
    (folder / "Default/Preferences").write_text("{}")

    reasons = without_backup(find_databases(folder), folder)

    assert set(reasons) == {"Default/Favicons", "Default/Top Sites", "Default/Network/Trust Tokens"}
    assert "cache of the browser" in reasons["Default/Favicons"]


def test_the_same_names_elsewhere_are_backed_up(folder: Path) -> None:
    """Without the preferences of a profile beside them they may be anything."""
    database(folder / "Favicons")
    database(folder / "auxiliary.db")
    assert without_backup(find_databases(folder), folder) == {}


def test_logs_of_pocketbase_need_no_backup_and_its_uploads_are_proposed(
    keeper: Keeper, folder: Path
) -> None:
    """As a comment that becomes an entry when the # is taken away."""
    database(folder / "pb_data/data.db")
    database(folder / "pb_data/auxiliary.db")
    (folder / "pb_data/storage/collection/record").mkdir(parents=True)

    found = find_databases(folder)
    written = keeper("config", "init", folder, "--to", "b2:bucket/web1").out

    assert "request logs" in without_backup(found, folder)["pb_data/auxiliary.db"]
    proposal = written[written.index("# [[files]]") :].replace("# ", "")
    assert f'path = "{folder}/pb_data/storage"' in proposal
    assert 'to = "b2:bucket/web1-files"' in proposal
    (folder / "keeper.toml").write_text(written[: written.index("# [[files]]")] + proposal)
    shown = keeper("config", "show", "-c", folder / "keeper.toml")
    assert shown.status == 0, shown.err


@pytest.mark.parametrize("where", ["storage", "storage/../storage/storage"])
def test_uploads_of_active_storage_are_proposed(folder: Path, where: str) -> None:
    """Known by how Rails files them, beside the databases or one folder further down."""
    database(folder / "storage/production.sqlite3")
    upload = folder / where / "ab/cd/abcd1234567890"
    upload.parent.mkdir(parents=True)
    upload.write_bytes(b"a picture")

    found = find_databases(folder)

    (uploads,) = found.uploads
    assert uploads.samefile(folder / where)
    assert "# [[files]]" in draft(found.databases, (), ENVIRON, found.uploads).toml


def test_folders_without_uploads_are_not_proposed(folder: Path) -> None:
    """Nor what a folder of two letters holds otherwise."""
    database(folder / "storage/production.sqlite3")
    database(folder / "storage/ab/cd/other.sqlite3")
    assert find_databases(folder).uploads == ()


def test_what_has_a_wal_and_cannot_be_read_is_named(folder: Path) -> None:
    """It is somebody's database, and nobody backs it up."""
    (folder / "secret.db").write_bytes(b"\x07" * 4096)
    (folder / "secret.db-wal").write_bytes(b"frames")
    (folder / "picture.png").write_bytes(b"\x07" * 4096)

    (remark,) = find_databases(folder).remarks

    assert f"{folder}/secret.db: left out: it has a -wal beside it" in remark


def test_mode_of_turso_is_named_with_the_way_out(folder: Path) -> None:
    """SQLite cannot read it, and Turso can change that."""
    path = database(folder / "app.db")
    with path.open("r+b") as file:
        file.seek(18)
        file.write(b"\xff\xff")

    found = find_databases(folder)

    assert len(found.databases) == 1
    assert "PRAGMA journal_mode = 'wal'" in found.remarks[0]
