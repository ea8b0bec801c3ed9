"""A name that somebody else ships under stops pruning."""

from datetime import timedelta
from pathlib import Path

from sqlitekeeper.destination.layout import parse_object
from tests.backup.shipped import change
from tests.conftest import BackupConfig, Keeper, MakeDatabase
from tests.histories import add_history


def test_another_database_of_the_name_at_the_destination_stops_pruning(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Every Django project has a db.sqlite3; two of them must not delete each other's."""
    blog, shop = (make_database(f"{name}/db.sqlite3", rows=9) for name in ("blog", "shop"))
    (tmp_path / "keeper.toml").write_text(
        "[backup]\nkeep_last = 1\nkeep_daily = 0\nkeep_weekly = 0\nkeep_monthly = 0\n"
    )
    runs = [keeper("backup", path, "--to", "dest", "--force") for path in (blog, shop, blog)]

    assert [run.status for run in runs] == [0, 0, 0]
    assert len(list((tmp_path / "dest/db").glob("db-*.sqlite3"))) == 3
    assert runs[0].err.partition("warning")[1] == ""
    assert f"has snapshots of {blog} under this name too" in runs[1].err
    assert f"has snapshots of {shop} under this name too" in runs[2].err


def test_another_host_of_the_same_layout_stops_pruning(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path
) -> None:
    """Two web servers that ship to one place; when one has taken over for good, it prunes."""
    rules = {"keep_last": 1, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0}
    backup_config(app, to=to, **rules)
    own = keeper("backup", "--json").entry["shipped"][0]["object"]
    name = parse_object(own)
    assert name is not None
    add_history(to, "app", [name.taken_at + timedelta(seconds=1)], latest={"host": "web2"})
    change(app)

    first = keeper("backup", "--json")
    change(app)
    second = keeper("backup", "--json")

    assert (first.status, first.json["pruned"]) == (0, [])
    assert "has snapshots from web2 under this name too, so nothing is pruned there" in first.err
    assert own in second.json["pruned"]
