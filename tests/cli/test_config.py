"""`keeper config init` and `keeper config show`, end to end."""

import os
from pathlib import Path

import pytest

from tests.conftest import Keeper, MakeDatabase


def test_the_written_file_works_at_once(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Find, write, vacuum: the databases are the same."""
    make_database("srv/app.sqlite3", rows=10)
    make_database("srv/app_cache.sqlite3", rows=10)
    written = keeper("config", "init", "srv")
    (tmp_path / "keeper.toml").write_text(written.out)

    run = keeper("vacuum", "--json")

    assert (written.status, written.err) == (0, "")
    assert [one["name"] for one in run.json["databases"]] == ["app", "app_cache"]


def test_init_as_json_has_the_file_and_its_databases(
    keeper: Keeper, make_database: MakeDatabase
) -> None:
    """The text under `toml`, one entry for each database."""
    path = make_database("srv/app_queue.db", rows=1)
    text = keeper("config", "init", "srv", "--to", "b2:x").out

    run = keeper("config", "init", "srv", "--to", "b2:x", "--json")

    assert (run.json["command"], run.json["ok"], run.json["error"]) == ("config init", True, None)
    assert run.json["toml"] == text
    assert run.entry == {
        "name": "app_queue",
        "path": str(path),
        "outcome": "found",
        "backup": False,
        "reason": None,
    }


def test_init_without_any_database_fails_with_one_line(keeper: Keeper, tmp_path: Path) -> None:
    """And nothing goes into the file that standard output is."""
    (tmp_path / "srv").mkdir()

    run = keeper("config", "init", "srv")

    assert (run.status, run.out) == (1, "")
    assert run.err == "keeper: error: srv: no SQLite database below it\n"


def test_init_without_any_database_fails_in_json_too(keeper: Keeper, tmp_path: Path) -> None:
    """With the same words."""
    (tmp_path / "srv").mkdir()

    run = keeper("config", "init", "srv", "--json")

    assert (run.status, run.json["command"], run.json["ok"]) == (1, "config init", False)
    assert run.json["error"]["message"] == "srv: no SQLite database below it"


@pytest.mark.parametrize("arguments", [[], ["srv", "--rails", "database.yml"]])
def test_init_wants_a_folder_or_rails(keeper: Keeper, arguments: list[str]) -> None:
    """One of them."""
    run = keeper("config", "init", *arguments)

    assert run.status == 2
    assert "give a folder, or --rails FILE" in run.err


def test_init_reads_a_rails_application(keeper: Keeper, tmp_path: Path) -> None:
    """Its production databases, or those of --env; Ruby in it is said."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config/database.yml").write_text(
        "production:\n  adapter: sqlite3\n  database: storage/p.sqlite3\n"
        "  pool: <%= Etc.nprocessors %>\n"
        "test:\n  adapter: sqlite3\n  database: storage/t.sqlite3\n"
    )

    run = keeper("config", "init", "--rails", "config/database.yml")
    test = keeper("config", "init", "--rails", "config/database.yml", "--env", "test", "--json")

    assert run.status == 0
    assert f'path = "{tmp_path}/storage/p.sqlite3"' in run.out
    assert "warning: config/database.yml: line 4: <%= Etc.nprocessors %>" in run.err
    assert (test.entry["name"], test.entry["outcome"]) == ("t", "absent")


def test_init_is_utf8_whatever_the_terminal_is(keeper: Keeper, make_database: MakeDatabase) -> None:
    """TOML is."""
    make_database("srv/größe.db", rows=1)

    run = keeper("config", "init", "srv", env={"PYTHONIOENCODING": "ascii"})

    assert 'name = "größe"' in run.out


