"""What the figures were measured with and on."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import apsw

import sqlitekeeper
from tests.benchmarks.peers import Program, find_litestream, find_rclone, find_sqlite3


def machine_facts(folder: Path) -> dict[str, Any]:
    """The machine, the file system that `folder` is on, and the versions of all programs."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "file_system": _file_system(folder),
        "load_average": round(os.getloadavg()[0], 2),
        "versions": {
            "keeper": sqlitekeeper.__version__,
            "python": platform.python_version(),
            "apsw": apsw.apsw_version(),
            "sqlite": apsw.sqlite_lib_version(),
            "sqlite3": _version(find_sqlite3(), "--version"),
            "rclone": _version(find_rclone(), "version"),
            "litestream": _version(find_litestream(), "version"),
        },
    }


def _version(program: Program, argument: str) -> str | None:
    """A program's version, without its own name, or None where there is no such program."""
    if program.path is None:
        return None
    said = subprocess.run([program.path, argument], capture_output=True, text=True, check=True)
    return said.stdout.split("\n")[0].removeprefix(f"{program.name} ").split()[0]


def _file_system(folder: Path) -> str:
    """The type of the file system that a folder is on, by the longest mount point above it."""
    best = ("", "unknown")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mounted_on, kind, *_ = line.split()
        if Path(mounted_on) in [folder, *folder.parents] and len(mounted_on) >= len(best[0]):
            best = (mounted_on, kind)
    return best[1]
