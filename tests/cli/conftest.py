"""What the tests of the commands share."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Companion

HOLD = """
import os, sys
from pathlib import Path
from sqlitekeeper.state.locks import database_lock
with database_lock(Path(os.environ["KEEPER_STATE"]), Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def keepers_lock() -> Iterator[Callable[[Path], Companion]]:
    """Hold keeper's own lock on a database, as another keeper run would."""
    with ExitStack() as stack:

        def start(database: Path) -> Companion:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", HOLD, str(database)],
                    cwd=REPOSITORY,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            return Companion(process)

        yield start
