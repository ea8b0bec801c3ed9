"""Names as rclone's rules: tried on rclone itself, since its documentation leaves much open."""

import os
import subprocess
from pathlib import Path

from sqlitekeeper.files.exclude_rules import exclude_rules

# What rclone quotes with, and its pictures of what local file systems cannot have: of a dot as
# a whole name, of a slash, of NUL and of a newline.
QUOTE, DOT, SLASH, NUL, NEWLINE = "\u201b", "\uff0e", "\uff0f", "\u2400", "\u240a"
AWKWARD = [
    *(b"plain", b"[x]{y}*?", b"a,b", b"back\\slash", b" lead", b"trail ", b"#hash", b";semi"),
    *(b"- minus", b"!", b"$d^.+()|", b'q"q', b"it's", b"x\ny", b"tab\t", b"cr\r", b"bell\x07"),
    *(b"del\x7f", b"\xff\xfebad", b"\xed\xa0\x80", b"\xe2\x82", b"tilde~", b"a:b", b"-v"),
    *(
        text.encode()
        for text in (
            *("caf\u00e9", "cafe\u0301", "nb\u00a0", "\u3000wide\u3000", "\u0085nel", "\u2028line"),
            *(
                "emoji\U0001f600",
                "\ufeffbom",
                "\ufffc",
                DOT,
                2 * DOT,
                NUL,
                "\u2421",
                "sym\u240abol",
            ),
            *(QUOTE, 2 * QUOTE, 3 * QUOTE, f"q{QUOTE}q", f"{QUOTE}FF", f"{QUOTE}{NEWLINE}"),
            *(f"full{SLASH}width", f"{QUOTE}{SLASH}x", f"{3 * QUOTE}{SLASH}", f"\u241f{QUOTE}"),
            *(QUOTE + DOT, QUOTE + 2 * DOT, f"{QUOTE}{DOT}x", f"{QUOTE}\u2421", f"{QUOTE}\u2424"),
            f"x{QUOTE}{NUL}{2 * QUOTE}{NEWLINE}",
        )
    ),
]
FOLDERS = [b"", b"dir \n/", b"[d]/", b"\xffdir/"]


def listed(rclone: Path, folder: Path, rules: list[str]) -> list[str]:
    done = subprocess.run(
        [rclone, "lsf", "--recursive", "--files-only", "--exclude-from", "-", folder],
        input="".join(f"{rule}\n" for rule in rules).encode(),
        capture_output=True,
        check=True,
    )
    return [name.decode(errors="replace") for name in done.stdout.split(b"\n") if name]


def make(folder: Path, names: list[bytes]) -> None:
    for name in names:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_any_name_is_left_out_and_nothing_else_is(tmp_path: Path, any_rclone: Path) -> None:
    """Whatever a file is called, a rule made of its name matches it."""
    folder = tmp_path / "folder"
    endings = (b"", b"-wal")
    paths = [below + name + end for below in FOLDERS for name in AWKWARD for end in endings]
    others = [b"plain-journal", b"sub/plain", b"aXb", b"Xx]{y}ab", b"plainer", b"a", b"b"]
    make(folder, paths + others)

    found = listed(any_rclone, folder, list(exclude_rules(paths)))

    assert sorted(found) == sorted(other.decode() for other in others)


def test_many_names_share_rules_that_rclone_can_read(tmp_path: Path, any_rclone: Path) -> None:
    """A rule stays below the longest line that rclone takes."""
    folder = tmp_path / "folder"
    paths = [f"{index:05}-{'x' * 100}".encode() for index in range(700)]
    make(folder, [*paths, b"kept"])

    rules = list(exclude_rules(paths))

    assert 2 < len(rules) < 7
    assert listed(any_rclone, folder, rules) == ["kept"]


def test_no_names_are_no_rules() -> None:
    """An empty group would leave out everything, or nothing."""
    assert list(exclude_rules([])) == []


def test_rule_of_one_name_matches_it_too(tmp_path: Path, any_rclone: Path) -> None:
    """Bytes that are no UTF-8 are compared in another way where a rule has one name only."""
    for index, path in enumerate([b"\xffdir/db", b"a\xffb", b"x/\n\xff"]):
        folder = tmp_path / str(index)
        make(folder, [path, b"kept"])

        assert listed(any_rclone, folder, list(exclude_rules([path]))) == ["kept"]
