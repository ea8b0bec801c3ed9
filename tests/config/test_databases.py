"""From [[databases]] to files."""

import os
import sys
from pathlib import Path

import pytest

from sqlitekeeper.config import Database, read_config
from sqlitekeeper.errors import ConfigError
from tests.config.conftest import Configure, Touch


def entry(path: str, more: str = "") -> str:
    """One [[databases]] table."""
    return f"[[databases]]\npath = '{path}'\n{more}\n"


def test_a_plain_path_is_one_database(configure: Configure, folder: Path) -> None:
    """It need not be there: that is the run's to report."""
    config = configure(entry("app.sqlite3"))
    assert config.databases == (
        Database("app", folder / "app.sqlite3", origin="keeper.toml: databases[0]"),
    )


def test_settings_of_an_entry_hold_for_each_match(configure: Configure, touch: Touch) -> None:
    """Backup = false on a glob means none of its matches is backed up."""
    touch("a.db", "b.db")
    config = configure(entry("*.db", "backup = false\noptional = true"))
    assert [(one.name, one.backup, one.optional) for one in config.databases] == [
        ("a", False, True),
        ("b", False, True),
    ]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.db", ["b", "c"]),
        ("[bc].db", ["b", "c"]),
        ("[!b].db", ["c"]),
        ("?.db", ["b", "c"]),
        ("x/*.db", ["d"]),
        ("*/*.db", ["d"]),
        ("**/*.db", ["b", "c", "d", "e"]),
        ("**", ["b", "c", "d", "e"]),
        ("x/**/*.db", ["d", "e"]),
        ("**/y/*.db", ["e"]),
        ("x/../*.db", ["b", "c"]),
        (".*.db", ["hidden"]),
        (".h/*.db", ["f"]),
    ],
)
def test_patterns_match_as_in_a_shell(
    configure: Configure, touch: Touch, pattern: str, names: list[str]
) -> None:
    """Matches are sorted by name; a leading dot has to be asked for."""
    touch("c.db", "b.db", "x/d.db", "x/y/e.db", ".h/f.db", ".hidden.db")
    Path("keeper.toml").touch()
    more = 'exclude = ["*.toml"]'
    assert sorted(one.name for one in configure(entry(pattern, more)).databases) == names


def test_matches_are_in_the_order_of_their_paths(configure: Configure, touch: Touch) -> None:
    """Two runs work in the same order."""
    touch("c/1.db", "a/3.db", "b/2.db")
    assert [one.name for one in configure(entry("*/*.db")).databases] == ["3", "2", "1"]


def test_an_absolute_pattern_does_not_depend_on_the_folder(
    configure: Configure, touch: Touch, folder: Path
) -> None:
    """A pattern from the root is found from there."""
    [path] = touch("x/a.db")
    assert [one.path for one in configure(entry(f"{folder}/*/a.db")).databases] == [path]


def test_a_pattern_may_start_at_home(configure: Configure, tmp_path: Path) -> None:
    """~ is expanded before the pattern is."""
    (tmp_path / "home/a.db").touch()
    assert configure(entry("~/*.db")).databases[0].path == tmp_path / "home/a.db"


def test_only_regular_files_match(configure: Configure, touch: Touch, folder: Path) -> None:
    """Folders, pipes and dangling links are no databases."""
    touch("a.db")
    (folder / "folder.db").mkdir()
    os.mkfifo(folder / "pipe.db")
    (folder / "dangling.db").symlink_to("gone")
    assert [one.name for one in configure(entry("*.db")).databases] == ["a"]


def test_the_files_beside_a_database_do_not_match(configure: Configure, touch: Touch) -> None:
    """-wal, -shm and -journal belong to their database."""
    touch("a.db", "a.db-wal", "a.db-shm", "a.db-journal")
    assert [one.name for one in configure(entry("a.*")).databases] == ["a"]


