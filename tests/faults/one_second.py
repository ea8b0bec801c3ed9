"""A backup run whose clock stands still, of STATE, HOST, DATABASE and TO.

It is ready to begin when it says so, begins when a line comes in, and then says what it has
shipped as JSON.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from sqlitekeeper.backup.run import BackupOptions, back_up
from sqlitekeeper.config.settings import Database
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.program import find_rclone

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)


def main(state: str, host: str, database: str, to: str) -> None:
    """Run it."""
    options = BackupOptions(
        to=(to,),
        rclone=Rclone(find_rclone(None)),
        state=Path(state),
        host=host,
        keeper_version="0.1.0",
        clock=lambda: NOW,
        staging=Path(database).parent,
    )
    print("ready", flush=True)
    sys.stdin.readline()
    (result,) = back_up([Database(Path(database).stem, Path(database))], options).databases
    (shipped,) = result.shipped
    said = [result.outcome, result.reason, shipped.object, result.sha256]
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
