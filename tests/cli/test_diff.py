"""`keeper diff`: what did we lose?"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Beside, Keeper, MakeDatabase, count_rows, in_folder
from tests.diff.databases import apply, opened
from tests.faults.strange import make_strange


@pytest.fixture
def shipped(keeper: Keeper, make_database: MakeDatabase) -> Path:
    """A database of 50 rows in WAL mode with one snapshot at ./dest."""
    path = make_database(rows=50)
    assert keeper("backup", path, "--to", "dest").status == 0
    return path


def change(path: Path, *statements: str) -> None:
    """What the application did since."""
    with opened(path) as connection:
        for sql in statements:
            connection.execute(sql).fetchall()


@pytest.fixture
def changed(shipped: Path) -> Path:
    """Ten rows are gone, two others are new, one is another; and there is an index."""
    change(
        shipped,
        "DELETE FROM t WHERE id <= 10",
        "UPDATE t SET body = 'x' WHERE id = 20",
        "INSERT INTO t VALUES (100, 'new'), (101, NULL)",
        "CREATE INDEX by_body ON t (body)",
    )
    return shipped


def test_rows_are_counted_by_what_became_of_them(keeper: Keeper, changed: Path) -> None:
    """However much differs, comparing is what was asked for, and that is done."""
    run = keeper("diff", changed, "--from", "dest")

    assert run.status == 0
    assert "app: t: 2 rows only here, 10 rows only there, 1 row changed" in run.out
    assert "app: schema: the index by_body is only here" in run.out
    assert f"here: {changed} as it is now" in run.out


def test_json_has_every_count(keeper: Keeper, changed: Path) -> None:
    """And where both sides are from."""
    found = keeper("diff", changed, "--from", "dest", "--json").json

    assert found["database"] == "app"
    assert (found["here"]["kind"], found["here"]["path"]) == ("live", str(changed))
    assert found["there"]["kind"] == "snapshot"
    assert found["there"]["object"].startswith("app/app-")
    (table,) = found["tables"]
    keys = ("name", "only_here", "only_there", "changed", "rows_here", "rows_there", "matched_by")
    assert [table[key] for key in keys] == ["t", 2, 10, 1, 42, 50, "key"]
    (index,) = found["schema"]
    assert (index["type"], index["name"], index["change"]) == ("index", "by_body", "only_here")
    assert found["databases"][0]["same"] is False


def test_same_database_has_no_difference(keeper: Keeper, shipped: Path) -> None:
    """Nobody wrote to it since."""
    found = keeper("diff", shipped, "--from", "dest", "--json").json

    assert found["databases"][0] | {"path": None} == {
        "name": "app",
        "path": None,
        "outcome": "compared",
        "reason": None,
        "same": True,
    }


def test_rows_of_a_table_are_shown(keeper: Keeper, changed: Path) -> None:
    """As many of each kind as was asked for."""
    run = keeper("diff", changed, "--from", "dest", "--table", "t", "--limit", "3", "--json")

    rows = run.json["rows"]
    assert [row["kind"] for row in rows].count("only_there") == 3
    assert [row["here"] for row in rows if row["kind"] == "only_here"] == [
        {"id": 100, "body": "new"},
        {"id": 101, "body": None},
    ]
    (one,) = (row for row in rows if row["kind"] == "changed")
    assert one["here"]["body"] == "x"
    assert len(one["there"]["body"]["hex"]) == 1800


def test_two_snapshots_are_compared_without_the_database(
    keeper: Keeper, changed: Path, tmp_path: Path
) -> None:
    """On a host that has only the remote; the older one is there, the newer here."""
    assert keeper("backup", changed, "--to", "dest").status == 0
    older, newer = sorted(p.name for p in (tmp_path / "dest/app").glob("*.sqlite3"))
    changed.unlink()

    run = keeper("diff", "app", "--from", "dest", "--with", newer, "--at", older, "--json")

    assert run.status == 0
    assert run.json["tables"][0]["only_there"] == 10
    assert run.json["here"]["object"] == f"app/{newer}"


@pytest.mark.parametrize("turned", [False, True])
def test_sql_gives_one_side_the_rows_of_the_other(
    keeper: Keeper, changed: Path, tmp_path: Path, turned: bool
) -> None:
    """Which, it says itself; --at live --with latest turns it around."""
    ways = ["--at", "live", "--with", "latest"] if turned else []
    run = keeper("diff", changed, "--from", "dest", "--sql", *ways)
    (snapshot,) = (tmp_path / "dest/app").glob("*.sqlite3")
    target, rows = (snapshot, 42) if turned else (changed, 50)

    assert apply("apsw", target, run.out).stderr == ""

    first = next(line for line in run.out.splitlines() if line.startswith("-- For:"))
    assert (str(changed) in first) is not turned
    assert count_rows(target) == rows


def test_application_goes_on_meanwhile(keeper: Keeper, shipped: Path, beside: Beside) -> None:
    """It is read in one moment."""
    writer = beside("write", shipped)

    run = keeper("diff", shipped, "--from", "dest", "--json")

    assert run.status == 0
    writer.end()
    assert run.json["tables"][0]["only_there"] == 0


def test_destination_that_rclone_reaches(
    keeper: Keeper, changed: Path, wrap_rclone: Callable[..., Path]
) -> None:
    """A snapshot is downloaded first."""
    wrap_rclone()

    run = keeper("diff", changed, "--from", in_folder("dest"), "--json")

    assert run.json["tables"][0]["only_there"] == 10


def test_damaged_snapshot_is_not_compared(keeper: Keeper, shipped: Path, tmp_path: Path) -> None:
    """It is not what its manifest says."""
    (snapshot,) = (tmp_path / "dest/app").glob("*.sqlite3")
    content = bytearray(snapshot.read_bytes())
    content[5000] ^= 1
    snapshot.write_bytes(content)

    run = keeper("diff", shipped, "--from", "dest", "--json")

    assert run.status == 12
    assert "sha256" in run.json["error"]["message"]
    assert run.json["tables"] == []


def test_snapshot_after_a_loss_says_so(keeper: Keeper, make_database: MakeDatabase) -> None:
    """Or whoever looks for lost rows would not find them in it."""
    path = make_database(rows=400)
    keeper("backup", path, "--to", "dest")
    change(path, "DELETE FROM t WHERE id > 10")
    keeper("backup", path, "--to", "dest")

    run = keeper("diff", path, "--from", "dest")

    assert run.status == 0
    assert "from after a loss that nobody has accepted: t from 400 to 10 rows" in run.err


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["nobody"], 2, "no configured database"),
        (["./app.sqlite3", "--at", "2001-01-01"], 1, "there is no snapshot of 2001-01-01"),
        (["./app.sqlite3", "--at", "yesterday"], 2, "neither latest, nor a time"),
        (["./app.sqlite3", "--at", "live"], 2, "there is nothing to compare"),
        (["./app.sqlite3", "--with", "latest"], 2, "--at and --with are both latest"),
        (["./app.sqlite3", "--with", "2099-01-01"], 2, "--at and --with are both app/app-"),
        (["./app.sqlite3", "--table", "posts"], 2, "neither side has it (there are: t)"),
        (["./gone.sqlite3"], 1, "no snapshot"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line(
    keeper: Keeper, shipped: Path, arguments: list[str], status: int, said: str
) -> None:
    """With the status that fits."""
    run = keeper("diff", *arguments, "--from", "dest")

    assert run.status == status
    assert said in run.err


def test_unreadable_database_is_said_to_be(keeper: Keeper, shipped: Path) -> None:
    """Encrypted ones look like this."""
    shipped.write_bytes(os.urandom(8192))

    run = keeper("diff", shipped, "--from", "dest")

    assert run.status == 1
    assert "encrypted" in run.err


def test_missing_database_is_said_to_be(keeper: Keeper, shipped: Path, tmp_path: Path) -> None:
    """It is configured, and gone."""
    (tmp_path / "keeper.toml").write_text(
        f"[[databases]]\npath = {json.dumps(str(shipped))}\n[backup]\nto = 'dest'\n"
    )
    shipped.unlink()

    run = keeper("diff", "app")

    assert run.status == 1
    assert f"{shipped}: no such file" in run.err


def test_sql_and_json_are_two_things(keeper: Keeper, shipped: Path) -> None:
    """Statements are no object."""
    assert keeper("diff", shipped, "--from", "dest", "--sql", "--json").status == 2


def test_applications_own_collation_is_no_obstacle(keeper: Keeper, tmp_path: Path) -> None:
    """Rows are compared by their bytes."""
    path = make_strange(tmp_path / "app.sqlite3", "unknown_collation_in_key")
    assert keeper("backup", path, "--to", "dest").status == 0

    run = keeper("diff", path, "--from", "dest", "--json")

    tables: list[dict[str, Any]] = run.json["tables"]
    assert run.status == 0
    assert [one["only_here"] for one in tables] == [0] * len(tables)


def test_nothing_is_left_behind(keeper: Keeper, changed: Path, tmp_path: Path) -> None:
    """Neither in the staging folder nor beside the database."""
    staging = tmp_path / "staging"
    staging.mkdir()
    (tmp_path / "keeper.toml").write_text(f"[backup]\nstaging = {json.dumps(str(staging))}\n")
    before = sorted(tmp_path.glob("app.*"))

    assert keeper("diff", changed, "--from", "dest").status == 0

    assert list(staging.iterdir()) == []
    assert sorted(tmp_path.glob("app.*")) == before
