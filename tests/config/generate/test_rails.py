"""The SQLite databases of a Rails application's database.yml."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sqlitekeeper.config.generate.rails import find_rails_databases
from sqlitekeeper.config.generate.scan import Found
from sqlitekeeper.config.generate.toml import draft
from sqlitekeeper.errors import ConfigError
from tests.conftest import REPOSITORY

RAILS_8 = """\
# SQLite. Versions 3.8.0 and up are supported.
#   gem install sqlite3
#
default: &default
  adapter: sqlite3
  pool: <%= ENV.fetch("RAILS_MAX_THREADS") { 5 } %>
  timeout: 5000

development:
  <<: *default
  database: storage/development.sqlite3

test:
  <<: *default
  database: storage/test.sqlite3

# Store production database in the storage/ directory, mounted as a volume.
production:
  primary:
    <<: *default
    database: storage/production.sqlite3
  cache:
    <<: *default
    database: storage/production_cache.sqlite3
    migrations_paths: db/cache_migrate
  queue:
    <<: *default
    database: storage/production_queue.sqlite3
    migrations_paths: db/queue_migrate
  cable:
    <<: *default
    database: storage/production_cable.sqlite3
    migrations_paths: db/cable_migrate
"""

Read = Callable[..., Found]


@pytest.fixture
def read(folder: Path) -> Read:
    """Write config/database.yml into the working folder, and find its databases."""

    def find(text: str, environment: str = "production", **environ: str) -> Found:
        file = folder / "config/database.yml"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(text.encode())
        return find_rails_databases(Path("config/database.yml"), environment, environ)

    return find


def one(settings: str) -> str:
    """A database.yml with a single production database."""
    return f"production:\n  {settings}\n"


def paths(found: Found, folder: Path) -> list[str]:
    """The databases relative to the application's root."""
    return [str(one.path.relative_to(folder)) for one in found.databases]


def test_the_default_of_rails_8_is_read(read: Read, folder: Path) -> None:
    """Four databases, relative to the application's root, nothing to remark on."""
    found = read(RAILS_8)
    names = ("production", "production_cache", "production_queue", "production_cable")
    assert paths(found, folder) == [f"storage/{name}.sqlite3" for name in names]
    assert found.remarks == ()


def test_the_role_tells_what_needs_no_backup(read: Read) -> None:
    """Whatever the file is called."""
    found = read(RAILS_8.replace("production_", "x"))
    assert [one.no_backup is None for one in found.databases] == [True, False, False, False]


def test_a_primary_is_backed_up_whatever_its_name(read: Read) -> None:
    """An application may be about queues."""
    text = RAILS_8.replace("storage/production.", "storage/print_queue.")
    assert read(text).databases[0].no_backup is None
    (only,) = read(one("{adapter: sqlite3, database: print_queue.db}")).databases
    assert only.no_backup is None


@pytest.mark.parametrize("roles", [("cache", "primary"), ("primary", "cache")])
def test_a_file_of_several_roles_is_backed_up_if_one_needs_it(
    read: Read, roles: tuple[str, str]
) -> None:
    """In whichever order they stand."""
    entry = "{adapter: sqlite3, database: a.db}"
    (only,) = read(f"production:\n  {roles[0]}: {entry}\n  {roles[1]}: {entry}\n").databases
    assert only.no_backup is None
    assert only.note == "primary in config/database.yml; not there yet"


def test_each_database_has_its_role_in_a_comment(read: Read, folder: Path) -> None:
    """And whether the file is there."""
    (folder / "storage").mkdir()
    (folder / "storage/production.sqlite3").touch()
    primary, cache, *_ = read(RAILS_8).databases
    assert primary.note == "primary in config/database.yml"
    assert cache.note == "cache in config/database.yml; not there yet"


def test_another_environment_can_be_asked_for(read: Read, folder: Path) -> None:
    """Its database has the short form."""
    assert paths(read(RAILS_8, "development"), folder) == ["storage/development.sqlite3"]


def test_an_unknown_environment_names_those_there_are(read: Read) -> None:
    """A misspelt one is guessed."""
    with pytest.raises(ConfigError, match="has no environment prod") as caught:
        read(RAILS_8, "prod")
    assert "production" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("url: sqlite3:storage/a.db", "storage/a.db"),
        ("url: sqlite3:storage/a%20b.db?pool=5", "storage/a b.db"),
        ("url: <%= ENV['DB'] %>", "storage/env.db"),
        ("{adapter: sqlite3, database: ./storage/../a.db}", "a.db"),
        ('{adapter: sqlite3, database: "<%= ENV.fetch("NO", "d.db") %>"}', "d.db"),
    ],
)
def test_a_path_has_many_forms(read: Read, folder: Path, line: str, path: str) -> None:
    """URLs as well, percent signs and all."""
    assert paths(read(one(line), DB="sqlite3:storage/env.db"), folder) == [path]


