"""A database that changes, and what a local destination has of it."""

import json
from pathlib import Path
from typing import Any

import apsw

from tests.conftest import Outcome


def change(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("INSERT INTO t (body) VALUES (randomblob(50))").fetchall()
    connection.close()


def snapshots(to: Path, name: str = "app") -> list[Path]:
    return sorted((to / name).glob("*.sqlite3"))


def latest(to: Path, name: str = "app") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((to / name / "latest.json").read_text())
    return found


def outcomes(run: Outcome) -> list[str]:
    return [entry["outcome"] for entry in run.json["databases"]]
