"""Access to a file: owner, mode, POSIX ACL and labels, read and given to another file.

The group bits of a file with an ACL are the ACL's mask, not the group's rights (acl(5)). So a
mode is never taken from such a file without its ACL: what cannot have the ACL gets a mode that
lets nobody in whom the ACL kept out. Files are asked by their paths and not opened, so that no
lock of SQLite's is dropped.
"""

import errno
import os
import re
import shlex
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from pathlib import Path

from sqlitekeeper.errors import KeeperError
from sqlitekeeper.events import Level, Listener, Note

ACL = "system.posix_acl_access"
_FOR_NEW_FILES = "system.posix_acl_default"
# Of the content, or made by the file system.
_NOT_KEPT = ("security.capability", "security.ima", "security.evm", ACL, _FOR_NEW_FILES)
_KEPT = ("security.", "system.", "user.")

# include/uapi/linux/posix_acl_xattr.h: a version, then a tag, permissions and an id each.
_VERSION, _ENTRY = struct.Struct("<I"), struct.Struct("<HHI")
_OWNER, _USER, _GROUP, _NAMED_GROUP, _MASK, _OTHERS = 1, 2, 4, 8, 0x10, 0x20
_WORDS = {_OWNER: "u", _USER: "u", _GROUP: "g", _NAMED_GROUP: "g", _MASK: "m", _OTHERS: "o"}


@dataclass(frozen=True, slots=True)
class Access:
    """Who may open a file. `mode` is as stat(2) has it, so with an `acl` it holds the mask.

    `attributes` are the other extended attributes that belong to it: security labels, the
    ACLs of other file systems, and what users have noted.
    """

    uid: int
    gid: int
    mode: int
    acl: bytes | None = None
    attributes: tuple[tuple[str, bytes], ...] = ()

    @property
    def mode_without_acl(self) -> int:
        """The mode that lets nobody in, once the ACL is gone, who was not let in before."""
        if self.acl is None:
            return self.mode
        entries = tuple(_entries(self.acl))
        mask = next((allowed for tag, allowed, _ in entries if tag == _MASK), 7)

        def least(*tags: int) -> int:
            masked = (_USER, _GROUP, _NAMED_GROUP)
            given = (may & mask if tag in masked else may for tag, may, _ in entries if tag in tags)
            return reduce(and_, given, 7)

        # Without it, a user whom it named is one of the group, or of the others.
        group, others = least(_USER, _GROUP), least(_USER, _NAMED_GROUP, _OTHERS)
        return self.mode & ~0o077 | group << 3 | others

    def lets_write(self, uids: set[int], gids: set[int]) -> bool:
        """Whether a process with these users and groups may write, root's privileges aside."""
        if self.uid in uids:
            return bool(self.mode & stat.S_IWUSR)
        entries = tuple(_entries(self.acl)) if self.acl is not None else ()
        # Of a file with an ACL the mode has the mask.
        unmasked = [
            bool(may & 2)
            for tag, may, who in entries
            if (tag == _USER and who in uids)
            or (tag == _NAMED_GROUP and who in gids)
            or (tag == _GROUP and self.gid in gids)
        ]
        if unmasked or self.gid in gids:
            return bool(self.mode & stat.S_IWGRP) and (not entries or any(unmasked))
        return bool(self.mode & stat.S_IWOTH)

    @property
    def acl_text(self) -> str | None:
        """The ACL as `setfacl --set` takes it, with numbers for names."""
        if self.acl is None:
            return None
        named = (_USER, _NAMED_GROUP)
        return ",".join(
            f"{_WORDS[tag]}:{who if tag in named else ''}:{_letters(may)}"
            for tag, may, who in _entries(self.acl)
        )


def access_of(path: Path) -> Access:
    """Who may open a file.

    Raises:
        FileNotFoundError: there is none.
    """
    facts = path.stat()
    attributes = _attributes(path)
    kept = tuple(
        (name, value)
        for name, value in attributes.items()
        if name.startswith(_KEPT) and name not in _NOT_KEPT
    )
    acl = attributes.get(ACL)
    return Access(facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode), acl, kept)


