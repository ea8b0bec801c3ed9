"""Which databases the arguments of a command mean."""

from pathlib import Path

import pytest

from sqlitekeeper.config import (
    Config,
    Database,
    read_config,
    refuse_claimed_names,
    select_databases,
)
from sqlitekeeper.errors import ConfigError
from tests.config.conftest import Configure, Touch


@pytest.fixture
def config(configure: Configure, touch: Touch) -> Config:
    """Two databases, production and cache, below storage."""
    touch("storage/production.db", "storage/cache.db")
    return configure("[[databases]]\npath = 'storage/*.db'\n")


@pytest.fixture
def bare(environ: dict[str, str]) -> Config:
    """No configuration at all."""
    return read_config(None, environ)


def names(databases: tuple[Database, ...]) -> list[str]:
    """Their names, in order."""
    return [database.name for database in databases]


def test_no_argument_means_all_configured(config: Config) -> None:
    """In the order of the configuration."""
    assert names(select_databases(config, [])) == ["cache", "production"]


def test_nothing_to_work_on_says_how_to_start(bare: Config) -> None:
    """The hint has a command to type and the places that were searched."""
    with pytest.raises(ConfigError, match="no database to work on") as caught:
        select_databases(bare, [])
    assert caught.value.exit_code == 2
    for words in ("keeper vacuum path/to/app.sqlite3", "./keeper.toml", "/etc/keeper/keeper.toml"):
        assert words in (caught.value.hint or "")


def test_a_configuration_without_databases_is_named(configure: Configure) -> None:
    """The file that lacks them is where to add them."""
    with pytest.raises(ConfigError, match=r"^keeper.toml: configures no databases$"):
        select_databases(configure(""), [])


def test_a_name_means_the_configured_database(config: Config) -> None:
    """Arguments keep their order."""
    assert names(select_databases(config, ["production", "cache"])) == ["production", "cache"]


def test_a_path_needs_no_configuration(bare: Config, folder: Path) -> None:
    """A path with a separator need not even exist: the run reports it."""
    assert select_databases(bare, ["x/app.db"]) == (Database("app", folder / "x/app.db"),)


def test_an_existing_file_is_a_path(bare: Config, touch: Touch) -> None:
    """A file in the working folder needs no ./ before it."""
    [path] = touch("app.db")
    assert select_databases(bare, ["app.db"]) == (Database("app", path),)


def test_an_existing_file_wins_over_a_name(config: Config, touch: Touch) -> None:
    """As the contract has it: what names an existing file is a path."""
    [path] = touch("production")
    assert select_databases(config, ["production"]) == (Database("production", path),)


def test_a_folder_does_not_hide_a_name(config: Config, folder: Path) -> None:
    """A folder is no database."""
    (folder / "cache").mkdir()
    assert select_databases(config, ["cache"])[0].path == folder / "storage/cache.db"


def test_a_path_of_a_configured_database_means_that_one(
    config: Config, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its settings, whatever way leads to it."""
    (folder / "link.db").symlink_to("storage/cache.db")
    assert select_databases(config, ["link.db"]) == (config.databases[0],)


def test_a_glob_in_quotes_is_a_literal_path(bare: Config, folder: Path) -> None:
    """Expanding is the shell's work on the command line."""
    assert select_databases(bare, ["x/*.db"])[0].path == folder / "x/*.db"


def test_an_argument_given_twice_is_worked_on_once(config: Config) -> None:
    """By name, by path, by another path."""
    arguments = ["cache", "storage/cache.db", "storage/../storage/cache.db", "cache"]
    assert names(select_databases(config, arguments)) == ["cache"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("prodution", "no configured database has this name; did you mean production?"),
        ("zzz", "zzz: no such file, and no configured database has this name"),
        ("storage", "storage: is not a regular file, and no configured database has this name"),
        ("", "an argument is empty"),
        ("a\nb", r"'a\\nb': no such file"),
        ("/...", "'' after its file: it is empty"),
    ],
)
def test_an_argument_that_means_nothing_is_refused(
    config: Config, argument: str, message: str
) -> None:
    """The nearest name is suggested."""
    with pytest.raises(ConfigError, match=message):
        select_databases(config, [argument])


