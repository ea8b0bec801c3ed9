"""Litestream, used once: the first whole copy of some databases, then told to end."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.bench import Bench, Destination
from tests.benchmarks.peers import Program, find_litestream
from tests.benchmarks.processes import Cost, run

# What versions 0.3, which have no `-once`, write into their log for each database.
WRITTEN = "snapshot written"


def litestream_for_once() -> Program:
    """Litestream, where it is found and can be told to end when it has copied everything."""
    found = find_litestream()
    if found.path is None or _has_once(found.path):
        return found
    said = subprocess.run([found.path, "version"], capture_output=True, text=True).stdout
    if said.startswith("v0.3."):
        return found
    version = said.strip()
    return Program(
        found.name, None, f"litestream: {version} has no `replicate -once`; not measured"
    )


def _has_once(program: str) -> bool:
    said = subprocess.run([program, "replicate", "-h"], capture_output=True, text=True)
    return "-once" in said.stdout + said.stderr


def replicate_once(bench: Bench, databases: Path, to: Destination) -> Cost:
    """Replicate copies of some databases, as Litestream leaves tables of its own in them."""
    program = find_litestream().path
    assert program
    copies = bench.folder / "litestream"
    shutil.copytree(databases, copies)
    paths = sorted(copies.glob("*.sqlite3"))
    config = configure(bench, paths, to)
    bench.settle()
    once = _has_once(program)
    try:
        return run(
            [program, "replicate", *(["-once"] if once else []), "-config", config],
            bench.environment,
            bench.folder,
            enough=None if once else lambda text: text.count(WRITTEN) >= len(paths),
        )
    finally:
        bench.drop("litestream")


def configure(bench: Bench, paths: Sequence[Path], to: Destination) -> Path:
    """Litestream's configuration for some databases."""
    config = bench.folder / "litestream.yml"
    # JSON is YAML.
    config.write_text(json.dumps({"dbs": [_database(bench, path, to) for path in paths]}))
    return config


def _database(bench: Bench, path: Path, to: Destination) -> dict[str, object]:
    if to.target == "local":
        replica: dict[str, object] = {"type": "file", "path": str(to.folder / path.stem)}
    else:
        settings = bench.s3.environment
        replica = {
            "type": "s3",
            "bucket": bench.s3.folder.name,
            "path": f"{to.name}/{path.stem}",
            "endpoint": settings["RCLONE_CONFIG_LAB_ENDPOINT"],
            "region": settings["RCLONE_CONFIG_LAB_REGION"],
            "access-key-id": settings["RCLONE_CONFIG_LAB_ACCESS_KEY_ID"],
            "secret-access-key": settings["RCLONE_CONFIG_LAB_SECRET_ACCESS_KEY"],
            "force-path-style": True,
        }
    return {"path": str(path), "replicas": [replica]}