def test_init_leaves_the_databases_alone(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """No sidecar appears, no time changes."""
    path = make_database("srv/app.db", rows=1)
    before = path.stat().st_mtime_ns

    keeper("config", "init", "srv")

    assert list((tmp_path / "srv").iterdir()) == [path]
    assert path.stat().st_mtime_ns == before


CONFIG = """\
# A comment.
[[databases]]
path = "app.db"

[[databases]]
path = "none*.db"
optional = true
backup = false

[backup]
to = "b2:x"

[[files]]
name = "uploads"
path = "uploads"
to = "b2:y"

[notify]
ping_url = "https://me:word@hc-ping.com/secret-uuid?key=secret"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The keeper.toml that keeper finds."""
    file = tmp_path / "keeper.toml"
    file.write_text(CONFIG)
    return file


def test_show_prints_what_the_configuration_means(
    keeper: Keeper, config: Path, tmp_path: Path
) -> None:
    """Paths are absolute, defaults are filled in, each database has its origin."""
    run = keeper("config", "show")

    assert (run.status, run.err) == (0, "")
    words = [line.split(maxsplit=1) for line in run.out.splitlines()]
    for expected in (
        ["file", "keeper.toml"],
        ["database", "app"],
        ["path", f"{tmp_path}/app.db"],
        ["from", "keeper.toml: databases[0] (line 2)"],
        ["path", f"{tmp_path}/none*.db (no file matches)"],
        ["from", "keeper.toml: databases[1] (line 5)"],
        ["pages", "1,000"],
        ["to", "b2:x"],
        ["keep", "last 1, daily 7, weekly 4, monthly 12"],
        ["files", "uploads"],
    ):
        assert expected in words


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_show_conceals_the_ping_urls_secret(
    keeper: Keeper, config: Path, options: list[str]
) -> None:
    """Only the host is left."""
    run = keeper("config", "show", *options)

    assert "https://hc-ping.com/..." in run.out
    assert "secret" not in run.out + run.err
    assert "word" not in run.out


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_show_conceals_secrets_of_commands(
    keeper: Keeper, tmp_path: Path, options: list[str]
) -> None:
    """Of rclone's arguments, and of commands that call somebody."""
    (tmp_path / "keeper.toml").write_text(
        '[backup]\nrclone_args = ["--password-command", "echo hunter2", "--bwlimit", "8M"]\n'
        '[notify]\non_failure = ["curl", "-d@-", "https://hooks.example/T0/hunter2"]\n'
        'on_success = ["call", "--token=hunter2"]\n'
    )

    run = keeper("config", "show", *options)

    assert run.status == 0
    assert "hunter2" not in run.out
    for word in ("8M", "https://hooks.example/...", "call"):
        assert word in run.out


def test_show_as_json_has_plain_values(keeper: Keeper, config: Path, tmp_path: Path) -> None:
    """Numbers are numbers, and every database has its entry's line."""
    shown = keeper("config", "show", "--json").json

    assert shown["command"] == "config show"
    assert shown["file"] == "keeper.toml"
    assert shown["vacuum"]["pages"] == 1000
    assert shown["backup"]["max_age_seconds"] == 26 * 3600
    assert shown["files"][0]["path"] == str(tmp_path / "uploads")
    assert [(one["name"], one["line"]) for one in shown["databases"]] == [("app", 2), ("none*", 5)]
    assert shown["databases"][0] == {
        "name": "app",
        "path": str(tmp_path / "app.db"),
        "outcome": "absent",
        "reason": "no such file",
        "backup": True,
        "optional": False,
        "origin": "keeper.toml: databases[0]",
        "line": 2,
    }


def test_show_without_a_file_says_where_it_looked(keeper: Keeper) -> None:
    """And shows the defaults."""
    run = keeper("config", "show")

    assert run.status == 0
    assert "none; looked for: --config, $KEEPER_CONFIG, ./keeper.toml" in run.out


@pytest.mark.parametrize(
    "text",
    [
        'databases = [{path = "app.db"}]\n',
        'state = """\n[[databases]]\n"""\n[[databases]]\npath = "app.db"\n',
    ],
)
def test_show_gives_no_line_where_it_is_not_sure(keeper: Keeper, config: Path, text: str) -> None:
    """An inline list, or a header within a text: the entry's number is enough."""
    config.write_text(text)

    run = keeper("config", "show", "--json")

    assert run.entry["line"] is None
    assert run.entry["origin"] == "keeper.toml: databases[0]"


def test_show_quietly_is_a_check(keeper: Keeper, config: Path) -> None:
    """Nothing is said of a configuration that is valid."""
    assert keeper("config", "show", "-q").out == ""
    config.write_text("nonsense")
    assert keeper("config", "show", "-q").status == 2


def test_show_needs_no_rclone(keeper: Keeper, config: Path) -> None:
    """That it is missing is a warning here."""
    run = keeper("config", "show", "--json", env={"KEEPER_RCLONE": "/nowhere/rclone"})

    assert (run.status, run.json["rclone"]) == (0, None)
    assert "warning: $KEEPER_RCLONE" in run.err


def test_show_spells_out_control_characters(terminal: Keeper, config: Path) -> None:
    """Paths are other people's."""
    config.write_text('[[databases]]\npath = "a\\u001b[31m.db"\nname = "a"\n')

    run = terminal("config", "show", "--no-color")

    assert "a\\x1b[31m.db" in run.out
    assert "\x1b" not in run.out


def test_group_alone_is_a_usage_error(keeper: Keeper) -> None:
    """Which says where to look."""
    run = keeper("config")

    assert run.status == 2
    assert run.err.splitlines() == [
        "keeper: error: Missing command.",
        "keeper: hint: see: keeper config --help",
    ]


def test_show_reads_a_pipe(keeper: Keeper, tmp_path: Path) -> None:
    """As in `keeper config show -c <(make-config)`: what was read once has no lines any more."""
    reading, writing = os.pipe()
    os.write(writing, b'[[databases]]\npath = "/srv/app.db"\n')
    os.close(writing)

    run = keeper("config", "show", "--json", "-c", f"/dev/fd/{reading}", pass_fds=[reading])

    os.close(reading)
    assert (run.status, run.entry["name"], run.entry["line"]) == (0, "app", None)
