"""The zstd library: Python's own since 3.14, backports.zstd before."""

import shlex
import sys
from functools import cache
from importlib import import_module
from types import ModuleType

from sqlitekeeper.errors import ConfigError, KeeperError

# A Python 3.14 that was built without zstd can have the backport.
NAMES = ("compression.zstd", "backports.zstd")


class StoreError(KeeperError):
    """A stored snapshot cannot be used: damaged, or not what its manifest says."""


@cache
def zstd_library() -> ModuleType:
    """The library, loaded when it is first needed.

    Raises:
        ConfigError: this Python has none.
    """
    for name in NAMES:
        try:
            return import_module(name)
        except ImportError:
            continue
    raise ConfigError(
        "this Python has no zstd library, which compressed snapshots and deltas need",
        hint=f"{shlex.quote(sys.executable)} -m pip install backports.zstd (the extra zstd), or set"
        ' store = "plain" for new snapshots; RESTORE.txt at the destination restores without',
    )
