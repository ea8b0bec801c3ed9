"""The `sh` blocks of a recipe's README, run as they stand there but for their paths."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.conftest import REPOSITORY

BIN = Path(sys.executable).parent


def recipe(name: str) -> Path:
    """The folder of a recipe."""
    return REPOSITORY / "recipes" / name


def shell_blocks(name: str) -> list[str]:
    """The blocks of a recipe's README that are marked as `sh`, in their order."""
    text = (recipe(name) / "README.md").read_text()
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run_shell(
    script: str,
    folder: Path,
    *,
    paths: Mapping[str, object] | None = None,
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a script with `sh -eu` in a folder; keeper and rclone are on its PATH.

    `paths` says what to put for each path that is the reader's own, such as
    /srv/app. The remote b2: is the folder "remote" below it.
    """
    for old, new in (paths or {}).items():
        assert old in script
        script = script.replace(old, str(new))
    environment = os.environ | {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "RCLONE_CONFIG_B2_TYPE": "alias",
        "RCLONE_CONFIG_B2_REMOTE": str(folder / "remote"),
    }
    return subprocess.run(
        ["sh", "-euc", script],
        cwd=folder,
        env=environment | (env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
