"""What holds after every fault, whatever it was."""

import hashlib
import json
from pathlib import Path

from tests.conftest import Outcome, contents


def manifests_that_lie(folder: Path) -> list[str]:
    """The manifests below a destination's folder whose snapshot is not there, whole."""
    lies = []
    for paper in sorted(folder.rglob("*.json")):
        if paper.name.endswith((".proven.json", ".failed.json")):
            continue
        try:
            said = json.loads(paper.read_bytes())["snapshot"]
        except ValueError:
            continue  # what cannot be read claims nothing
        snapshot = folder / said["object"]
        found = hashlib.sha256(snapshot.read_bytes()).hexdigest() if snapshot.exists() else None
        if found != said["sha256"]:
            lies.append(str(paper.relative_to(folder)))
    return lies


def snapshots_of(folder: Path) -> list[str]:
    """The names of the snapshots that have a manifest, oldest first."""
    whole = (path for path in folder.rglob("*.sqlite3") if path.with_suffix(".json").exists())
    return sorted(path.name for path in whole)


def assert_clean_failure(run: Outcome, destination: Path, staging: Path, status: int = 1) -> str:
    """The run (with -q) failed as it should; its one complaint, with the hint."""
    assert run.status == status, run.err
    assert manifests_that_lie(destination) == []
    assert contents(staging) == {}
    lines = run.err.splitlines()
    assert len([line for line in lines if not line.startswith("keeper: hint: ")]) == 1, run.err
    return run.err
