"""Rows that are gone: the alarm, the hold that it puts on pruning, and how it is lifted."""

import json
import re
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest

from sqlitekeeper.backup.loss_alarm import LossAlarm, lost_rows
from sqlitekeeper.destination.hold import Hold, hold_of, on_hold, with_hold
from sqlitekeeper.destination.layout import parse_object
from tests.conftest import BackupConfig, Keeper, MakeDatabase, Outcome, WrapRclone
from tests.histories import add_history, days_ago, whole
from tests.manifests import manifest_of

LAST_TWO = {"keep_last": 2, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0}
HOLD = {"since": "2026-11-01T03:00:00+00:00", "tables": {"t": [1000, 7]}}


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"t": 1}, {}, {"t": (1, 0)}),
        ({"t": 0}, {}, {}),
        ({"t": 199}, {"t": 99}, {"t": (199, 99)}),
        ({"t": 200}, {"t": 100}, {}),
        ({"t": 200}, {"t": 99}, {"t": (200, 99)}),
        ({"t": 99}, {"t": 0}, {}),
        ({"t": 100}, {"t": 0}, {"t": (100, 0)}),
        ({"t": 5, "u": 1000}, {"t": 9, "u": 10, "new": 3}, {"u": (1000, 10)}),
    ],
)
def test_what_a_loss_is(
    before: dict[str, int], after: dict[str, int], found: dict[str, tuple[int, int]]
) -> None:
    """A table that had rows and is gone, or more than half of its rows and at least 100."""
    assert lost_rows(before, after, 0.5) == found


def test_the_share_is_the_users() -> None:
    """A tenth, all (then only what is gone counts), or no alarm at all."""
    assert lost_rows({"t": 1000}, {"t": 899}, 0.1) == {"t": (1000, 899)}
    assert lost_rows({"t": 1000, "u": 1}, {"t": 0}, 1.0) == {"u": (1, 0)}
    assert lost_rows({"t": 1000, "u": 1}, {}, 0.0) == {}


def test_many_losses_are_summed_up() -> None:
    """The message stays short."""
    text = on_hold("app", {f"t{i}": (1200, 0) for i in range(9)})
    assert text.startswith("t0 fell from 1,200 rows to 0, t1 fell")
    assert ", and 4 more; pruning is on hold" in text


@pytest.mark.parametrize(
    "hold",
    [True, "yes", [1], {"since": 5}, {"since": "soon", "tables": {"t": [1]}}, {"tables": ["t"]}],
)
def test_a_malformed_hold_is_a_hold(hold: object) -> None:
    """Whoever wrote it; nothing in it is believed."""
    found = hold_of({"hold": hold, "taken_at": "2026-11-02T03:00:00+00:00"})
    assert found == Hold("2026-11-02T03:00:00+00:00", {})
    assert found is not None
    assert "it has lost rows; pruning is on hold" in on_hold("app", found.tables)


def test_a_hold_survives_the_way_through_a_manifest() -> None:
    """And is gone when there is none."""
    held = with_hold({"database": "app"}, Hold("2026-11-01T03:00:00+00:00", {"t": (1000, 7)}))
    assert held == {"database": "app", "hold": HOLD}
    assert hold_of(held) == Hold("2026-11-01T03:00:00+00:00", {"t": (1000, 7)})
    assert with_hold(held, None) == {"database": "app"}


def test_a_second_loss_is_added_to_the_hold() -> None:
    """Each table's rows from before its first loss, and after its last."""
    before = manifest_of(tables={"t": 400, "u": 500}, hold=HOLD)
    alarm = LossAlarm(0.5, before={("to", "app"): before})
    fresh = manifest_of(tables={"t": 2, "u": 1})
    lost = alarm.lost_rows("to", fresh)
    assert alarm.on_hold("to", fresh, lost).raw["hold"] == {
        "since": HOLD["since"],
        "tables": {"t": [1000, 2], "u": [500, 1]},
    }


@pytest.fixture
def app(make_database: MakeDatabase) -> Path:
    """A database with 400 rows in `t`."""
    return make_database(rows=400)


@pytest.fixture
def to(tmp_path: Path) -> Path:
    """A local destination."""
    return tmp_path / "to"


def execute(path: Path, *statements: str) -> None:
    """Change a database."""
    connection = apsw.Connection(str(path))
    for statement in statements:
        connection.execute(statement).fetchall()
    connection.close()


