"""recipes/r2 against an S3 server that keeps a bucket lock as Cloudflare describes it."""

import json
import os
from pathlib import Path

import pytest

from tests.conftest import S3, Keeper, MakeDatabase, count_rows
from tests.recipes.policed_s3 import policed
from tests.recipes.remotes import RECIPES, edited, in_environment, in_file, use
from tests.recipes.test_s3 import add_a_row, policy

R2 = RECIPES / "r2"


def test_file_and_environment_define_the_same_remote() -> None:
    """Which the configuration of keeper names."""
    assert in_file(R2 / "rclone.conf") == {"r2": in_environment(R2 / "environment", "r2")}
    assert 'to = "r2:my-bucket/web1"' in (R2 / "keeper.toml").read_text()


def test_lock_is_well_formed_and_leaves_latest_json_alone() -> None:
    """And is shorter than the days that are kept anyway."""
    lock = json.loads((R2 / "lock.json").read_text())
    assert set(lock) == {"rules"}
    for rule in lock["rules"]:
        assert set(rule) == {"id", "enabled", "prefix", "condition"}
        assert rule["condition"] == {"type": "Age", "maxAgeSeconds": 5 * 24 * 3600}
        assert not "web1/production/latest.json".startswith(rule["prefix"])
        assert "web1/production/production-20261123T030000Z-k3f9q.json".startswith(rule["prefix"])


def test_backups_go_on_under_the_lock(
    s3: S3,
    tmp_path: Path,
    make_database: MakeDatabase,
    keeper: Keeper,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it refuses is said, and done another time."""
    database = make_database("production.sqlite3", rows=40)
    bucket = s3.folder.parent / "my-bucket"
    bucket.mkdir()
    config = tmp_path / "keeper.toml"
    config.write_text(edited("r2", "keeper.toml", {"/srv/app/storage": str(tmp_path)}))
    upstream = int(os.environ["RCLONE_CONFIG_LAB_ENDPOINT"].rpartition(":")[2])
    (rule,) = json.loads((R2 / "lock.json").read_text())["rules"]
    with policed(upstream, policy("all"), locked=(rule["prefix"],)) as police:
        use(
            monkeypatch,
            "r2",
            "environment",
            "r2",
            endpoint=f"http://127.0.0.1:{police.port}",
            access_key_id="LABACCESSKEY",
            secret_access_key="LABSECRETKEY",
        )
        assert keeper("backup").status == 0
        add_a_row(database)
        assert keeper("backup").status == 0
        assert keeper("drill").status == 0
        assert police.refused == []

        again = keeper("drill")
        assert again.status == 0
        assert "only this host remembers the drill" in again.err
        rules = "\n".join(f"keep_{every} = 0" for every in ("daily", "weekly", "monthly"))
        (tmp_path / "none.toml").write_text(f'[backup]\nto = "r2:my-bucket/web1"\n{rules}\n')
        pruned = keeper("prune", "-c", "none.toml")
        assert pruned.status == 1
        assert "AccessDenied" in pruned.err
        assert len(list(bucket.rglob("production-*.sqlite3"))) == 2
        assert keeper("restore", "production", "--to", "back.sqlite3").status == 0
    assert count_rows(tmp_path / "back.sqlite3") == 41