def test_an_unknown_name_without_configuration_says_how_to_start(bare: Config) -> None:
    """A mistyped file is what most people have then."""
    with pytest.raises(ConfigError, match=r"^app.db: no such file") as caught:
        select_databases(bare, ["app.db"])
    assert "keeper vacuum path/to/app.sqlite3" in (caught.value.hint or "")


def test_a_glob_without_matches_can_be_named(configure: Configure) -> None:
    """It is shown under its name, so the name works."""
    config = configure("[[databases]]\npath = 'none/*.db'\nname = 'tenants'\n")
    assert select_databases(config, ["tenants"]) == config.databases


def test_two_paths_of_one_name_must_not_be_shipped(bare: Config) -> None:
    """They would share a folder at the destination; vacuuming both is fine."""
    databases = select_databases(bare, ["a/db.sqlite3", "b/db.sqlite3"])
    assert [database.name for database in databases] == ["db", "db"]
    with pytest.raises(ConfigError, match=r"b/db.sqlite3 has the name db, as has .*a/db.sql") as e:
        refuse_claimed_names(bare, databases)
    assert "[[databases]]" in (e.value.hint or "")


def test_another_file_of_a_configured_name_can_be_looked_at(config: Config, touch: Touch) -> None:
    """A restored copy keeps the name of its original."""
    [path] = touch("restored/production.db")
    assert select_databases(config, [str(path)])[0].path == path


def test_another_file_of_a_configured_name_must_not_be_shipped(
    config: Config, touch: Touch
) -> None:
    """Its snapshots would be taken for those of the configured database."""
    [path] = touch("restored/production.db")
    with pytest.raises(ConfigError, match="has the name production, as has"):
        refuse_claimed_names(config, select_databases(config, [str(path)]))


def test_configured_databases_may_have_their_own_names(config: Config) -> None:
    """Whatever way they were selected."""
    refuse_claimed_names(config, select_databases(config, ["storage/cache.db", "production"]))


def test_two_names_that_a_destination_may_take_for_one_must_not_be_shipped(
    configure: Configure, touch: Touch
) -> None:
    """The message names both, and where each comes from; other commands go on."""
    upper, lower = touch("Acme/db.sqlite3", "acme/db.sqlite3")
    config = configure("[[databases]]\npath = '*/db.sqlite3'\nname = '{parent}'\n")
    assert len(select_databases(config, [])) == 2

    with pytest.raises(ConfigError) as caught:
        refuse_claimed_names(config, [])

    assert caught.value.message == (
        f"keeper.toml: databases[0]: {lower} has the name acme, which many destinations do not"
        f" tell from Acme, the name of {upper} of keeper.toml: databases[0]"
    )
    assert "exclude one of them" in str(caught.value.hint)
    assert 'name = "..."' in str(caught.value.hint)


def test_names_in_another_form_of_unicode_must_not_be_shipped(configure: Configure) -> None:
    """They look alike, so the paths tell which is meant."""
    toml = "[[databases]]\npath = 'a.db'\nname = '{}'\n[[databases]]\npath = 'b.db'\nname = '{}'\n"
    config = configure(toml.format("caf\u00e9", "cafe\u0301"))

    with pytest.raises(
        ConfigError, match=r"b\.db has the name .*a\.db of .*databases\[0\]$"
    ) as caught:
        refuse_claimed_names(config, [])
    assert caught.value.hint == 'give one of them another name: name = "..."'


def test_path_of_a_name_that_differs_in_case_must_not_be_shipped(
    config: Config, touch: Touch
) -> None:
    """The command line has no other names to give."""
    [path] = touch("elsewhere/Production.db")

    with pytest.raises(ConfigError, match=r"Production, which .* from production") as caught:
        refuse_claimed_names(config, select_databases(config, [str(path)]))
    assert "list them in keeper.toml" in str(caught.value.hint)


def test_what_is_not_backed_up_clashes_with_nothing(configure: Configure, touch: Touch) -> None:
    """Nothing of it is at a destination, unless it is named."""
    touch("a/Cache.db", "a/cache.db")
    config = configure("[[databases]]\npath = 'a/*.db'\nbackup = false\n")

    refuse_claimed_names(config, [])
    refuse_claimed_names(config, select_databases(config, ["cache"]))
    with pytest.raises(ConfigError, match="many destinations"):
        refuse_claimed_names(config, select_databases(config, ["cache", "Cache"]))