def latest(to: Path, database: str = "app") -> dict[str, Any]:
    """What latest.json says."""
    value: dict[str, Any] = json.loads((to / database / "latest.json").read_text())
    return value


def newest_manifest(to: Path, run: Outcome) -> dict[str, Any]:
    """The manifest that a run has shipped."""
    path = to / run.entry["shipped"][0]["object"]
    value: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    return value


def downloads(run: Outcome) -> int:
    """How often a verbose run asked rclone for manifests."""
    # The target comes last before the flags; of an upload it is the source that is private.
    return len(re.findall(r" copy .*/ \S*/keeper-metadata-\S+ --", run.err))


def has_shipped(to: Path, *days: float, database: str = "app") -> list[str]:
    """Let snapshots lie at the destination, the newest of them with 400 rows in `t`."""
    return add_history(to, database, map(days_ago, days), latest={"tables": {"t": 400}})


def test_a_loss_is_shipped_and_ends_with_12(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path
) -> None:
    """Which table fell from what to what, and how to accept it; the hold is in the manifests."""
    backup_config(app, to=to)
    assert keeper("backup").status == 0
    execute(app, "DELETE FROM t WHERE id > 100")

    run = keeper("backup", "--json")

    assert (run.status, run.entry["outcome"], run.json["ok"]) == (12, "shipped", False)
    assert "t fell from 400 rows to 100" in run.entry["reason"]
    assert "keeper backup --accept-loss app" in run.entry["reason"]
    manifest = newest_manifest(to, run)
    hold = {"since": manifest["taken_at"], "tables": {"t": [400, 100]}}
    assert manifest["hold"] == latest(to)["hold"] == hold


def test_a_table_that_is_gone_is_a_loss(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path
) -> None:
    """However few rows it had."""
    execute(app, "CREATE TABLE settings (k)", "INSERT INTO settings VALUES (1)")
    backup_config(app, to=to)
    assert keeper("backup").status == 0
    execute(app, "DROP TABLE settings")

    run = keeper("backup", "--json")

    assert run.status == 12
    assert "settings fell from 1 row to 0" in run.entry["reason"]


def test_loss_alarm_0_is_no_alarm(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path
) -> None:
    """As the configuration says."""
    backup_config(app, to=to, loss_alarm=0)
    has_shipped(to, 1)
    execute(app, "DELETE FROM t")
    assert keeper("backup").status == 0
    assert "hold" not in latest(to)


def test_a_lost_state_folder_does_not_blind_the_alarm(
    keeper: Keeper,
    make_database: MakeDatabase,
    backup_config: BackupConfig,
    to: Path,
    tmp_path: Path,
    wrap_rclone: WrapRclone,
) -> None:
    """latest.json tells what was there before, asked for once for all databases."""
    wrap_rclone()
    paths = [make_database(f"{name}.sqlite3", rows=400) for name in "abc"]
    backup_config(*paths, to=to)
    assert keeper("backup").status == 0
    for path in paths[:2]:
        execute(path, "DELETE FROM t")
    shutil.rmtree(tmp_path / "state")

    run = keeper("backup", "--json", "-v")

    assert run.status == 12
    outcomes = [(e["outcome"], bool(e["reason"])) for e in run.json["databases"]]
    assert outcomes == [("shipped", True), ("shipped", True), ("shipped", False)]
    assert downloads(run) == 1


def test_an_intact_record_costs_no_rclone_run(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path, wrap_rclone: WrapRclone
) -> None:
    """Nothing is downloaded to compare with."""
    wrap_rclone()
    backup_config(app, to=to)
    assert keeper("backup").status == 0
    execute(app, "DELETE FROM t WHERE id = 1")
    run = keeper("backup", "-v")
    assert run.status == 0
    assert "rclone copy" in run.err
    assert downloads(run) == 0


def test_a_hold_is_carried_on(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path
) -> None:
    """Into the next manifest and latest.json; the run ends with 12 until the loss is accepted."""
    backup_config(app, to=to)
    has_shipped(to, 1)
    execute(app, "DELETE FROM t WHERE id > 100")
    assert keeper("backup").status == 12
    hold = latest(to)["hold"]
    execute(app, "INSERT INTO t (body) VALUES (1)")

    run = keeper("backup", "--json")

    assert (run.status, run.entry["outcome"]) == (12, "shipped")
    assert run.entry["reason"].startswith("t fell from 400 rows to 100; pruning is on hold")
    assert newest_manifest(to, run)["hold"] == latest(to)["hold"] == hold