def test_database_that_a_restore_set_aside_is_left_out(touch: Touch, configure: Configure) -> None:
    """It is the past of its neighbour, not a database of its own."""
    touch("a.db", "a.db.before-20261123T030000Z", "a.db.before-20261123T030000Z-wal")
    config = configure("[[databases]]\npath = '*'\nexclude = ['keeper.toml']\n")
    assert [database.path.name for database in config.databases] == ["a.db"]


@pytest.mark.parametrize(
    "pattern", ["*_errors*", "prod_errors.db", "{folder}/x/prod_errors.db", "x/*_errors.db"]
)
def test_exclude_leaves_matches_out(
    configure: Configure, touch: Touch, folder: Path, pattern: str
) -> None:
    """By file name, by full path, or by the path from the file's folder."""
    touch("x/prod.db", "x/prod_errors.db")
    exclude = f"exclude = ['{pattern.replace('{folder}', str(folder))}']"
    assert [one.name for one in configure(entry("x/*.db", exclude)).databases] == ["prod"]


def test_a_match_need_not_be_sqlite(configure: Configure, touch: Touch) -> None:
    """What else is there fails loudly later instead of being left out in silence."""
    touch("notes.txt")
    assert [one.name for one in configure(entry("*.txt")).databases] == ["notes"]


def test_a_file_of_the_literal_name_is_meant_literally(configure: Configure, touch: Touch) -> None:
    """a[1].db is a file when it is there, not a pattern for a1.db."""
    touch("a[1].db", "a1.db")
    assert [one.name for one in configure(entry("a[1].db")).databases] == ["a[1]"]


def test_the_folder_of_the_configuration_is_no_pattern(
    configure: Configure, touch: Touch, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative pattern works in a folder with brackets in its name."""
    [path] = touch("app[1]/keeper.toml", "app[1]/x/a.db")[1:]
    (folder / "keeper.toml").symlink_to("app[1]/keeper.toml")
    monkeypatch.chdir(folder / "app[1]")
    (folder / "app[1]/keeper.toml").write_text(entry("x/*.db"))
    config = read_config(None, {"HOME": "/", "KEEPER_STATE": "/s"})
    assert [one.path for one in config.databases] == [path]


def test_a_pattern_without_matches_is_kept_as_such(configure: Configure, folder: Path) -> None:
    """It is a failure of the run, not of the configuration."""
    [database] = configure(entry("production_*.db", "optional = true")).databases
    assert database.unmatched
    assert database.optional
    assert (database.name, database.path) == ("production_*", folder / "production_*.db")


def test_a_pattern_whose_matches_are_all_excluded_is_unmatched(
    configure: Configure, touch: Touch
) -> None:
    """Excluding everything does not make an entry vanish."""
    touch("a.db")
    [database] = configure(entry("*.db", "exclude = ['a*']")).databases
    assert database.unmatched


def test_patterns_without_matches_never_clash(configure: Configure) -> None:
    """Two empty folders of tenants are no duplicate of each other."""
    config = configure(
        entry("a/*/db.sqlite3", 'name = "{parent}"') + entry("b/*/db.sqlite3", 'name = "{parent}"')
    )
    assert [one.unmatched for one in config.databases] == [True, True]


def test_a_loop_of_symlinks_ends(configure: Configure, touch: Touch, folder: Path) -> None:
    """** does not follow links, so that two of them are no maze."""
    touch("x/a.db")
    (folder / "x/one").symlink_to(folder)
    (folder / "x/two").symlink_to(folder)
    assert [one.path for one in configure(entry("**/*.db")).databases] == [folder / "x/a.db"]


def test_an_unreadable_folder_holds_nothing(configure: Configure, touch: Touch) -> None:
    """A pattern over a file's contents finds none."""
    touch("x")
    assert configure(entry("x/*.db")).databases[0].unmatched


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{parent}", "acme"),
        ("{stem}", "db"),
        ("{parent}-{stem}", "acme-db"),
        ("{hostname}-x", "web1-x"),
        ("fixed", "fixed"),
    ],
)
def test_placeholders_are_filled_in(
    configure: Configure, touch: Touch, template: str, name: str
) -> None:
    """For each match from its own path."""
    touch("acme/db.sqlite3")
    assert configure(entry("*/db.*", f'name = "{template}"')).databases[0].name == name


