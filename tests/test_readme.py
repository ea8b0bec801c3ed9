"""README against the real program."""

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from html import unescape
from xml.etree import ElementTree

import click
import pytest

from sqlitekeeper.cli.app import keeper
from tests.conftest import REPOSITORY
from tests.example import Example, example
from tests.pictures.terminal import MARGIN, WIDTH, as_svg

README = (REPOSITORY / "README.md").read_text()
COMMON = {"--config", "--json", "--quiet", "--verbose", "--no-color", "--help"}


def documented() -> dict[str, set[str]]:
    """The options that the table of commands names, by command; arguments are not lower-case."""
    rows = re.findall(
        r"^\| `([a-z]+(?: [a-z]+)*)[^`]*` \| [^|]+ \|([^|]*)\|$", README, re.MULTILINE
    )
    return {name: set(re.findall(r"`(--[\w-]+)`", options)) for name, options in rows}


def commands_of(group: click.Group, prefix: str = "") -> dict[str, click.Command]:
    """Every command as click knows it, by name; "config init" for one of a group."""
    found: dict[str, click.Command] = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= commands_of(command, f"{prefix}{name} ")
        else:
            found[prefix + name] = command
    return found


COMMANDS = commands_of(keeper)


def test_every_command_is_in_the_table() -> None:
    """And no other, in the same order."""
    assert list(documented()) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_in_the_table(name: str) -> None:
    """Except those that all commands share."""
    options = {
        option
        for parameter in COMMANDS[name].params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
        if option.startswith("--")
    }
    assert documented()[name] == options - COMMON


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command_has_an_example(name: str) -> None:
    """Something to copy."""
    assert f"\n  keeper {name} " in (COMMANDS[name].help or "").replace("\b\n", "\n")


