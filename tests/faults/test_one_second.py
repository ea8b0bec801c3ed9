"""Two that ship to one place in one second, and know nothing of each other."""

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from sqlitekeeper.filesystem.checksum import sha256_of
from tests.conftest import REPOSITORY, S3, MakeDatabase
from tests.faults.surroundings import manifests_that_lie


@pytest.fixture
def places(make_database: MakeDatabase, tmp_path: Path) -> list[Path]:
    """Two hosts' databases of one name: as large as each other, with other rows."""
    return [make_database(f"{host}/app.sqlite3", rows=40) for host in ("web1", "web2")]


def at_once(places: Sequence[Path], to: str) -> list[list[str]]:
    """A run of each host, begun in the same moment; what they say of their uploads."""
    with ExitStack() as stack:
        runs = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.faults.one_second"]
                    + [str(one) for one in (path.parent / "state", path.parent.name, path, to)],
                    cwd=REPOSITORY,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for path in places
        ]
        for run in runs:
            assert run.stdout is not None
            assert run.stdout.readline() == "ready\n"
        for run in runs:
            assert run.stdin is not None
            run.stdin.write("\n")
            run.stdin.flush()
        said = [run.communicate(timeout=60)[0] for run in runs]
        assert [run.returncode for run in runs] == [0, 0]
    return [json.loads(one) for one in said]


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """A destination, and where its objects lie."""
    if request.param == "folder":
        return str(tmp_path / "to"), tmp_path / "to"
    s3: S3 = request.getfixturevalue("s3")
    return s3.to, s3.folder


def test_what_each_host_says_of_its_snapshot_is_true(
    places: list[Path], place: tuple[str, Path]
) -> None:
    """Each manifest lies beside its own snapshot, and what each run names has its content.

    In the second round they see what the other has shipped, or do not.
    """
    to, folder = place
    for _ in range(2):
        runs = at_once(places, to)

        assert manifests_that_lie(folder) == []
        for outcome, reason, path, sha256 in runs:
            assert outcome in ("shipped", "unchanged"), reason
            assert sha256_of(folder / path) == sha256, runs
