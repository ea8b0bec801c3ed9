"""What all commands have in common: help, errors, JSON, closed pipes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sqlitekeeper.cli.app import COMMANDS
from tests.conftest import REPOSITORY, Keeper, MakeDatabase

# A group has none of the options: its commands do.
RUNNABLE = (*(name for name in COMMANDS if name != "config"), "config init", "config show")


@pytest.mark.parametrize("command", [*RUNNABLE, "config"])
def test_help_has_an_example(keeper: Keeper, command: str) -> None:
    """Each command's help shows how it is called."""
    run = keeper(*command.split(), "--help")

    assert run.status == 0
    assert re.search(rf"^ +keeper {command} \S", run.out, re.MULTILINE)


@pytest.mark.parametrize("command", RUNNABLE)
def test_common_options_are_everywhere(keeper: Keeper, command: str) -> None:
    """--config, --json, --quiet, --verbose and --no-color."""
    run = keeper(*command.split(), "--help")

    for option in ("-c, --config", "--json", "-q, --quiet", "-v, --verbose", "--no-color"):
        assert option in run.out


def test_help_shows_the_four_everyday_commands(keeper: Keeper) -> None:
    """Which are all that most people need."""
    run = keeper("--help")

    for words in ("keeper init", "keeper vacuum", "keeper report", "keeper backup"):
        assert words in run.out


@pytest.mark.parametrize(
    ("arguments", "command", "word"),
    [
        (["vacuum", "--nosuch", "--json"], "vacuum", "--nosuch"),
        (["nosuch", "--json"], None, "nosuch"),
        (["vacuum", "--json"], "vacuum", "no database to work on"),
        (["report", "--json", "-c", "nosuch.toml"], "report", "nosuch.toml"),
        (["init", "--json"], "init", "PATH"),
        (["report", "nosuch", "--json"], "report", "nosuch"),
        (["config", "init", "--json"], "config init", "give a folder"),
        (["config", "show", "--json", "-c", "nosuch.toml"], "config show", "nosuch.toml"),
        (["config", "--json"], "config", "--json"),
    ],
)
def test_usage_errors_are_json_too(
    keeper: Keeper, arguments: list[str], command: str | None, word: str
) -> None:
    """One object on standard output, whatever was wrong with the command line."""
    run = keeper(*arguments)

    assert run.status == 2
    assert (run.json["command"], run.json["ok"]) == (command, False)
    assert run.json["error"]["code"] == 2
    assert word in run.json["error"]["message"]
    assert run.json["error"].keys() == {"code", "message", "hint"}
    assert run.json["databases"] == []


def test_failures_are_json_too(keeper: Keeper, tmp_path: Path) -> None:
    """A database that failed is in the object, and so is what became of the run."""
    run = keeper("report", tmp_path / "absent", "--json")

    assert (run.status, run.json["ok"], run.json["error"]["code"]) == (1, False, 1)
    assert "no such file" in run.json["error"]["message"]
    assert run.entry["outcome"] == "failed"


def test_json_after_two_dashes_is_a_name(keeper: Keeper) -> None:
    """What follows `--` is no option."""
    run = keeper("report", "--", "--json")

    assert (run.status, run.out) == (2, "")


def test_error_is_one_line_with_a_hint_below(keeper: Keeper) -> None:
    """People get no JSON and no traceback."""
    run = keeper("vacuum", "--nosuch")

    assert run.err == (
        "keeper: error: No such option '--nosuch'.\nkeeper: hint: see: keeper vacuum --help\n"
    )


