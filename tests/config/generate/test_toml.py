"""A new keeper.toml: it reads back to the databases that were found."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqlitekeeper.config import Config, read_config, refuse_claimed_names
from sqlitekeeper.config.generate.scan import Candidate, find_databases
from sqlitekeeper.config.generate.toml import Draft, draft
from sqlitekeeper.errors import ConfigError
from tests.config.generate.test_scan import database

ENVIRON = {"HOME": "/nowhere", "KEEPER_STATE": "/nowhere/state"}


def read_back(written: Draft, folder: Path) -> Config:
    """The configuration that keeper makes of it."""
    file = folder / "written.toml"
    file.write_bytes(written.toml.encode())
    return read_config(file, ENVIRON, hostname=lambda: "web1")


def meant(config: Config) -> dict[str, tuple[Path, bool]]:
    """Each database's path, and whether it is backed up, by name."""
    return {one.name: (one.path, one.backup) for one in config.databases}


def drafted(written: Draft) -> dict[str, tuple[Path, bool]]:
    """The same, as the draft says it."""
    return {one.name: (one.path, one.backup) for one in written.databases}


Write = Callable[..., Draft]


@pytest.fixture
def write(folder: Path) -> Write:
    """Make databases of these names below the working folder, and draft a keeper.toml for them."""

    def make(*names: str, to: tuple[str, ...] = ()) -> Draft:
        for name in names:
            database(folder / name)
        return draft(find_databases(folder).databases, to, ENVIRON)

    return make


def names_by_path(written: Draft, folder: Path) -> Mapping[str, str]:
    """What each file is called in the draft."""
    return {str(one.path.relative_to(folder)): one.name for one in written.databases}


def test_each_database_is_named_after_its_file(write: Write, folder: Path) -> None:
    """As without a configuration."""
    written = write("a.db", "x/b.db")
    assert names_by_path(written, folder) == {"a.db": "a", "x/b.db": "b"}
    assert meant(read_back(written, folder)) == drafted(written)


@pytest.mark.parametrize(
    "names",
    [
        {"x/app.db": "x-app", "y/app.db": "y-app"},
        {"x/storage/app.db": "x-app", "y/storage/app.db": "y-app"},
        {"app.db": "app.db", "app.sqlite3": "app.sqlite3"},
        {"x/app.db": "x-app.db", "x/app.sqlite": "x-app.sqlite", "y/app.db": "y-app.db"},
        {"x/app.db": "x-app", "y/app.db": "y-app", "z/other.db": "other"},
    ],
)
def test_duplicates_are_told_apart_by_their_folders(
    write: Write, folder: Path, names: dict[str, str]
) -> None:
    """Or by their suffixes, where the folder is the same."""
    written = write(*names)
    assert names_by_path(written, folder) == names
    assert meant(read_back(written, folder)) == drafted(written)


@pytest.mark.parametrize(
    "names",
    [
        {"x/app.db": "x-app", "y/App.db": "y-App"},
        {"app.db": "app.db", "App.sqlite3": "App.sqlite3"},
        {"cafe\u0301.db": "2-cafe\u0301", "caf\u00e9.db": "3-caf\u00e9"},
        {"x/app.db": "2-app", "X/app.db": "3-app"},
    ],
)
def test_names_that_a_destination_may_take_for_one_are_told_apart(
    write: Write, folder: Path, names: dict[str, str]
) -> None:
    """A written keeper.toml can be backed up."""
    written = write(*names)
    assert sorted(names_by_path(written, folder).values()) == sorted(names.values())
    refuse_claimed_names(read_back(written, folder), ())


def test_tenants_whose_names_differ_in_case_are_not_in_one_entry(
    write: Write, folder: Path
) -> None:
    """The others still are."""
    written = write(*(f"t/{name}/db" for name in ("acme", "Acme", "b", "c", "d", "e", "f")))
    assert written.toml.count("[[databases]]") == 2
    config = read_back(written, folder)
    assert meant(config) == drafted(written)
    assert len(config.databases) == 7
    refuse_claimed_names(config, ())


def test_many_tenants_are_one_entry(write: Write, folder: Path) -> None:
    """Named after their folders, so that a new tenant needs no new entry."""
    written = write(*(f"tenants/t{number}/db.sqlite3" for number in range(6)))
    assert written.toml.count("[[databases]]") == 1
    assert f'path = "{folder}/tenants/*/db.sqlite3"' in written.toml
    assert meant(read_back(written, folder)) == drafted(written)

    database(folder / "tenants/new/db.sqlite3")
    assert "new" in meant(read_back(written, folder))


def test_a_few_files_of_one_shape_are_entries_of_their_own(write: Write) -> None:
    """Up to five."""
    written = write(*(f"tenants/t{number}/db.sqlite3" for number in range(5)))
    assert written.toml.count("[[databases]]") == 5


def test_two_databases_for_each_tenant_are_two_entries(write: Write, folder: Path) -> None:
    """The names of the second have the file's as well; its cache is not backed up."""
    files = ("app.db", "app_cache.db")
    written = write(*(f"t/{number}/{file}" for number in range(6) for file in files))
    assert written.toml.count("[[databases]]") == 2
    config = read_back(written, folder)
    assert meant(config) == drafted(written)
    assert sum(one.backup for one in config.databases) == 6