def access_of_new(folder: Path, mode: int, was: str | None = None) -> Access:
    """Who may open a file that an application of the folder's owner makes there with a mode.

    As for any file there, a default ACL of the folder takes the place of the umask. `was` is
    the ACL that the file had before it was lost, as text: its mask is then the new one's.
    """
    uid, gid = owner_for(folder)
    acl = _attributes(folder).get(_FOR_NEW_FILES)
    if acl is None:
        return Access(uid, gid, mode)
    entries = tuple(_entries(acl))
    # What open(2) would do: the owner's, the others' and the mask, or the group's without one.
    widest = _MASK if any(tag == _MASK for tag, _, _ in entries) else _GROUP
    limit = mode >> 3
    if widest == _MASK and was and (found := re.search("m::(r|-)(w|-)(x|-)", was)):
        limit = sum(4 >> n for n in range(3) if found[n + 1] != "-")
    limits = {_OWNER: mode >> 6, widest: limit, _OTHERS: mode}
    entries = tuple((tag, may & limits.get(tag, 7), who) for tag, may, who in entries)
    may_of = {tag: may for tag, may, _ in entries}
    mode = may_of[_OWNER] << 6 | may_of[widest] << 3 | may_of[_OTHERS]
    if widest == _GROUP:
        return Access(uid, gid, mode)
    return Access(uid, gid, mode, _packed(entries))


def let_named_in(file: Path) -> None:
    """Let those into a private file or folder of ours whom the default ACL above it names.

    Somebody has named them for that. The owning group and all others stay out.
    """
    if (acl := _attributes(file).get(ACL)) is None:
        return
    named = tuple(may for tag, may, _ in _entries(acl) if tag in (_USER, _NAMED_GROUP))
    if named:
        new = {_GROUP: 0, _OTHERS: 0, _MASK: reduce(or_, named)}
        _set(file, ACL, _packed(tuple((t, new.get(t, may), who) for t, may, who in _entries(acl))))


def owner_for(folder: Path) -> tuple[int, int]:
    """Who gets a new file in a folder: its owner, where root makes it in a folder of one's own."""
    facts = folder.stat()
    if os.geteuid() == 0 and not facts.st_mode & stat.S_ISVTX:
        return facts.st_uid, facts.st_gid
    return os.geteuid(), os.getegid()


def give_access(file: Path, access: Access, name: Path, on_event: Listener) -> None:
    """Let those open a file of ours who are let in by `access`, and nobody else.

    `name` is the file's in messages. What cannot be kept is a warning with the command that
    mends it; what users have noted about a file (`user.*`) is let go without one.

    Raises:
        KeeperError: this user may not give it to the owner.
    """

    def warn(what: str, mend: str) -> None:
        text = f"{name}: {what}; to mend it: {mend} {shlex.quote(str(name))}"
        on_event(Note("", text, Level.WARNING))

    # A default ACL of the folder has given it entries that any wider mode would bring to life.
    file.chmod(stat.S_IRUSR | stat.S_IWUSR)
    if ACL in (had := _attributes(file)):
        os.removexattr(file, ACL)
    mode = access.mode
    if access.acl is not None and (reason := _set(file, ACL, access.acl)):
        mode = access.mode_without_acl
        what = f"its ACL could not be kept ({reason}), so that its mode is {mode:o} now"
        warn(what, f"setfacl --set {access.acl_text}")
    file.chmod(mode)
    for attribute, value in access.attributes:
        if had.get(attribute) == value or not (reason := _set(file, attribute, value)):
            continue
        if attribute.startswith("system."):
            file.chmod(mode & 0o700)
        if not attribute.startswith("user."):
            mend = f"setfattr -n {attribute} -v 0x{value.hex()}"
            warn(f"its {attribute} could not be kept ({reason})", mend)
    facts = file.stat()
    if (facts.st_uid, facts.st_gid) == (access.uid, access.gid):
        return
    try:
        # Last: who has given a file away may not change it any more.
        os.chown(file, access.uid, access.gid)
    except PermissionError:
        raise KeeperError(
            f"{name}: cannot be given to its owner (uid {access.uid}, gid {access.gid})",
            hint="run keeper as root, or as the owner of the database",
        ) from None


def _set(file: Path, attribute: str, value: bytes) -> str | None:
    """Set an attribute and read it back; why that was not possible."""
    try:
        os.setxattr(file, attribute, value)
        kept = os.getxattr(file, attribute) == value
    except OSError as error:
        unknown = error.errno == errno.EOPNOTSUPP
        return "the file system has none" if unknown else error.strerror
    return None if kept else "the file system has changed it"


def _attributes(path: Path) -> dict[str, bytes]:
    """The extended attributes that this user may see; none where the system has none."""
    found = {}
    with suppress(OSError, AttributeError):
        for name in os.listxattr(path):
            with suppress(OSError):
                found[name] = os.getxattr(path, name)
    return found


def _entries(acl: bytes) -> Iterator[tuple[int, int, int]]:
    """Tag, permissions and id of each entry of an ACL."""
    return _ENTRY.iter_unpack(acl[_VERSION.size :])


def _packed(entries: tuple[tuple[int, int, int], ...]) -> bytes:
    return _VERSION.pack(2) + b"".join(_ENTRY.pack(*entry) for entry in entries)


def _letters(may: int) -> str:
    return "".join("rwx"[n] if may & 4 >> n else "-" for n in range(3))
