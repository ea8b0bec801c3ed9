"""A keeper.toml written from the databases that were found: commented TOML that reads back."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlitekeeper.config.generate.entries import Entry, plan
from sqlitekeeper.config.generate.scan import Candidate
from sqlitekeeper.config.loading import FILE_NAME
from sqlitekeeper.config.paths import absolute, local_folder
from sqlitekeeper.config.position import Source
from sqlitekeeper.config.quoting import readable
from sqlitekeeper.config.schema import parse_document
from sqlitekeeper.result import Result

_HEAD = """\
# keeper.toml: which databases keeper looks after, and where their backups go.
# Written by `keeper config init`; change what you like. `keeper config show`
# prints what it means, and README.md has every key.
"""

_VACUUM = """
[vacuum]
# pages = 1000                      # at most this many pages freed in a run; 0: all of them
# max_lock_ms = 100                 # the longest one write transaction should last
"""

_NO_DESTINATION = """
[backup]
# Any rclone remote, or a local folder. Without it `keeper backup` needs --to.
# to = "b2:my-bucket/{hostname}"
"""

_KEEPING = """\
# keep_daily = 7                    # also keep_last, keep_hourly, keep_weekly, keep_monthly
# max_age = "26h"                   # `keeper status` calls an older snapshot stale
"""


@dataclass(frozen=True, slots=True)
class Drafted(Result):
    """A database of the new keeper.toml, for the user to look at."""

    path: Path
    backup: bool = True


@dataclass(frozen=True, slots=True)
class Draft:
    """A new keeper.toml as text, and the databases that it means."""

    toml: str
    databases: tuple[Drafted, ...]


def draft(
    candidates: Sequence[Candidate],
    destinations: Sequence[str],
    environ: Mapping[str, str],
    uploads: Sequence[Path] = (),
) -> Draft:
    """Write a keeper.toml for these databases; without a destination a comment holds its place.

    Folders of `uploads` are proposed in comments.

    Raises:
        ConfigError: a destination that cannot be.
    """
    to = [local_folder(one, Path(), environ) for one in destinations]
    entries = plan(candidates)
    toml = "".join(
        [_HEAD, *map(_table, entries), _VACUUM, _backup(to), _KEEPING, _files(uploads, to)]
    )
    # What keeper itself could not read would be found out by cron.
    parse_document(tomllib.loads(toml), Source(Path(FILE_NAME), absolute("."), environ))
    return Draft(
        toml,
        tuple(
            Drafted(
                named.name,
                named.candidate.path,
                "found" if named.candidate.path.exists() else "absent",
                backup=named.candidate.no_backup is None,
            )
            for entry in entries
            for named in entry.databases
        ),
    )


def quoted(text: str) -> str:
    """A TOML string; what a terminal would obey or hide is spelt out."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    number = ord(character)
    return f"\\u{number:04X}" if number < 0x10000 else f"\\U{number:08X}"


def _table(entry: Entry) -> str:
    candidate = entry.databases[0].candidate
    lines = ["", "[[databases]]"]
    if candidate.note:
        lines.append(f"# {readable(candidate.note)}")
    if len(entry.databases) > 1:
        lines.append(f"# {len(entry.databases)} databases now; new ones are found at each run")
    lines.append(f"path = {quoted(entry.path)}")
    if entry.name is not None:
        lines.append(f"name = {quoted(entry.name)}")
    if entry.exclude:
        lines.append(
            "# no SQLite databases, the same files by other names, or entries of their own"
        )
        lines.append(f"exclude = [{', '.join(map(quoted, entry.exclude))}]")
    if len(entry.databases) == 1:
        for key, word in candidate.modes:
            lines.append(f"{key} = {quoted(word)}  # what it should have; keeper doctor compares")
    if candidate.no_backup:
        lines.append(f"backup = false  # {candidate.no_backup}")
    return "\n".join(lines) + "\n"


def _files(uploads: Sequence[Path], to: Sequence[str]) -> str:
    """Entries that nobody has asked for: what they cost is for the user to say."""
    place = to[0] if to and not to[0].endswith((":", "/")) else "b2:my-bucket/{hostname}"
    lines = []
    for number, folder in enumerate(uploads, 1):
        name = "uploads" if number == 1 else f"uploads-{number}"
        lines += [
            "",
            "# Uploaded files, which no database holds. Without the # `keeper files` syncs them.",
            "# [[files]]",
            f"# name = {quoted(name)}",
            f"# path = {quoted(str(folder))}",
            f"# to = {quoted(f'{place}-files' + name.removeprefix('uploads'))}",
        ]
    return "".join(f"{line}\n" for line in lines)


def _backup(to: Sequence[str]) -> str:
    if not to:
        return _NO_DESTINATION
    value = quoted(to[0]) if len(to) == 1 else f"[{', '.join(map(quoted, to))}]"
    return f"\n[backup]\nto = {value}\n"
