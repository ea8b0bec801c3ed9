"""Processes whose open files this one cannot see: of other hosts, containers and users."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from sqlitekeeper.database.processes import Process
from sqlitekeeper.filesystem.access import access_of
from sqlitekeeper.filesystem.disks import network_filesystem

# PROC_PID_INIT_INO of the kernel's include/linux/proc_ns.h, the same since Linux 3.8.
_FIRST_PID_NAMESPACE = 0xEFFFFFFC
_PROC = Path("/proc")
# They belong to whoever has logged in, may not be looked at, and open no databases.
_OF_A_LOGIN = frozenset(
    {"sshd", "sshd-session", "sftp-server", "dropbear", "ssh-agent", "gpg-agent"}
    | {"systemd", "(sd-pam)", "screen", "fusermount", "fusermount3"}
)
_NAMED = 3


def blind_spot(path: Path) -> str | None:
    """Who could have a file open without being seen; None where nobody could."""
    if found := network_filesystem(path):
        return f"other hosts may have it open ({found})"
    try:
        first = (_PROC / "self/ns/pid").stat().st_ino == _FIRST_PID_NAMESPACE
    except OSError:
        return "there is no /proc to tell who has it open"
    if not first:
        return "keeper does not see from this container who has it open"
    unseen = list(_unseen_writers(path))
    if not unseen:
        return None
    who = ", ".join(map(str, unseen[:_NAMED]))
    more = f" and {len(unseen) - _NAMED} more" if len(unseen) > _NAMED else ""
    return f"this user does not see what {who}{more} may have open"


def _unseen_writers(path: Path) -> Iterator[object]:
    """Processes that may write to a database and whose open files are not shown to this user.

    Who may not write to its folder cannot make the journal that it takes. root may do
    anything, and is not meant: nobody but root could restore anything.
    """
    real = Path(os.path.realpath(path))
    targets = access_of(real), access_of(real.parent)
    # The mount option hidepid of /proc: see proc(5).
    hidden = not (_PROC / "1").exists()
    for entry in _PROC.glob("[0-9]*"):
        try:
            # One with capabilities of its own shows its numbers, and not what they lead to.
            for first in islice((entry / "fd").iterdir(), 1):
                first.readlink()
        except PermissionError:
            pass
        except OSError:
            continue
        else:
            continue
        try:
            name, uids, gids = _identity((entry / "status").read_text(errors="replace"))
        except PermissionError:
            hidden = True
        except OSError:
            continue
        else:
            may = all(target.lets_write(uids, gids) for target in targets)
            if uids != {0} and name not in _OF_A_LOGIN and may:
                yield Process(int(entry.name), name)
    if hidden and all(target.mode & 0o022 for target in targets):
        yield "other users"


def _identity(status: str) -> tuple[str, set[int], set[int]]:
    """The program, users and groups of a process, from its status; see proc_pid_status(5)."""
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    gids = {int(word) for word in (fields["Gid"] + fields["Groups"]).split()}
    return fields["Name"].strip(), {int(word) for word in fields["Uid"].split()}, gids