def test_a_glob_leaves_out_what_is_no_database(write: Write, folder: Path) -> None:
    """A text file of the same name, and a link to another tenant's file."""
    (folder / "t/text").mkdir(parents=True)
    (folder / "t/text/db").write_text("no database")
    (folder / "t/link").mkdir()
    (folder / "t/link/db").symlink_to("../t1/db")
    written = write(*(f"t/t{number}/db" for number in range(6)))
    assert written.toml.count("[[databases]]") == 1
    assert meant(read_back(written, folder)) == drafted(written)


def test_files_below_a_folder_with_glob_characters_get_no_glob(write: Write, folder: Path) -> None:
    """It would mean another folder."""
    written = write(*(f"[t]/{number}/db" for number in range(6)))
    assert written.toml.count("[[databases]]") == 6
    assert meant(read_back(written, folder)) == drafted(written)


def test_a_tenant_called_like_a_pattern_is_no_pattern(write: Write, folder: Path) -> None:
    """The entry would mean that one file."""
    written = write("t/*/db", *(f"t/{number}/db" for number in range(6)))
    assert written.toml.count("[[databases]]") == 7
    assert meant(read_back(written, folder)) == drafted(written)


def test_a_solid_database_is_not_backed_up_and_says_why(write: Write, folder: Path) -> None:
    """On the line that says so."""
    written = write("production.sqlite3", "production_cache.sqlite3")
    assert 'name = "production_cache"\nbackup = false  # Solid Cache: ' in written.toml
    backed_up = {one.name: one.backup for one in read_back(written, folder).databases}
    assert backed_up == {"production": True, "production_cache": False}


def test_a_destination_is_filled_in(write: Write, folder: Path) -> None:
    """Its {hostname} stays to be filled in."""
    config = read_back(write("a.db", to=("b2:x/{hostname}",)), folder)
    assert config.backup.to == ("b2:x/web1",)


def test_several_destinations_are_a_list(write: Write, folder: Path) -> None:
    """A local one is made absolute."""
    config = read_back(write("a.db", to=("b2:x", 'a"b')), folder)
    assert config.backup.to == ("b2:x", f'{folder}/a"b')


def test_without_a_destination_a_comment_shows_where_it_goes(write: Write, folder: Path) -> None:
    """With its comment sign gone it is valid."""
    written = write("a.db")
    assert read_back(written, folder).backup.to == ()
    assert '\n# to = "b2:my-bucket/{hostname}"\n' in written.toml


def test_commented_settings_are_the_defaults(write: Write, folder: Path) -> None:
    """Taking the comment signs off changes nothing."""
    written = write("a.db")
    lines = [
        line.removeprefix("# ") if " = " in line and "to =" not in line else line
        for line in written.toml.split("\n")
    ]
    opened = Draft("\n".join(lines), written.databases)
    assert opened.toml != written.toml
    assert read_back(opened, folder) == read_back(written, folder)


@pytest.mark.parametrize("to", ["", "b2:{nosuch}", "-x:y"])
def test_an_impossible_destination_is_refused(write: Write, to: str) -> None:
    """Now, and not by cron at night."""
    with pytest.raises(ConfigError):
        write("a.db", to=(to,))


def test_a_note_is_a_comment_whatever_it_holds(folder: Path) -> None:
    """On one line."""
    candidate = Candidate(folder / "a.db", note="two\nlines = 1")
    written = draft([candidate], (), ENVIRON)
    assert meant(read_back(written, folder)) == drafted(written)


ODD = st.text(st.sampled_from("ab\"'\\\n\r\t\x1b\x7f\x85\u2028\u202eäß😀{}[]*?!#=~-. "), min_size=1)
ANY = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
NOT_UTF8 = st.binary(min_size=1, max_size=4).map(lambda b: os.fsdecode(b.translate(None, b"/\0")))
PART = (st.sampled_from(["a", "b", "db"]) | ODD | ANY | NOT_UTF8).filter(
    lambda name: name not in ("", ".", "..") and len(os.fsencode(name)) <= 120
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(PART, min_size=1, max_size=3), max_size=12))
def test_any_file_names_read_back_to_the_same_databases(files: list[list[str]]) -> None:
    """Quotes, newlines, umlauts, braces, globs; what is not UTF-8 is said and left out."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for parts in files:
            # There may be a file where a folder should be.
            with contextlib.suppress(OSError):
                database(root.joinpath("srv", *parts))
        (root / "srv").mkdir(exist_ok=True)
        found = find_databases(root / "srv")
        written = draft(found.databases, (), ENVIRON)
        assert meant(read_back(written, root)) == drafted(written)
        assert {one.path for one in written.databases} == {one.path for one in found.databases}
        assert all(line.isprintable() for line in written.toml.split("\n"))
        assert len(found.remarks) == len(_not_utf8(root / "srv"))


@settings(max_examples=25, deadline=None)
@given(st.sets(PART, min_size=6, max_size=9), PART, PART)
def test_any_tenants_read_back_to_the_same_databases(
    tenants: set[str], file: str, above: str
) -> None:
    """With a glob where that is possible, without one where not."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for tenant in tenants:
            database(root / "srv" / above / tenant / file)
        written = draft(find_databases(root / "srv").databases, (), ENVIRON)
        assert meant(read_back(written, root)) == drafted(written)


def _not_utf8(folder: Path) -> list[str]:
    """The visible databases whose paths no UTF-8 can hold."""
    paths = []
    for where, folders, files in os.walk(folder):
        folders[:] = [one for one in folders if not one.startswith(".")]
        paths += [f"{where}/{one}" for one in files]
    return [path for path in paths if any("\udc80" <= c <= "\udcff" for c in path)]
