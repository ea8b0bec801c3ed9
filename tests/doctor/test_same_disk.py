"""Whether a destination lies where the databases lie."""

from pathlib import Path

from sqlitekeeper.doctor.host import diagnose_same_disk
from tests.conftest import Keeper, MakeDatabase, Mount


def test_folder_beside_the_databases_is_a_warning(tmp_path: Path) -> None:
    """Made already or not."""
    paths = {name: tmp_path / f"{name}.sqlite3" for name in ("a", "b", "c", "d", "e")}
    for path in paths.values():
        path.touch()
    (found,) = diagnose_same_disk([str(tmp_path / "not/there/yet")], paths)
    assert (found.level, found.check) == ("warn", "same_disk")
    assert "lies on the file system of a, b, c and 2 more" in found.message
    assert found.fix


def test_remotes_are_not_looked_at(tmp_path: Path) -> None:
    """They are elsewhere."""
    assert not list(diagnose_same_disk(["b2:my-bucket/web1"], {"a": tmp_path}))


def test_mount_is_another_place_and_a_plain_folder_is_not(
    tmp_path: Path, make_database: MakeDatabase, mount: Mount, keeper: Keeper
) -> None:
    """As doctor says it: which is how a mount that is gone shows."""
    point = mount("nas", "1m")
    to = point / "keeper"
    to.mkdir()
    (tmp_path / "keeper.toml").write_text(
        f'[[databases]]\npath = "{make_database()}"\n[backup]\nto = "{to}"\n'
    )

    def level() -> str:
        found = keeper("doctor", "--json").json["findings"]
        (one,) = [finding["level"] for finding in found if finding["check"] == "same_disk"]
        return str(one)

    assert level() == "ok"
    config = (tmp_path / "keeper.toml").read_text()
    (tmp_path / "keeper.toml").write_text(config.replace("/nas/", "/not-mounted/"))
    assert level() == "warn"
