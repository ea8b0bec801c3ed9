"""An application and keeper, everything at once, for as long as KEEPER_TEST_SOAK_SECONDS says.

Every snapshot adds up, nothing waits for ever, no lock stays, and keeper never
ends in any other way than it promises.
"""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import apsw

from sqlitekeeper.filesystem.checksum import sha256_of
from tests.conftest import REPOSITORY, BackupConfig, Keeper
from tests.faults.conftest import StartWriter
from tests.faults.ledger import make_ledger, problems_of
from tests.faults.scene import assert_tidy

SECONDS = float(os.environ.get("KEEPER_TEST_SOAK_SECONDS", "60"))
# No run may take longer, whatever the application does. It waits for locks for 30 s at the most.
BOUND_SECONDS = 100
# Of a database that is deleted, replaced or locked at that moment: what a run may fail with.
REASONS = re.compile(
    r"(?i)no such file|database is locked|another keeper run holds the lock|was replaced"
)


class Keepers:
    """Keeper commands, each run again and again, and how they have ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stop = threading.Event()
        self.endings: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.longest = 0.0

    def repeat(self, arguments: list[str], pause: float, after: Callable[[], object]) -> None:
        """Run a command until it is time to stop."""
        while not self.stop.wait(pause):
            try:
                self._run(arguments)
                after()
            except Exception as error:
                self.wrong.append(f"{arguments}: {type(error).__name__}: {error}")

    def _run(self, arguments: list[str]) -> None:
        began = time.monotonic()
        run = subprocess.run(
            [sys.executable, "-m", "sqlitekeeper", *arguments, "--json"],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BOUND_SECONDS,
        )
        self.longest = max(self.longest, time.monotonic() - began)
        self.endings[f"{arguments[0]} {run.returncode}"] += 1
        said = json.loads(run.stdout)
        bad = [one for one in said["databases"] if one["outcome"] in ("failed", "busy")]
        reasons = [one["reason"] or "" for one in bad]
        if said["error"] and not reasons:
            reasons = [said["error"]["message"]]
        for reason in reasons:
            self.endings[f"{arguments[0]}: {re.sub('/[^:]*', '...', reason)[:90]}"] += 1
        unclear = [reason for reason in reasons if not REASONS.search(reason)]
        if unclear or run.returncode not in (0, 1, 3, 11) or "Traceback" in run.stderr:
            self.wrong.append(f"{arguments} ended {run.returncode}: {unclear} {run.stderr}")


def test_everything_at_once(
    tmp_path: Path,
    keeper: Keeper,
    temporary: Path,
    start_writer: StartWriter,
    backup_config: BackupConfig,
) -> None:
    """Two writers, a pinned WAL, upheavals, hourly vacuums each second, backup after backup."""
    data = tmp_path / "data"
    data.mkdir()
    steady, wild = data / "steady.sqlite3", data / "wild.sqlite3"
    make_ledger(steady, bytes_of_ballast=1_000_000)
    backup_config(steady, wild, to=tmp_path / "dest", keep_last=3, keep_daily=0, loss_alarm=1)
    application = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.application", str(wild), "20261123"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert application.stdout is not None
    assert application.stdout.readline() == "ready\n"
    writer = start_writer(steady)
    keepers = Keepers(tmp_path)
    looked_at: set[Path] = set()

    def look_at_snapshots() -> None:
        """Each new one adds up, and is what its manifest says."""
        for paper in set((tmp_path / "dest").glob("*/*Z-?????.json")) - looked_at:
            looked_at.add(paper)
            manifest = json.loads(paper.read_bytes())["snapshot"]
            snapshot = tmp_path / "dest" / manifest["object"]
            assert sha256_of(snapshot) == manifest["sha256"]
            assert problems_of(snapshot) == []

    loops = [
        threading.Thread(target=keepers.repeat, args=arguments)
        for arguments in (
            (["vacuum"], 1.0, lambda: None),
            (["backup"], 0.1, look_at_snapshots),
            (["report"], 2.0, lambda: None),
        )
    ]
    for loop in loops:
        loop.start()
    keepers.stop.wait(SECONDS)
    keepers.stop.set()
    for loop in loops:
        loop.join()
    said, _ = application.communicate(timeout=60)
    writer.end()
    print(dict(keepers.endings), f"longest {keepers.longest:.1f} s, {len(looked_at)} snapshots")
    print("application:", said)

    assert keepers.wrong == []
    assert application.returncode == 0, said
    assert len(looked_at) > SECONDS / 10
    for path in (steady, wild):
        connection = apsw.Connection(str(path))
        connection.execute("BEGIN EXCLUSIVE; COMMIT").fetchall()
        connection.close()
    assert problems_of(steady, writer.committed) == []
    assert keeper("vacuum", "--all").status == 0
    assert keeper("backup").status == 0
    assert_tidy(tmp_path)