def test_first_two_shell_blocks_are_one_command_each() -> None:
    """CI runs exactly these."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    assert all(block.count("\n") == 1 for block in blocks)
    assert "keeper init" in blocks[0]
    assert "keeper backup" in blocks[0]
    assert "pytest" in blocks[1]


def test_configuration_in_the_readme_is_valid(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Word for word."""
    from sqlitekeeper.config import read_config

    (block,) = re.findall(r"^```toml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    file = tmp_path_factory.mktemp("readme") / "keeper.toml"
    file.write_text(block)
    config = read_config(file, {"HOME": "/nowhere"}, hostname=lambda: "web1")
    assert config.backup.to == ("b2:my-bucket/web1",)


Command = tuple[str, str]
# How a command starts that wants a checkout of the repository: benchmarks and pictures.
DEVELOPMENT = ".venv/bin/python -m "
# What goes on at the server before a block that starts like this.
MEANWHILE: dict[str, Callable[[Example], None]] = {
    "keeper vacuum": Example.grow_old,
    "keeper doctor": Example.write,
    "keeper files": Example.add_uploads,
}
REPORT = "keeper report"
SVG = "{http://www.w3.org/2000/svg}"
SIGN = "\x1e"


def console_blocks() -> list[list[Command]]:
    """The commands of each block of a terminal, each with what README says that it prints."""
    blocks = []
    for text in re.findall(r"^```console\n(.*?)^```$", README, re.MULTILINE | re.DOTALL):
        assert text.startswith("$ ")
        parts = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
        blocks.append([(line, said) for line, _, said in (p.partition("\n") for p in parts)])
    return blocks


def shape(text: str) -> list[str]:
    """The words of a text, figures and curves aside: `1,000 (3.9 MiB)` is `# (# MiB)`."""
    text = re.sub("\x1b" + r"\[[0-9;?]*[A-Za-z]|^.*\r", "", text, flags=re.MULTILINE)
    text = re.sub(r"\d{8}T\d{6}Z-[2-9a-z]{5}|[\u2581-\u2588]+|\d[\d.,:-]*", "#", text)
    return re.sub(r"\b(?:Bytes?|[KMG]iB|B)\b", "#B", text).split()


def as_of_today(line: str, server: Example) -> str:
    """A command with the date and the newest snapshot of this server instead of README's."""
    stamps = re.findall(r"production-([\w-]+)\.sqlite3", " ".join(server.b2.current()))
    line = re.sub(r"\d{8}T\d{6}Z-[2-9a-z]{5}", max(stamps, default=""), line)
    return re.sub(r"\d{4}-\d\d-\d\d", datetime.now(UTC).date().isoformat(), line)


def test_what_stands_on_a_terminal_happens_there() -> None:
    """Each command of README, in their order, in the places that it names: /srv/app and b2:."""
    blocks = [block for block in console_blocks() if not block[0][0].startswith(DEVELOPMENT)]
    assert len(blocks) > 10
    with example() as server:
        for block in blocks:
            for start, change in MEANWHILE.items():
                if block[0][0] == start:
                    change(server)
            server.configure()
            script = "".join(
                f"{as_of_today(line, server)}\nprintf '{SIGN}%d{SIGN}' $?\n" for line, _ in block
            )
            _, said = server.run(script)
            outputs = said.split(SIGN)
            assert len(outputs) == 2 * len(block) + 1, said
            for (line, expected), output, status in zip(
                block, outputs[::2], outputs[1::2], strict=False
            ):
                assert status == "0", f"{line}: {output}"
                assert "Traceback" not in output
                if line == "keeper doctor":
                    # Of the host, such as one with all in memory, it may have more to say.
                    said_lines = [shape(one) for one in output.splitlines()]
                    *findings, _ = expected.splitlines()
                    assert all(shape(one) in said_lines for one in findings), output
                elif expected:
                    assert shape(output) == shape(expected), f"{line}: {output}"


def test_what_is_run_from_the_repository_is_there() -> None:
    """Benchmarks and pictures, with the options that README gives them; they only say their help.

    That they work at a small size is a test of their own.
    """
    lines = [line for block in console_blocks() for line, _ in block]
    development = [line.split("#")[0] for line in lines if line.startswith(DEVELOPMENT)]
    assert development
    for line in development:
        program, *arguments = line.removeprefix(DEVELOPMENT).split()
        assert run_module(program, *arguments, "--help").startswith("Usage: "), line


def test_picture_of_the_terminal_shows_what_the_example_shows() -> None:
    """Made before the last change of what `keeper report` prints, it would not."""
    picture = (REPOSITORY / "tests" / "pictures" / "report.svg").read_text()
    (said,) = [said for block in console_blocks() for line, said in block if line == REPORT]

    words = [unescape(word) for word in re.findall(r"<tspan[^>]*>([^<]*)<", picture)]
    assert shape(" ".join(words)) == shape(f"$ {REPORT}\n{said}")


def test_words_of_a_picture_stand_where_they_stood() -> None:
    """So that columns are columns, whatever the font; what was bold is bold."""
    picture = as_svg("\x1b[1mname  <size>\x1b[0m\n\n  a b\n", "a & b")

    found = ElementTree.fromstring(picture)
    words = [(one.text, float(one.get("x", "")) - MARGIN) for one in found.iter(f"{SVG}tspan")]
    places = {"name": 0, "<size>": 6, "a": 2, "b": 4}
    assert words == [(word, column * WIDTH) for word, column in places.items()]
    assert [line.get("class") for line in found.iter(f"{SVG}text")] == ["b", None]
    assert found.findtext(f"{SVG}title") == "a & b"


def test_pictures_are_small() -> None:
    """60 kB each."""
    for name in re.findall(r"^!\[[^]]+\]\((.+)\)$", README, re.MULTILINE):
        assert (REPOSITORY / name).stat().st_size <= 60_000, name


def test_links_lead_somewhere() -> None:
    """To a file or folder of the repository, or to a heading of README."""
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    headings = {
        re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    }
    for link in re.findall(r"\]\(([^)]+)\)", prose):
        if link.startswith("#"):
            assert link[1:] in headings, link
        elif not link.startswith("https://"):
            assert (REPOSITORY / link).exists(), link


def test_tests_that_can_be_longer_know_their_variable() -> None:
    """Each row of the table names the file that reads it, or whose neighbour does."""
    rows = re.findall(r"\]\((tests/[^)]+)\) \| `(\w+)=\d+`", README)
    assert len(rows) == 5
    for file, variable in rows:
        neighbours = (REPOSITORY / file).parent.glob("*.py")
        assert variable in (REPOSITORY / file).read_text(), file
        assert any(f'environ.get("{variable}"' in one.read_text() for one in neighbours), variable


def test_there_are_as_many_cases_as_the_table_says() -> None:
    """Or more by now."""
    rows = re.findall(r"^\| [^|]+ \| (\d+) \| (\[[^|]+) \|", README, re.MULTILINE)
    files = {row: re.findall(r"\((tests/[^)]+)\)", links) for row, (_, links) in enumerate(rows)}
    assert len(files) > 10
    every = [file for some in files.values() for file in some]
    said = run_module("pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *every)
    found = dict(re.findall(r"^(tests/\S+): (\d+)$", said, re.MULTILINE))
    for row, (cases, _) in enumerate(rows):
        assert sum(int(found[file]) for file in files[row]) >= int(cases), files[row]


def run_module(name: str, *arguments: str) -> str:
    """The output of a module of this repository."""
    done = subprocess.run(
        [sys.executable, "-m", name, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    return done.stdout
