"""A whole backup run: real databases, real rclone, real destinations."""

import hashlib
import json
from pathlib import Path

from tests.conftest import S3, Keeper, MakeDatabase, count_rows


def test_snapshot_at_the_destination_is_a_plain_database(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path, any_rclone: Path
) -> None:
    """What lies at the destination opens as SQLite and holds every row."""
    path = make_database(rows=50)

    run = keeper("backup", path, "--to", tmp_path / "dest", "--json")

    assert run.status == 0
    (shipped,) = run.entry["shipped"]
    snapshot = tmp_path / "dest" / shipped["object"]
    assert count_rows(snapshot) == 50
    assert hashlib.sha256(snapshot.read_bytes()).hexdigest() == run.entry["sha256"]


def test_first_run_to_s3_lists_once(
    keeper: Keeper, make_database: MakeDatabase, s3: S3, any_rclone: Path
) -> None:
    """One list call for the destination, however many databases."""
    paths = [make_database(f"{name}.sqlite3", rows=10) for name in ("a", "b", "c")]

    run = keeper("backup", *paths, "--to", f"{s3.to}/host", "--json")

    assert run.status == 0
    assert s3.calls().count("LIST BUCKET") == 1
    manifest = json.loads((s3.folder / "host/a/latest.json").read_text())
    assert manifest["tables"] == {"t": 10}
