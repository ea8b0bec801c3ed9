"""recipes/b2: rclone's B2 backend against a server that obeys a key's capabilities."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import DEBIAN_RCLONE, Keeper, MakeDatabase, count_rows
from tests.recipes.b2_server import CLASS_A, CLASS_B, CLASS_C, NEEDS, serve_b2
from tests.recipes.remotes import RECIPES, edited, in_environment, in_file, use
from tests.recipes.test_s3 import add_a_row

B2_RECIPE = RECIPES / "b2"
KEYS = {
    name: frozenset(capabilities)
    for name, capabilities in json.loads((B2_RECIPE / "keys.json").read_text()).items()
}


@pytest.fixture
def database(tmp_path: Path, make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The database of the recipe's keeper.toml."""
    text = edited("b2", "keeper.toml", {"/srv/app/storage": str(tmp_path)})
    for rule in ("keep_daily = 7", "keep_weekly = 4", "keep_monthly = 12"):
        assert rule in text
        text = text.replace(rule, f"{rule.split()[0]} = 0")
    (tmp_path / "keeper.toml").write_text(text)
    # One refusal is enough of an answer.
    monkeypatch.setenv("RCLONE_RETRIES", "1")
    monkeypatch.setenv("RCLONE_LOW_LEVEL_RETRIES", "1")
    return make_database("production.sqlite3", rows=40)


def test_file_and_environment_define_the_same_remote() -> None:
    """Which the configuration of keeper names; nothing is deleted for good."""
    found = in_file(B2_RECIPE / "rclone.conf")
    assert found == {"b2": in_environment(B2_RECIPE / "environment", "b2")}
    assert found["b2"]["hard_delete"] == "false"
    assert 'to = "b2:my-bucket/web1"' in (B2_RECIPE / "keeper.toml").read_text()


def test_keys_have_capabilities_that_there_are() -> None:
    """And none of those that delete for good or change the bucket."""
    known = {need for need in NEEDS.values() if need}
    for capabilities in KEYS.values():
        assert capabilities <= known - {"deleteFiles", "writeBuckets"}


def test_lifecycle_rule_deletes_only_what_is_hidden() -> None:
    """An unchanged database has one snapshot, however old: none may go by its age."""
    (rule,) = json.loads((B2_RECIPE / "lifecycle.json").read_text())
    assert rule == {
        "daysFromHidingToDeleting": 30,
        "daysFromUploadingToHiding": None,
        "fileNamePrefix": "",
    }


def test_the_servers_key_backs_up_prunes_and_drills_and_loses_nothing_for_good(
    database: Path, tmp_path: Path, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was pruned is hidden, every version of it still there."""
    with serve_b2(KEYS["keeper-web1"]) as b2:
        use(monkeypatch, "b2", "file", "b2", endpoint=f"http://127.0.0.1:{b2.port}")
        assert keeper("backup").status == 0
        (first,) = [name for name in b2.current() if name.endswith(".sqlite3")]
        add_a_row(database)
        b2.calls.clear()
        done = keeper("backup")
        assert done.status == 0, done.err
        calls = Counter(b2.calls)
        assert keeper("drill").status == 0
        assert keeper("restore", "production", "--to", "back.sqlite3").status == 0

    assert b2.refused == []
    assert first not in b2.current()
    assert any(version.name == first and version.content for version in b2.versions)
    assert count_rows(tmp_path / "back.sqlite3") == 41
    # What the recipe says of the costs: one listing, and one login.
    assert set(calls) <= CLASS_A | CLASS_B | CLASS_C
    assert calls["b2_list_file_names"] == 1
    assert calls["b2_authorize_account"] == 1
    assert calls["b2_list_buckets"] == 0
    assert sum(calls[name] for name in CLASS_B) <= 20


def test_the_watchers_key_reads_and_no_more(
    database: Path, tmp_path: Path, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the environment, with Debian's rclone where there is one, and a key for one prefix."""
    if DEBIAN_RCLONE.exists():
        monkeypatch.setenv("KEEPER_RCLONE", str(DEBIAN_RCLONE))
    with serve_b2(KEYS["keeper-web1"], name_prefix="web1/") as b2:
        use(monkeypatch, "b2", "environment", "b2", endpoint=f"http://127.0.0.1:{b2.port}")
        assert keeper("backup").status == 0
        held = b2.versions
    with serve_b2(KEYS["keeper-watcher"], list(held)) as b2:
        use(monkeypatch, "b2", "environment", "b2", endpoint=f"http://127.0.0.1:{b2.port}")
        assert keeper("status", "--fleet", "b2:my-bucket").status == 0
        assert keeper("restore", "production", "--to", "back.sqlite3").status == 0
        assert b2.refused == []
        refused = keeper("backup", "--force")
        assert refused.status == 1
        assert "the key is wrong, or lacks a capability on this bucket" in refused.err
    assert b2.versions == held
    assert set(b2.refused) == {"b2_get_upload_url"}
    assert count_rows(tmp_path / "back.sqlite3") == 40
