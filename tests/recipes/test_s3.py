"""The keys, rules and remotes of recipes/s3, against an S3 server that obeys the policies."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.conftest import DEBIAN_RCLONE, S3, Keeper, MakeDatabase, count_rows
from tests.recipes.policed_s3 import Police, check_policy, policed
from tests.recipes.remotes import (
    RECIPES,
    WAYS,
    edited,
    in_environment,
    in_file,
    keys,
    use,
)

S3_RECIPE = RECIPES / "s3"
POLICIES = ["append", "prune", "all", "read"]
RCLONE = Path(sys.executable).with_name("rclone")


def policy(name: str) -> dict[str, Any]:
    """One of the recipe's policies."""
    value: dict[str, Any] = json.loads((S3_RECIPE / f"policy-{name}.json").read_text())
    return value


def actions(name: str) -> set[str]:
    """What a policy allows."""
    return {action for one in policy(name)["Statement"] for action in one["Action"]}


@pytest.fixture
def server(
    s3: S3, tmp_path: Path, make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A server with the recipe's keeper.toml and one database; the bucket's folder."""
    make_database("production.sqlite3", rows=40)
    bucket = s3.folder.parent / "my-bucket"
    bucket.mkdir()
    text = edited("s3", "keeper.toml", {"/srv/app/storage": str(tmp_path)})
    (tmp_path / "keeper.toml").write_text(text)
    (tmp_path / "prune.toml").write_text(
        edited("s3", "prune.toml", {"daily = 7": "daily = 1", "weekly = 4": "weekly = 0"}).replace(
            "monthly = 12", "monthly = 0"
        )
    )
    # One refusal is enough of an answer.
    monkeypatch.setenv("RCLONE_RETRIES", "1")
    monkeypatch.setenv("RCLONE_LOW_LEVEL_RETRIES", "1")
    return bucket


@contextmanager
def with_key(name: str, monkeypatch: pytest.MonkeyPatch, way: str = "file") -> Iterator[Police]:
    """An S3 server that allows what one of the policies does."""
    upstream = int(os.environ["RCLONE_CONFIG_LAB_ENDPOINT"].rpartition(":")[2])
    with policed(upstream, policy(name)) as police:
        use(
            monkeypatch,
            "s3",
            way,
            "s3",
            provider="Other",  # AWS takes no plain HTTP
            endpoint=f"http://127.0.0.1:{police.port}",
            access_key_id="LABACCESSKEY",
            secret_access_key="LABSECRETKEY",
        )
        yield police


def add_a_row(path: Path) -> None:
    """So that there is something new to back up."""
    connection = apsw.Connection(str(path))
    connection.execute("INSERT INTO t (body) VALUES (randomblob(900))").fetchall()
    connection.close()


def test_file_and_environment_define_the_same_remote() -> None:
    """Which the configuration of keeper names."""
    found = in_file(S3_RECIPE / "rclone.conf")
    assert found == {"s3": in_environment(S3_RECIPE / "environment", "s3")}
    assert 'to = "s3:my-bucket/web1"' in (S3_RECIPE / "keeper.toml").read_text()


@pytest.mark.parametrize("name", POLICIES)
def test_policies_are_well_formed_and_match_what_they_name(name: str) -> None:
    """Actions on buckets name the bucket, actions on objects what is in it."""
    check_policy(policy(name))


def test_only_the_keys_that_prune_may_delete() -> None:
    """And none may change the bucket or get at older versions."""
    deleting = {name for name in POLICIES if "s3:DeleteObject" in actions(name)}
    assert deleting == {"prune", "all"}
    assert {name for name in POLICIES if "s3:PutObject" in actions(name)} == {"append", "all"}


@WAYS
def test_append_key_is_enough_to_back_up_drill_restore_and_ask(
    way: str, server: Path, tmp_path: Path, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And there is nothing in its policy that keeper does not use."""
    if way == "environment" and DEBIAN_RCLONE.exists():
        monkeypatch.setenv("KEEPER_RCLONE", str(DEBIAN_RCLONE))
    with with_key("append", monkeypatch, way) as police:
        for command in ("backup", "drill", "status") if way == "file" else ("backup",):
            done = keeper(command)
            assert (done.status, police.refused) == (0, []), done.err
        assert keeper("restore", "production", "--to", "back.sqlite3").status == 0
    assert count_rows(tmp_path / "back.sqlite3") == 40
    # Aborting is for large uploads that fail.
    assert police.actions == actions("append") - {"s3:AbortMultipartUpload"}


def test_append_key_deletes_nothing_and_the_prune_key_does_from_another_machine(
    server: Path, tmp_path: Path, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With prune = true the server says that it cannot; its snapshot has arrived all the same."""
    file = tmp_path / "keeper.toml"
    rules = "\n".join(f"keep_{every} = 0" for every in ("daily", "weekly", "monthly"))
    file.write_text(file.read_text().replace("prune = false", rules))
    with with_key("append", monkeypatch) as police:
        assert keeper("backup").status == 0
        add_a_row(tmp_path / "production.sqlite3")
        done = keeper("backup")
    assert {wish.action for wish in police.refused} == {"s3:DeleteObject"}
    assert "could not be deleted" in done.err
    assert "the key lacks a permission on this bucket" in done.err
    assert len(list(server.rglob("production-*.sqlite3"))) == 2

    # The other machine has neither the database nor what the server remembers.
    monkeypatch.setenv("KEEPER_STATE", str(tmp_path / "elsewhere"))
    with with_key("prune", monkeypatch) as police:
        done = keeper("prune", "-c", "prune.toml", "--json")
    assert done.status == 0, done.err
    assert police.refused == []
    assert police.actions == actions("prune")
    assert len(list(server.rglob("production-*.sqlite3"))) == 1


def test_read_key_watches_and_restores_and_changes_nothing(
    server: Path, tmp_path: Path, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drill with it proves the snapshot, and cannot leave a drill record."""
    with with_key("append", monkeypatch):
        assert keeper("backup").status == 0
    before = sorted(server.rglob("*"))

    with with_key("read", monkeypatch) as police:
        assert keeper("status", "--fleet", "s3:my-bucket").status == 0
        where = ("--from", "s3:my-bucket/web1")
        assert keeper("restore", "production", *where, "--to", "back.sqlite3").status == 0
        assert police.actions == actions("read")
        assert police.refused == []
        drill = keeper("drill")
        assert drill.status == 0
        assert "only this host remembers the drill" in drill.err
        backup = keeper("backup")
        assert backup.status == 1
        assert "the key lacks a permission on this bucket" in backup.err

    assert sorted(server.rglob("*")) == before


def test_a_run_costs_what_the_recipe_says_and_large_uploads_need_no_other_key(
    server: Path, tmp_path: Path, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One listing; a PUT for each database and two more for a changed one; two HEADs a PUT."""
    with with_key("append", monkeypatch) as police:
        for changed in (True, False):
            assert keeper("backup").status == 0
            calls, puts = list(police.requests), police.requests.count("PUT")
            police.requests.clear()
            assert puts == 1 + 2 * changed
            assert calls.count("GET") == 1
            assert calls.count("HEAD") <= 2 * puts
            assert set(calls) == {"GET", "PUT", "HEAD"}
        # From 200 MB on rclone uploads in parts; here from the first byte on.
        monkeypatch.setenv("RCLONE_S3_UPLOAD_CUTOFF", "0")
        assert keeper("backup", "--force").status == 0
        assert "POST" in police.requests
        assert police.refused == []


def test_lifecycle_rules_touch_no_snapshot_that_is_current() -> None:
    """An unchanged database has one snapshot, however old: no rule may go by its age."""
    rules = json.loads((S3_RECIPE / "lifecycle.json").read_text())["Rules"]
    known = {"ID", "Status", "Filter", "Prefix", "NoncurrentVersionExpiration", "NoncurrentDays"}
    known |= {"Expiration", "ExpiredObjectDeleteMarker"}
    known |= {"AbortIncompleteMultipartUpload", "DaysAfterInitiation"}
    assert keys(rules) == known
    assert {rule["Status"] for rule in rules} == {"Enabled"}
    assert [rule["Expiration"] for rule in rules if "Expiration" in rule] == [
        {"ExpiredObjectDeleteMarker": True}
    ]


def test_crypt_hides_names_and_contents_and_restores(
    server: Path, tmp_path: Path, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With keeper, and with rclone alone."""
    conf = tmp_path / "rclone.conf"
    crypt = edited("s3", "crypt.conf", {})
    for word in ("PASSWORD", "SALT"):
        obscured = subprocess.run(
            [RCLONE, "obscure", word], capture_output=True, text=True, check=True
        )
        crypt = crypt.replace(f"OBSCURED-{word}", obscured.stdout.strip())
    conf.write_text((S3_RECIPE / "rclone.conf").read_text() + crypt)
    file = tmp_path / "keeper.toml"
    file.write_text(file.read_text().replace("s3:my-bucket/web1", "s3-crypt:"))

    with with_key("append", monkeypatch) as police:
        monkeypatch.setenv("RCLONE_CONFIG", str(conf))
        assert keeper("backup").status == 0
        # The listing, and latest.json: crypt has no hashes that could tell what it is.
        assert police.requests.count("GET") == 2
        where = ("--from", "s3-crypt:", "--to", "back.sqlite3")
        assert keeper("restore", "production", *where).status == 0
        listed = subprocess.run(
            [RCLONE, "lsf", "-R", "--files-only", "--include", "*.sqlite3", "s3-crypt:"],
            capture_output=True,
            text=True,
            check=True,
        )
        subprocess.run(
            [RCLONE, "copyto", f"s3-crypt:{listed.stdout.strip()}", "alone.sqlite3"],
            cwd=tmp_path,
            check=True,
        )
        assert police.refused == []

    assert count_rows(tmp_path / "back.sqlite3") == count_rows(tmp_path / "alone.sqlite3") == 40
    objects = [path for path in server.rglob("*") if path.is_file()]
    assert len(objects) == 3
    assert not [path for path in objects if "production" in str(path.relative_to(server))]
    assert {path.read_bytes()[:8] for path in objects} == {b"RCLONE\0\0"}