@pytest.mark.parametrize(
    "line",
    [
        "url: sqlite3:/srv/a.db",
        "url: sqlite3:///srv/a.db",
        "url: sqlite3://localhost/srv/a.db",
        "{adapter: sqlite3, database: /srv/a.db}",
        "{adapter: sqlite3, database: ~/a.db}",
    ],
)
def test_absolute_paths_stay(read: Read, line: str) -> None:
    """They have nothing to do with the application's root."""
    (found,) = read(one(line), HOME="/srv").databases
    assert found.path == Path("/srv/a.db")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{adapter: postgresql, database: x}", "its adapter is postgresql"),
        ("url: postgres://localhost/x", "its adapter is postgres"),
        ("{adapter: sqlite3, database: ':memory:'}", "it is in memory"),
        ("{adapter: sqlite3, database: 'file:x?mode=memory'}", "URIs are not read"),
        ("adapter: sqlite3", "names no database"),
        ("database: x", "it has no adapter"),
        ("url: nonsense", "its url is not one"),
    ],
)
def test_what_is_no_sqlite_file_is_left_out_with_a_word(read: Read, line: str, words: str) -> None:
    """Each with its place in the file."""
    found = read(one(line))
    assert found.databases == ()
    (remark,) = found.remarks
    assert remark.startswith("config/database.yml: production: left out: ")
    assert words in remark


def test_a_replica_of_the_same_file_is_no_second_database(read: Read, folder: Path) -> None:
    """The file counts."""
    entry = "{adapter: sqlite3, database: a.db}"
    text = f"production:\n  primary: {entry}\n  replica: {entry}\n"
    assert paths(read(text), folder) == ["a.db"]


def test_ruby_that_is_not_needed_is_remarked_on(read: Read, folder: Path) -> None:
    """The databases are found all the same."""
    found = read(one("{adapter: sqlite3, database: a.db, pool: <%= Etc.nprocessors %>}"))
    assert paths(found, folder) == ["a.db"]
    assert found.remarks == ("config/database.yml: line 2: <%= Etc.nprocessors %> is not executed",)


def test_ruby_that_is_needed_is_an_error_with_its_line(read: Read, tmp_path: Path) -> None:
    """And it has not been executed."""
    proof = tmp_path / "proof"
    with pytest.raises(ConfigError, match=r"production.database: comes from .* in line 4"):
        read(f"production:\n  adapter: sqlite3\n\n  database: <%= `touch {proof}` %>\n")
    assert not proof.exists()


@pytest.mark.parametrize(
    "text",
    [
        "production: !!python/object/apply:os.system ['touch proof']\n",
        "production: !ruby/object:Gem {}\n",
        "production: [",
        "a: *nowhere",
        "\ttab: 1",
        "a: !!timestamp x",
        "a: !!int ''",
        "a: !!bool x",
        "{[]: 1}",
        "2020-99-99",
        "[" * 1000,
        "\x01",
        "- 1",
        "",
        "production: 5",
        "production: {}",
        "--- 1\n--- 2",
    ],
)
def test_what_cannot_be_read_is_one_clear_error(read: Read, folder: Path, text: str) -> None:
    """YAML's safe loader only: no object is made, no command is run."""
    with pytest.raises(ConfigError, match=r"^config/database.yml: ") as caught:
        read(text)
    assert caught.value.message.isprintable()
    assert not (folder / "proof").exists()


def test_an_absent_file_is_named(folder: Path) -> None:
    """With what the system said."""
    with pytest.raises(ConfigError, match=r"config/database.yml: cannot be read: No such file"):
        find_rails_databases(Path("config/database.yml"), "production", {})


def test_without_pyyaml_the_extra_is_named(folder: Path, tmp_path: Path) -> None:
    """In a Python that has none: one line, and what to install."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/yaml.py").write_text("raise ImportError('hidden')")
    (folder / "database.yml").write_text(RAILS_8)

    done = subprocess.run(
        [sys.executable, "-m", "sqlitekeeper", "config", "init", "--rails", "database.yml"],
        env={"PYTHONPATH": f"{tmp_path / 'hidden'}:{REPOSITORY}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith("-m pip install PyYAML")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5).map(repr),
    lambda inner: st.dictionaries(
        st.sampled_from(["adapter", "database", "url", "primary", "production", "<<", "x"]),
        inner | st.sampled_from(["sqlite3", "sqlite3:x", "'\\0'", '"\\0"', "'a\ue000b'"]),
        max_size=4,
    ),
    max_leaves=10,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUES)
def test_any_document_gives_databases_or_a_clear_error(read: Read, value: object) -> None:
    """Never a traceback."""
    text = str(value).replace("None", "null").replace("True", "true").replace("False", "false")
    try:
        found = read(f"production: {text}")
    except ConfigError as error:
        said: tuple[str, ...] = (error.message,)
    else:
        said = found.remarks
        assert all(one.path.is_absolute() for one in found.databases)
    assert all(words.startswith("config/database.yml: ") for words in said)


def test_pragmas_of_an_entry_become_the_modes_that_doctor_compares(tmp_path: Path) -> None:
    """Those two that the file itself keeps; the others are each connection's own."""
    file = tmp_path / "config" / "database.yml"
    file.parent.mkdir()
    file.write_text(
        "production:\n  adapter: sqlite3\n  database: storage/production.sqlite3\n"
        "  pragmas:\n    journal_mode: WAL\n    auto_vacuum: 2\n    synchronous: normal\n"
    )

    found = find_rails_databases(file, "production", {})

    (candidate,) = found.databases
    assert candidate.modes == (("journal_mode", "wal"), ("auto_vacuum", "incremental"))
    toml = draft(found.databases, [], {}).toml
    assert 'journal_mode = "wal"  #' in toml
    assert 'auto_vacuum = "incremental"  #' in toml