def test_an_unchanged_database_stays_on_hold(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path
) -> None:
    """The refreshed latest.json has it, and nothing is pruned."""
    backup_config(app, to=to, **LAST_TWO)
    has_shipped(to, 1, 2, 3)
    execute(app, "DELETE FROM t")
    assert keeper("backup").status == 12

    run = keeper("backup", "--json")

    assert (run.status, run.entry["outcome"], run.json["pruned"]) == (12, "unchanged", [])
    assert latest(to)["hold"]["tables"] == {"t": [400, 0]}


def test_only_the_database_on_hold_is_not_pruned(
    keeper: Keeper, make_database: MakeDatabase, backup_config: BackupConfig, to: Path
) -> None:
    """From the run of the alarm on; the others are."""
    old = {name: has_shipped(to, 2, 1, database=name) for name in ("lossy", "well")}
    paths = [make_database("lossy.sqlite3", rows=0), make_database("well.sqlite3", rows=400)]
    backup_config(*paths, to=to, **LAST_TWO)

    run = keeper("backup", "--json")

    assert run.status == 12
    assert set(run.json["pruned"]) == whole(old["well"][:1])


@pytest.mark.parametrize("changed", [True, False])
def test_accept_loss_lifts_the_hold_and_prunes(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path, changed: bool
) -> None:
    """In the same run, whether the database has changed again or not."""
    backup_config(app, to=to, **LAST_TWO)
    old = has_shipped(to, 1, 2, 3)
    execute(app, "DELETE FROM t WHERE id > 150")
    assert keeper("backup").status == 12
    if changed:
        execute(app, "DELETE FROM t")

    run = keeper("backup", "--accept-loss", "app", "--json")

    assert (run.status, run.entry["reason"]) == (0, None)
    assert "hold" not in latest(to)
    assert set(run.json["pruned"]) == whole(old[0 if changed else 1 :])


def test_what_was_accepted_is_unchanged_the_next_day(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path
) -> None:
    """Its manifest still tells of the hold, latest.json does not; both are whole."""
    backup_config(app, to=to)
    has_shipped(to, 1)
    execute(app, "DELETE FROM t")
    assert keeper("backup").status == 12
    assert keeper("backup", "--accept-loss", "app").status == 0

    run = keeper("backup", "--json")

    assert (run.status, run.entry["outcome"]) == (0, "unchanged")
    assert "not whole" not in run.err


def test_accept_loss_in_the_run_of_the_loss(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path
) -> None:
    """Who knows beforehand gets no alarm."""
    backup_config(app, to=to)
    has_shipped(to, 1)
    execute(app, "DELETE FROM t")
    assert keeper("backup", "--accept-loss", "app").status == 0
    assert "hold" not in latest(to)


def test_accept_loss_of_an_unknown_name_is_a_usage_error(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path
) -> None:
    """Nothing is done; it would look like accepted."""
    backup_config(app, to=to)
    run = keeper("backup", "--accept-loss", "ap")
    assert run.status == 2
    assert "--accept-loss ap: no database of this run has this name" in run.err
    assert not to.exists()


def test_a_hold_that_was_lifted_at_the_destination_is_over(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path
) -> None:
    """latest.json is read again before anything: another host may have rewritten it."""
    backup_config(app, to=to, **LAST_TWO)
    old = has_shipped(to, 1, 2, 3)
    execute(app, "DELETE FROM t")
    assert keeper("backup").status == 12
    lifted = {key: value for key, value in latest(to).items() if key != "hold"}
    (to / "app/latest.json").write_text(json.dumps(lifted))

    run = keeper("backup", "--json")

    assert run.status == 0
    assert "on hold" not in run.err
    assert set(run.json["pruned"]) == whole(old[1:])
    assert "hold" not in latest(to)


