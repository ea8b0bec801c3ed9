"""Destinations that share a place."""

from pathlib import Path

import pytest

from sqlitekeeper.config import refuse_indistinct_files
from sqlitekeeper.config.overlaps import place_of
from sqlitekeeper.errors import ConfigError
from tests.config.conftest import Configure

SHARED = [
    ("b2:bucket/x", "b2:bucket/x/", "is the same place as"),
    ("b2:bucket/x", "b2:bucket//x/.", "is the same place as"),
    ("b2:bucket/x", "b2:/bucket/x", "is the same place as"),
    ("b2:bucket/x", "b2,hard_delete=true:bucket/x", "is the same place as"),
    ("b2:bucket", "b2:bucket/files", "lies inside"),
    ("b2:", "b2:bucket/files", "lies inside"),
    ("b2:bucket/web1", "b2:bucket/./web1//files", "lies inside"),
    ("b2:bucket/web1", "b2:bucket", "holds"),
    ("b2:bucket/{hostname}", "b2:bucket/web1", "is the same place as"),
    ("b2:bucket/web1", "b2:bucket/{hostname}/files", "lies inside"),
    ("/srv/backups", "/srv/x/../backups", "is the same place as"),
    ("/srv/backups", "/srv/backups/files", "lies inside"),
    ("/srv/backups", ":local:/srv/backups", "is the same place as"),
    ("backups", "./backups/x", "lies inside"),
    (":s3,region='a:b':x/y", ":s3,region='a:b':x", "holds"),
    ('s3,region="a:b":x', "s3:x", "is the same place as"),
]
APART = [
    ("b2:my-bucket/{hostname}", "b2:my-bucket/files"),
    ("b2:bucket/web1", "b2:bucket/web10"),
    ("b2:bucket/x", "s3:bucket/x"),
    (":sftp,host=a:x", ":sftp,host=b:x"),
    ("/srv/backups", "/srv/backups-files"),
    ("/bucket/x", "b2:bucket/x"),
]


def toml(backup: str, *files: str, path: str = "uploads") -> str:
    sets = "".join(
        f"[[files]]\nname = 'f{index}'\npath = '{path}'\nto = '''{to}'''\n"
        for index, to in enumerate(files)
    )
    return f"[backup]\nto = '''{backup}'''\n{sets}"


@pytest.mark.parametrize(("backup", "files", "relation"), SHARED)
def test_backups_and_files_in_one_place_are_refused(
    configure: Configure, backup: str, files: str, relation: str
) -> None:
    """A sync would delete the snapshots, or a backup list the files; both keys are named."""
    with pytest.raises(ConfigError) as caught:
        configure(toml(backup, files))

    assert caught.value.message.startswith("keeper.toml: files[0].to: ")
    assert f" {relation} " in caught.value.message
    assert caught.value.message.endswith(" of backup.to")
    assert "a place of its own" in str(caught.value.hint)


@pytest.mark.parametrize(("backup", "files"), APART)
def test_neighbours_are_fine(configure: Configure, backup: str, files: str) -> None:
    """Those of the documentation first of all."""
    assert len(configure(toml(backup, files)).files) == 1


@pytest.mark.parametrize(("one", "other", "relation"), SHARED)
def test_two_sets_in_one_place_are_refused(
    configure: Configure, one: str, other: str, relation: str
) -> None:
    """Each would delete what the other has uploaded."""
    with pytest.raises(ConfigError, match=rf"files\[1\].to: .* {relation} .* of files\[0\].to"):
        configure(toml("else:where", one, other))


def test_the_one_of_several_destinations_is_named(configure: Configure) -> None:
    """By its place in the list."""
    text = toml("b2:a", "b2:b/files").replace("'''b2:a'''", "['b2:a', 'b2:b']")

    with pytest.raises(ConfigError, match=r"of backup.to\[1\]$"):
        configure(text)


def test_symlinks_lead_to_one_place(configure: Configure, folder: Path) -> None:
    """The real folder counts."""
    (folder / "real").mkdir()
    (folder / "link").symlink_to("real")

    with pytest.raises(ConfigError, match="is the same place as"):
        configure(toml(f"{folder}/real/x", f"{folder}/link/x"))


@pytest.mark.parametrize(
    ("path", "to", "relation"),
    [
        ("/srv/up", "/srv/up/backup", "lies inside"),
        ("/srv/up", "/srv", "holds"),
        ("/srv/up", ":local:/srv/up", "is the same place as"),
    ],
)
def test_folder_is_not_synced_into_itself(
    configure: Configure, path: str, to: str, relation: str
) -> None:
    """It would grow with every run, or be deleted for what it is."""
    with pytest.raises(ConfigError) as caught:
        configure(toml("b2:x", to, path=path))

    assert caught.value.message == (
        f"keeper.toml: files[0].to: {to} {relation} /srv/up, the folder that is synced"
    )


def test_what_cannot_be_parsed_is_a_place_of_its_own() -> None:
    """rclone refuses it when it is used."""
    assert place_of("b2,x='unended:y") == ("b2,x='unended:y", ())


def test_folder_of_a_database_is_no_destination(configure: Configure, folder: Path) -> None:
    """A sync deletes there what the synced folder does not have."""
    database = "[[databases]]\npath = '/srv/app/app.db'\n"

    with pytest.raises(ConfigError) as caught:
        configure(database + toml("b2:x", "/srv/app"))

    assert caught.value.message == (
        "keeper.toml: files[0].to: /srv/app holds /srv/app/app.db, the database app"
    )
    assert len(configure(database + toml("b2:x", "/srv/app-copy")).files) == 1


@pytest.mark.parametrize(
    ("backup", "files", "relation"),
    [
        ("drop:Backups", "drop:backups", "is the same place as"),
        ("drop:Backups/web1", "drop:backups", "holds"),
        ("drop:caf\u00e9", "drop:cafe\u0301/x", "lies inside"),
    ],
)
def test_places_that_differ_in_case_alone_are_not_synced_to(
    configure: Configure, backup: str, files: str, relation: str
) -> None:
    """Where case does not count, a sync would delete the snapshots."""
    config = configure(toml(backup, files))

    with pytest.raises(ConfigError, match=f"to of .*f0: .* {relation} .* of backup.to, where case"):
        refuse_indistinct_files(config.files, config.backup.to)


def test_local_folders_that_differ_in_case_are_two(configure: Configure) -> None:
    """This host tells them apart."""
    config = configure(toml("/srv/Backups", "/srv/backups"))

    refuse_indistinct_files(config.files, config.backup.to)


def test_sets_whose_names_differ_in_case_alone_are_refused(configure: Configure) -> None:
    """As two of one name are."""
    config = configure(toml("b2:x", "b2:y", "b2:z").replace("'f1'", "'F0'"))

    with pytest.raises(ConfigError, match="F0: many destinations do not tell this name from f0"):
        refuse_indistinct_files(config.files, config.backup.to)
