"""Findings about a Litestream that replicates a database, or has done so."""

import shlex
from pathlib import Path

from sqlitekeeper.database.litestream import litestream_of
from sqlitekeeper.doctor.finding import Finding


def diagnose_litestream(name: str, path: Path) -> Finding:
    """Whether Litestream works on it, and what its replica may lack."""
    found = litestream_of(path)
    if found is None:
        return Finding("ok", name, "litestream", "no Litestream beside it")
    if found.process:
        message = f"Litestream replicates it ({found.process}): keeper vacuum leaves the WAL alone"
        return Finding("ok", name, "litestream", message)
    trace = shlex.quote(str(found.trace))
    is_folder = bool(found.trace and found.trace.is_dir())
    gone = f"rm -r {trace}" if is_folder else f"take it out of {trace}"
    return Finding(
        "warn",
        name,
        "litestream",
        f"Litestream has replicated it ({trace}), and none is seen to run: what is committed"
        " meanwhile may be missing from its replica for good, and its restore does not say so"
        " (0.5.17); keeper vacuum leaves the WAL alone",
        "before it runs again: litestream replicate -once -force-snapshot; if Litestream does not"
        f" run any more: {gone}",
    )
