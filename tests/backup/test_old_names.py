"""A destination, and a memory of it, from before the names of snapshots had tokens."""

import os
import re
from pathlib import Path

import apsw
import pytest

from sqlitekeeper.destination.layout import parse_object
from tests.conftest import BackupConfig, Keeper, MakeDatabase, count_rows
from tests.faults.surroundings import manifests_that_lie, snapshots_of
from tests.histories import add_history, days_ago

TOKEN = re.compile(rb"(app-\d{8}T\d{6}Z)-[2-9a-z]{5}\b")
RULES = {"keep_last": 2, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0}


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "to"


@pytest.fixture
def app(make_database: MakeDatabase, backup_config: BackupConfig, keeper: Keeper, to: Path) -> Path:
    """A database that was shipped by an old keeper, and has not changed since."""
    path = make_database(rows=20)
    backup_config(path, to=to, **RULES)
    assert keeper("backup").status == 0
    for file in (to / "app").iterdir():
        old = file.with_name(os.fsdecode(TOKEN.sub(rb"\1", os.fsencode(file.name))))
        old.write_bytes(TOKEN.sub(rb"\1", file.read_bytes()))
        if old != file:
            file.unlink()
    connection = apsw.Connection(str(Path(os.environ["KEEPER_STATE"]) / "history.sqlite3"))
    rows = connection.execute("SELECT destination, object, manifest FROM shipment").fetchall()
    for place, *values in rows:
        old_values = [TOKEN.sub(rb"\1", str(value).encode()).decode() for value in values]
        connection.execute(
            "UPDATE shipment SET object = ?, manifest = ? WHERE destination = ?",
            (*old_values, place),
        ).fetchall()
    connection.close()
    (name,) = snapshots_of(to)
    assert re.fullmatch(r"app-\d{8}T\d{6}Z\.sqlite3", name)
    return path


def change(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("INSERT INTO t (body) VALUES ('new')").fetchall()
    connection.close()


def test_what_has_not_changed_is_not_uploaded_for_its_name(
    keeper: Keeper, app: Path, to: Path
) -> None:
    """The old snapshot is as good as a new one."""
    (old,) = snapshots_of(to)
    app.touch()

    entry = keeper("backup", "--json").entry

    assert entry["outcome"] == "unchanged"
    assert entry["shipped"][0]["object"] == f"app/{old}"
    assert snapshots_of(to) == [old]


def test_old_and_new_are_one_series(keeper: Keeper, app: Path, to: Path) -> None:
    """Listed by their times, drilled, restored and pruned by the same rules."""
    (own,) = snapshots_of(to)
    change(app)
    assert keeper("backup").status == 0
    listed = [one["object"] for one in keeper("snapshots", "--json").json["snapshots"]]
    assert listed == [f"app/{name}" for name in sorted(snapshots_of(to), reverse=True)]
    assert listed[1] == f"app/{own}"

    drills = [keeper("drill", "--at", name) for name in ("latest", own)]
    restored = [keeper("restore", "app", "--at", at, "--to", f"{at}.db") for at in ("latest", own)]

    assert [run.status for run in (*drills, *restored)] == [0, 0, 0, 0]
    assert [count_rows(app.parent / f"{at}.db") for at in ("latest", own)] == [21, 20]
    assert len(list((to / "app").glob("*.proven.json"))) == 2
    assert manifests_that_lie(to) == []


def test_pruning_lets_the_oldest_go_first(keeper: Keeper, app: Path, to: Path) -> None:
    """Whatever their names are."""
    own, *_ = snapshots_of(to)
    add_history(to, "app", [days_ago(days) for days in (5, 4)])
    change(app)

    run = keeper("backup", "--json")

    assert len(run.json["pruned"]) == 4
    kept = snapshots_of(to)
    assert own in kept
    assert len(kept) == 2
    assert all(parse_object(f"app/{name}") for name in kept)
