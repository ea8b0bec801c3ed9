"""Whether anybody can have a database open whom keeper would not see.

In WAL mode each connection holds a lock for as long as it is open, and so does Turso. In
rollback-journal mode an idle one holds none: there only /proc tells, and not everything.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from sqlitekeeper.database.files import IN_MVCC_MODE, MAGIC
from sqlitekeeper.database.processes import Process
from sqlitekeeper.database.replace.exclusive import exclusive_file
from sqlitekeeper.errors import BusyError
from sqlitekeeper.filesystem.access import access_of
from sqlitekeeper.filesystem.disks import network_filesystem

# PROC_PID_INIT_INO of the kernel's include/linux/proc_ns.h, the same since Linux 3.8.
_FIRST_PID_NAMESPACE = 0xEFFFFFFC
_PROC = Path("/proc")
# They belong to whoever has logged in, may not be looked at, and open no databases.
_OF_A_LOGIN = frozenset({"sshd", "sshd-session", "(sd-pam)", "ssh-agent", "gpg-agent"})
_NAMED = 3

# Bytes 18 and 19 of the header (https://sqlite.org/fileformat.html): WAL; Turso's MVCC.
_WITH_LOCKS = (b"\x02\x02", IN_MVCC_MODE)


def refuse_unseen(path: Path) -> None:
    """Refuse to replace a database that somebody may have open whom keeper does not see.

    Raises:
        BusyError: says who that may be. Or somebody holds a lock on it.
        KeeperError: it cannot be opened for writing.
    """
    blind = _blind_spot(path)
    if blind is None or _each_connection_holds_a_lock(path):
        return
    raise BusyError(
        f"{path}: may be open: outside WAL mode no lock tells of idle connections, and {blind}",
        hint="stop the application, then add --assume-stopped",
    )


def _each_connection_holds_a_lock(path: Path) -> bool:
    with exclusive_file(path) as descriptor:
        header = os.pread(descriptor, 20, 0)
    return header.startswith(MAGIC) and header[18:] in _WITH_LOCKS


def _blind_spot(path: Path) -> str | None:
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
            next((entry / "fd").iterdir(), None)
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
