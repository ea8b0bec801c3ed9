"""Litestream beside a database: whether it runs, and whether it has a place in it to lose.

Measured with 0.5.17. While it runs, it checkpoints by itself; a TRUNCATE from outside only
makes writers wait. While it does not, a checkpoint that copies the whole WAL and does not
truncate it (PASSIVE, or an application's automatic one) lets the next commit overwrite frames
that Litestream has not seen: its replica then lacks them, restores with status 0, and passes
integrity_check, until `litestream replicate -once -force-snapshot`. A WAL that is truncated,
or removed by the last connection, it notices.
"""

import os
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sqlitekeeper.database.processes import Process, openers, processes_of

_PROGRAM = "litestream"
_CONFIGURATION = Path("/etc/litestream.yml")
_FOLDER_ELSEWHERE = re.compile(r"^[\s-]*meta-(path|dir)\s*:", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Litestream:
    """A Litestream that replicates a database, or has done so.

    `process` is None where none is seen to run; `trace` is its folder, or the
    configuration that has its folder elsewhere.
    """

    process: Process | None
    trace: Path | None


def litestream_of(path: Path) -> Litestream | None:
    """The Litestream that belongs to a database; None without one."""
    real = Path(os.path.realpath(path))
    names = dict.fromkeys((path, real))
    folders = (one.with_name(f".{one.name}-litestream") for one in names)
    trace = next((one for one in folders if one.exists()), None)
    if trace is None and any(map(_is_configured, names)):
        trace = _configuration()
    process = _running(real, trace)
    return Litestream(process, trace) if process or trace else None


def left_to(litestream: Litestream) -> str:
    """Why there is no checkpoint of keeper's."""
    if litestream.process:
        return f"Litestream runs ({litestream.process}): the checkpoint is left to Litestream"
    return (
        "no checkpoint, since Litestream has replicated it and does not run: one could leave a gap"
        " in its replica (see keeper doctor)"
    )


def _running(path: Path, trace: Path | None) -> Process | None:
    """The process that works on this database, as the system tells it."""
    running = _programs(int(time.monotonic()))
    if not running and not (trace and trace.is_dir()):
        return None
    users = [one for one in openers([path]) if one.program == _PROGRAM]
    if trace and trace.is_dir():
        # A library of another program keeps its place there as well.
        users += openers([trace, *trace.rglob("*")])
    if not users and trace:
        # Of another user, it does not show what it has open.
        users = [one for one in running if not os.access(f"/proc/{one.pid}/fd", os.R_OK)]
    return next(iter(users), None)


@lru_cache(maxsize=1)
def _programs(second: int) -> list[Process]:
    """All that run, asked once a second: a command works on thousands of databases."""
    return processes_of(_PROGRAM)


def _configuration() -> Path:
    return Path(os.environ.get("LITESTREAM_CONFIG") or _CONFIGURATION)


def _is_configured(path: Path) -> bool:
    """Whether Litestream's configuration names a database, and a folder elsewhere for it."""
    try:
        text = _configuration().read_text(errors="replace")
    except OSError:
        return False
    places = "|".join(re.escape(str(one)) for one in (path, path.parent))
    named = re.search(rf"^[\s-]*(path|dir)\s*:\s*[\"']?({places})/?[\"']?\s*$", text, re.MULTILINE)
    return bool(named and _FOLDER_ELSEWHERE.search(text))
