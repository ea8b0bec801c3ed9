"""The remotes that recipes define for rclone: by a file, and the same by the environment."""

import configparser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY

RECIPES = REPOSITORY / "recipes"
PREFIX = "RCLONE_CONFIG_"
WAYS = pytest.mark.parametrize("way", ["file", "environment"])


def in_file(file: Path) -> dict[str, dict[str, str]]:
    """The remotes of an rclone.conf: options by name."""
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.read_string(file.read_text())
    return {name: dict(parser[name]) for name in parser.sections()}


def variables(file: Path) -> dict[str, str]:
    """The lines of an environment file, as systemd and docker read it: no quotes, no export."""
    lines = [line for line in file.read_text().splitlines() if line and line[0] != "#"]
    pairs = dict(line.split("=", 1) for line in lines)
    assert len(pairs) == len(lines)
    assert not [value for value in pairs.values() if value[:1] in "\"'"]
    return pairs


def in_environment(file: Path, name: str) -> dict[str, str]:
    """The options of one remote, as an environment file gives them."""
    start = f"{PREFIX}{name.upper().replace('-', '_')}_"
    found = variables(file)
    assert all(variable.startswith(start) for variable in found)
    return {variable.removeprefix(start).lower(): value for variable, value in found.items()}


def use(
    monkeypatch: pytest.MonkeyPatch, recipe: str, way: str, name: str, **instead: object
) -> None:
    """Let rclone know a recipe's remote, with some options replaced by those of a test's server."""
    folder = RECIPES / recipe
    if way == "file":
        monkeypatch.setenv("RCLONE_CONFIG", str(folder / "rclone.conf"))
    else:
        for variable, value in variables(folder / "environment").items():
            monkeypatch.setenv(variable, value)
    replace(monkeypatch, name, **instead)


def replace(monkeypatch: pytest.MonkeyPatch, name: str, **instead: object) -> None:
    """Replace options of a remote; for rclone the environment wins over the file."""
    start = f"{PREFIX}{name.upper().replace('-', '_')}_"
    for option, value in instead.items():
        monkeypatch.setenv(start + option.upper(), str(value))


def edited(recipe: str, file: str, instead: Mapping[str, str]) -> str:
    """A recipe's file with some text replaced, as its user would; each must occur in it."""
    text = (RECIPES / recipe / file).read_text()
    for old, new in instead.items():
        assert old in text
        text = text.replace(old, new)
    return text


def keys(value: Any) -> set[str]:
    """All keys of a JSON document, however deep."""
    if isinstance(value, dict):
        return set(value).union(*(keys(one) for one in value.values()))
    if isinstance(value, list):
        return set().union(*(keys(one) for one in value))
    return set()