def keeper_into(closed: dict[str, object], *arguments: object) -> tuple[int, str]:
    """Run keeper with pipes that nobody reads; its status and what else it said."""
    done = subprocess.run(
        [sys.executable, "-m", "sqlitekeeper", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=60,
        **closed,  # type: ignore[call-overload]
    )
    return done.returncode, (done.stderr or b"").decode()


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_reader_that_went_away_gets_no_traceback(
    make_database: MakeDatabase, options: list[str]
) -> None:
    """`keeper report | head -0` ends quietly."""
    path = make_database()
    reading, writing = os.pipe()
    os.close(reading)

    _, said = keeper_into({"stdout": writing}, "report", path, *options)

    os.close(writing)
    assert said == ""


def test_without_arguments_it_explains_itself(keeper: Keeper) -> None:
    """Help on standard error, and a usage error's status."""
    run = keeper()

    assert run.status == 2
    assert run.out == ""
    assert "keeper init storage/production.sqlite3" in run.err


def test_closed_standard_output_is_no_defect(make_database: MakeDatabase) -> None:
    """As in `keeper report >&-`."""
    command = f"{sys.executable} -m sqlitekeeper report {make_database()} >&-"
    done = subprocess.run(["/bin/sh", "-c", command], cwd=REPOSITORY, capture_output=True)

    assert (done.returncode, done.stderr) == (0, b"")


def test_closed_standard_input_is_no_defect(make_database: MakeDatabase) -> None:
    """As in `keeper convert <&-`: there is nobody to ask."""
    command = f"{sys.executable} -m sqlitekeeper convert {make_database(auto_vacuum='none')} <&-"
    done = subprocess.run(["/bin/sh", "-c", command], cwd=REPOSITORY, capture_output=True)

    assert done.returncode == 2
    assert b"nobody to ask" in done.stderr


def test_full_disk_under_the_output_is_said(make_database: MakeDatabase) -> None:
    """A report that could not be written is not a success."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with open("/dev/full", "w") as full:  # noqa: PTH123
        status, said = keeper_into({"stdout": full}, "report", make_database(), "--json")

    assert status == 1
    assert "No space left on device" in said
    assert "Traceback" not in said


def test_version_that_nobody_reads_is_no_defect() -> None:
    """`keeper --version | true` says nothing."""
    reading, writing = os.pipe()
    os.close(reading)
    assert keeper_into({"stdout": writing}, "--version") == (1, "")
    os.close(writing)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_full_disk_under_the_version_is_said_once(
    unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether Python keeps what it could not write, as it does for cron, or not."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with open("/dev/full", "w") as full:  # noqa: PTH123
        status, said = keeper_into({"stdout": full}, "--version")

    assert status == 1
    assert said.startswith("keeper: error: ")
    assert said.endswith("No space left on device\n")
    assert said.count("\n") == 1


@pytest.mark.parametrize("name", ["red\x1b[31m.db", "bell\x07.db", "two\nlines.db", "rtl\u202e.db"])
@pytest.mark.parametrize("command", ["init", "report", "vacuum"])
def test_control_characters_never_reach_the_terminal(
    terminal: Keeper, make_database: MakeDatabase, tmp_path: Path, command: str, name: str
) -> None:
    """Names are other people's; their characters are spelt out."""
    make_database("plain.db", rows=1).rename(tmp_path / name)
    odd = next(c for c in name if not c.isprintable())

    run = terminal(command, f"./{name}", "--no-color")

    lines = run.out.split("\r\n")
    assert all(line.isprintable() for line in lines)
    assert any(odd.encode("unicode_escape").decode() in line for line in lines)


def test_control_characters_survive_json(
    keeper: Keeper, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """JSON has its own way to write them, so a script gets the real name."""
    make_database("plain.db", rows=1).rename(tmp_path / "red\x1b[31m.db")

    run = keeper("init", "red\x1b[31m.db", "--exist-ok", "--json")

    assert "\x1b" not in run.out
    assert json.loads(run.out)["databases"][0]["path"] == "red\x1b[31m.db"


@pytest.mark.parametrize(
    ("options", "env"), [(["--no-color"], {}), ([], {"NO_COLOR": "1"})], ids=["option", "variable"]
)
def test_colours_can_be_turned_off(
    terminal: Keeper, make_database: MakeDatabase, options: list[str], env: dict[str, str]
) -> None:
    """Without them the terminal gets plain text."""
    path = make_database()

    assert "\x1b[" in terminal("report", path).out
    assert "\x1b[" not in terminal("report", path, *options, env=env).out


def test_empty_no_color_is_none(terminal: Keeper, make_database: MakeDatabase) -> None:
    """As https://no-color.org says: present and not empty."""
    assert "\x1b[" in terminal("report", make_database(), env={"NO_COLOR": ""}).out


@pytest.mark.parametrize("columns", [50, 70])
def test_columns_bound_what_a_terminal_gets(
    terminal: Keeper, make_database: MakeDatabase, columns: int
) -> None:
    """Tables and help keep to $COLUMNS."""
    path = make_database("production_with_quite_a_name.sqlite3")
    env = {"COLUMNS": str(columns)}

    table = terminal("vacuum", path, "--no-color", env=env).out.splitlines()
    help_lines = terminal("backup", "--help", env=env).out.splitlines()

    assert len(table) > 1
    assert max(map(len, table)) <= columns
    # What is marked as an example is never wrapped.
    assert max(len(line) for line in help_lines if "  keeper " not in line) <= columns


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (("vacuum", "my app.db"), "keeper convert '{}/my app.db'"),
        (("init", "my app.db", "--exist-ok"), "keeper convert '{}/my app.db'"),
        (("init", "no such/a.db"), "mkdir -p '{}/no such'"),
        (("convert", "an empty.db", "--yes"), "keeper init '{}/an empty.db'"),
        (("restore", "app", "--from", "to", "--to", "no such/a.db"), "mkdir -p '{}/no such'"),
    ],
)
def test_command_of_a_hint_can_be_pasted(
    keeper: Keeper,
    make_database: MakeDatabase,
    tmp_path: Path,
    arguments: tuple[str, ...],
    command: str,
) -> None:
    """Also where names have blanks."""
    make_database("my app.db", auto_vacuum="none")
    (tmp_path / "an empty.db").touch()
    keeper("backup", make_database("app.sqlite3", rows=1), "--to", "to")

    words = [str(tmp_path / word) if word.endswith(".db") else word for word in arguments]
    run = keeper(*words)

    assert command.format(tmp_path) in run.out + run.err