def test_a_hold_outlives_the_state_folder(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path, tmp_path: Path
) -> None:
    """It lies at the destination."""
    backup_config(app, to=to, **LAST_TWO)
    add_history(to, "app", [days_ago(days) for days in (1, 2, 3)], latest={"hold": HOLD})

    run = keeper("backup", "--json")

    assert (run.status, run.json["pruned"]) == (12, [])
    assert "t fell from 1,000 rows to 7" in run.err
    assert latest(to)["hold"] == HOLD


def test_a_hold_that_another_host_has_put_is_respected(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path
) -> None:
    """Whoever shipped last knows; this host's own record is older."""
    backup_config(app, to=to, **LAST_TWO)
    own = keeper("backup", "--json").entry["shipped"][0]["object"]
    name = parse_object(own)
    assert name is not None
    theirs = name.taken_at + timedelta(seconds=1)
    add_history(to, "app", [days_ago(2), days_ago(1), theirs], latest={"hold": HOLD})
    execute(app, "INSERT INTO t (body) VALUES (1)")

    run = keeper("backup", "--json")

    assert (run.entry["outcome"], run.json["pruned"]) == ("shipped", [])
    assert latest(to)["hold"] == HOLD


def test_a_latest_json_that_cannot_be_read_stops_pruning(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path
) -> None:
    """Without a record nothing else would tell of a hold; the backup counts."""
    backup_config(app, to=to, **LAST_TWO)
    add_history(to, "app", [days_ago(days) for days in (1, 2, 3)])
    (to / "app/latest.json").write_bytes(b"\xff{")

    run = keeper("backup", "--json")

    assert (run.status, run.entry["outcome"], run.json["pruned"]) == (0, "shipped", [])
    assert "warning: what was shipped before cannot be read" in run.err


def test_each_destination_is_compared_with_its_own_past(
    keeper: Keeper, app: Path, backup_config: BackupConfig, tmp_path: Path
) -> None:
    """A new one has none, so only the old one puts a hold."""
    has_shipped(tmp_path / "old", 1)
    execute(app, "DELETE FROM t")
    backup_config(app, to=[str(tmp_path / "old"), str(tmp_path / "new")])
    assert keeper("backup").status == 12
    assert "hold" in latest(tmp_path / "old")
    assert "hold" not in latest(tmp_path / "new")


INDEX = "CREATE VIRTUAL TABLE words USING fts5(body)"


def test_an_index_that_was_optimised_is_no_loss(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path
) -> None:
    """The shadow tables of FTS5 shrink; their names are in the manifest."""
    unmerged = [
        "INSERT INTO words (words, rank) VALUES ('crisismerge', 1000)",
        "INSERT INTO words (words, rank) VALUES ('automerge', 0)",
    ]
    execute(app, INDEX, *unmerged, *["INSERT INTO words VALUES ('one more')"] * 300)
    backup_config(app, to=to)
    before = keeper("backup", "--json").entry["tables"]["words_data"]
    execute(app, "INSERT INTO words (words) VALUES ('optimize')")

    run = keeper("backup", "--json")

    assert run.status == 0
    after = run.entry["tables"]["words_data"]
    assert lost_rows({"words_data": before}, {"words_data": after}, 0.5)
    assert "words_data" in latest(to)["shadow_tables"]


def test_the_content_of_an_index_is_data(
    keeper: Keeper, app: Path, backup_config: BackupConfig, to: Path
) -> None:
    """What was indexed counts, also when the whole FTS5 table is dropped."""
    execute(app, INDEX, *["INSERT INTO words VALUES ('one more')"] * 3)
    backup_config(app, to=to)
    assert keeper("backup").status == 0
    execute(app, "DROP TABLE words")
    run = keeper("backup", "--json")
    assert run.status == 12
    assert run.entry["reason"].startswith("words_content fell from 3 rows to 0; ")


def test_a_loss_that_could_not_be_shipped_is_still_told(
    keeper: Keeper, app: Path, backup_config: BackupConfig, tmp_path: Path
) -> None:
    """The snapshot failed to arrive at one of two destinations: 12, and both reasons."""
    backup_config(app, to=[str(tmp_path / "a"), str(tmp_path / "b")])
    has_shipped(tmp_path / "a", 1)
    execute(app, "DELETE FROM t")
    (tmp_path / "b").write_text("a file is in the way")
    run = keeper("backup", "--json")
    assert (run.status, run.entry["outcome"]) == (12, "failed")
    assert "t fell from 400 rows to 0" in run.entry["reason"]