def test_braces_in_a_file_name_are_literal(configure: Configure, touch: Touch) -> None:
    """What is filled in is not filled in again."""
    touch("a{parent}.db")
    assert configure(entry("*.db", 'name = "{stem}"')).databases[0].name == "a{parent}"


def test_a_file_name_that_is_not_utf8_is_refused(configure: Configure, folder: Path) -> None:
    """It cannot be written to a manifest or a destination."""
    try:
        os.close(os.open(os.fsencode(folder) + b"/caf\xe9.db", os.O_CREAT))
    except OSError:
        pytest.skip("this file system has no such names")
    with pytest.raises(ConfigError, match=r"databases\[0\].path: .*caf\\udce9.* not valid UTF-8"):
        configure(entry("*.db"))


def test_two_matches_of_one_name_are_refused(
    configure: Configure, touch: Touch, folder: Path
) -> None:
    """The message names both files, the hint says how to tell them apart."""
    touch("a/db.sqlite3", "b/db.sqlite3")
    with pytest.raises(ConfigError) as caught:
        configure(entry("*/db.sqlite3"))
    assert caught.value.message == (
        f"keeper.toml: databases[0]: {folder}/b/db.sqlite3 has the name db, as has"
        f" {folder}/a/db.sqlite3 of keeper.toml: databases[0]"
    )
    assert 'name = "{parent}"' in (caught.value.hint or "")


def test_one_fixed_name_for_several_matches_is_refused(configure: Configure, touch: Touch) -> None:
    """A name without a placeholder fits one file only."""
    touch("a.db", "b.db")
    with pytest.raises(ConfigError, match=r"b\.db has the name app, as has .*a\.db"):
        configure(entry("*.db", 'name = "app"'))


def test_two_entries_of_one_name_are_refused(configure: Configure, folder: Path) -> None:
    """Also where neither file is there yet."""
    with pytest.raises(ConfigError, match=r"databases\[1\]: .*b/x\.db has the name x") as caught:
        configure(entry("a/x.db") + entry("b/x.db"))
    assert caught.value.hint == 'give one of them another name: name = "..."'


def test_one_file_in_two_entries_is_refused(
    configure: Configure, touch: Touch, folder: Path
) -> None:
    """Also by way of a symlink."""
    touch("a.db")
    (folder / "b.db").symlink_to("a.db")
    with pytest.raises(ConfigError) as caught:
        configure(entry("a.db") + entry("b.db"))
    assert caught.value.message == (
        f"keeper.toml: databases[1]: {folder}/b.db is the same file as {folder}/a.db"
        " of keeper.toml: databases[0]"
    )


def test_a_link_and_its_file_in_one_glob_are_one_database(
    configure: Configure, touch: Touch, folder: Path
) -> None:
    """The file's own path is the one that counts."""
    touch("real.db")
    (folder / "alias.db").symlink_to("real.db")
    assert [one.name for one in configure(entry("*.db")).databases] == ["real"]


def test_a_link_to_elsewhere_keeps_its_own_path(
    configure: Configure, folder: Path, tmp_path: Path
) -> None:
    """Symlinks are followed, not resolved."""
    (tmp_path / "shared.db").touch()
    (folder / "app.db").symlink_to(tmp_path / "shared.db")
    assert configure(entry("*.db")).databases[0].path == folder / "app.db"


def test_no_database_is_opened(configure: Configure, touch: Touch) -> None:
    """Opening and closing a file would drop the locks that this process holds on it."""
    opened: list[str] = []

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and str(arguments[0]).endswith(".db"):
            opened.append(str(arguments[0]))

    touch("x/a.db", "b.db")
    sys.addaudithook(watch)
    found = configure(entry("**/a.db") + entry("b.db")).databases
    assert (len(found), opened) == (2, [])
