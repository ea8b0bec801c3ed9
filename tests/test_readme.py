"""README against the real program."""

import re

import click
import pytest

from sqlitekeeper.cli.app import keeper
from tests.conftest import REPOSITORY

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
