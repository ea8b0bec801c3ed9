"""One parser for each kind of value in keeper.toml.

A parser takes what tomllib read and the spot where it stands. It returns the
value that the settings hold, or raises a ConfigError that names the spot.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from sqlitekeeper.config.credentials import HINT as CREDENTIAL_HINT
from sqlitekeeper.config.credentials import secret_argument
from sqlitekeeper.config.durations import parse_duration
from sqlitekeeper.config.names import check_name, fill
from sqlitekeeper.config.paths import absolute, expand_home, local_folder
from sqlitekeeper.config.position import Position
from sqlitekeeper.config.quoting import described, nearest
from sqlitekeeper.errors import ConfigError

T = TypeVar("T")
Parser: TypeAlias = Callable[[object, Position], T]
Keys: TypeAlias = Mapping[str, Parser[Any]]

_LARGEST_COUNT = 2**31 - 1


def text(value: object, position: Position) -> str:
    """A text with something in it."""
    if not isinstance(value, str):
        raise position.error(f"must be a text in quotes, not {described(value)}")
    if not value:
        raise position.error("must not be empty; leave the key out for its default")
    if "\0" in value:
        raise position.error("must not contain a NUL character")
    return value


def flag(value: object, position: Position) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise position.error(f"must be true or false, not {described(value)}")
    return value


def count(least: int) -> Parser[int]:
    """A whole number from `least` on."""

    def parse(value: object, position: Position) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise position.error(f"must be a whole number, not {described(value)}")
        if not least <= value <= _LARGEST_COUNT:
            raise position.error(
                f"must be from {least} to {_LARGEST_COUNT}, not {described(value)}"
            )
        return value

    return parse


def share(value: object, position: Position) -> float:
    """A part of a whole, from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise position.error(f"must be a number from 0 to 1, not {described(value)}")
    if not 0 <= value <= 1:
        raise position.error(f"must be from 0 to 1, not {described(value)}")
    return float(value)


def count_or_percent(value: object, position: Position) -> int | float:
    """A whole number, or a percentage such as "10%", which is a float from 0 to 100."""
    if not isinstance(value, str):
        return count(0)(value, position)
    found = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%", value)
    if found is None or float(found[1]) > 100:
        raise position.error(
            f'must be a whole number, or from "0%" to "100%", not {described(value)}'
        )
    return float(found[1])


def choice(*options: str) -> Parser[str]:
    """One word of a few."""

    def parse(value: object, position: Position) -> str:
        if value not in options:
            raise position.error(f"must be one of {', '.join(options)}, not {described(value)}")
        return str(value)

    return parse


def duration(value: object, position: Position) -> float:
    """A duration such as "26h", in seconds."""
    if not isinstance(value, str):
        raise position.error(f'must be a duration such as "26h", not {described(value)}')
    try:
        return parse_duration(value)
    except ValueError as error:
        raise position.error(str(error)) from None


def ping_url(value: object, position: Position) -> str:
    """An http or https address with its {hostname} filled in; its {command} stays.

    It is a secret, so that no message shows it.
    """
    from urllib.parse import quote, urlsplit

    fillers = {
        "hostname": lambda: quote(position.source.hostname()),
        "command": lambda: "{command}",
    }
    try:
        address = fill(text(value, position), fillers)
    except ValueError:
        raise position.error(
            "may have {hostname} and {command} in it, and no other braces"
        ) from None
    try:
        parts = urlsplit(address)
        usable = bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:
        usable = False
    if not usable or not address.isascii() or not address.isprintable() or " " in address:
        raise position.error(
            "must be an http:// or https:// address (it is not shown, since it is a secret)"
        )
    return address


def name(value: object, position: Position) -> str:
    """A name as databases and file sets have it."""
    words = text(value, position)
    if reason := check_name(words):
        raise position.error(f"{words!r} cannot be a name: {reason}")
    return words


def home_expanded(value: object, position: Position) -> str:
    """A path as it was written, but for its `~`."""
    written = text(value, position)
    try:
        return expand_home(written, position.source.environ)
    except ConfigError as error:
        raise position.error(error.message) from None


def path(value: object, position: Position) -> Path:
    """A path, made absolute."""
    return absolute(home_expanded(value, position), position.source.folder)


def program(value: object, position: Position) -> str:
    """A program: a path, made absolute, or a plain name to be looked up in PATH."""
    written = home_expanded(value, position)
    return str(absolute(written, position.source.folder)) if "/" in written else written


def destination(value: object, position: Position) -> str:
    """An rclone remote, or a local folder made absolute, with its {hostname} filled in."""
    written = text(value, position)
    try:
        filled = fill(written, {"hostname": position.source.hostname})
    except ValueError as error:
        raise position.error(str(error)) from None
    try:
        return local_folder(filled, position.source.folder, position.source.environ)
    except ConfigError as error:
        raise position.error(error.message, hint=error.hint) from None


def listed(item: Parser[T]) -> Parser[tuple[T, ...]]:
    """A list, each item of it parsed by `item`."""

    def parse(value: object, position: Position) -> tuple[T, ...]:
        if not isinstance(value, list):
            # What should have been an argument of rclone or an alert may be a secret.
            found = "a text" if isinstance(value, str) else described(value)
            raise position.error(f"must be a list in [brackets], not {found}")
        return tuple(item(one, position.at(index)) for index, one in enumerate(value))

    return parse


def command(value: object, position: Position) -> tuple[str, ...]:
    """A program and its arguments."""
    words = listed(text)(value, position)
    if not words:
        raise position.error("must name a program; leave the key out for none")
    return (program(words[0], position.at(0)), *words[1:])


def rclone_arguments(value: object, position: Position) -> tuple[str, ...]:
    """More arguments for every run of rclone; none that hands over a secret."""
    arguments = listed(text)(value, position)
    if flag := secret_argument(arguments):
        reason = f"{flag} would show a credential to everyone on this host"
        raise position.error(reason, hint=CREDENTIAL_HINT)
    return arguments


def destinations(value: object, position: Position) -> tuple[str, ...]:
    """One destination or a list of them, none of them twice."""
    if isinstance(value, str):
        return (destination(value, position),)
    found = listed(destination)(value, position)
    if not found:
        raise position.error("must name a destination; leave the key out for none")
    for index, to in enumerate(found):
        if to in found[:index]:
            raise position.at(index).error(f"{described(to)} is in the list twice")
    return found


def read_table(
    value: object, position: Position, keys: Keys, required: tuple[str, ...] = ()
) -> Any:
    """The keys that a table has, each parsed, as a dict; the absent ones are left out.

    Raises:
        ConfigError: no table, a key that is unknown or missing, or a bad value.
    """
    if not isinstance(value, dict):
        raise position.error(f"must be a table, not {described(value)}")
    for key in value:
        if key not in keys:
            guess = nearest(key, keys)
            advice = f"did you mean {guess}?" if guess else f"valid keys: {', '.join(keys)}"
            raise position.at(key).error(f"unknown key; {advice}")
    for key in required:
        if key not in value:
            raise position.at(key).error("is missing")
    return {key: keys[key](one, position.at(key)) for key, one in value.items()}


def record(build: Callable[..., T], keys: Keys, required: tuple[str, ...] = ()) -> Parser[T]:
    """A table whose keys are the arguments of `build`."""

    def parse(value: object, position: Position) -> T:
        return build(**read_table(value, position, keys, required))

    return parse


def tables(item: Parser[T]) -> Parser[tuple[T, ...]]:
    """A `[[list]]` of tables."""

    def parse(value: object, position: Position) -> tuple[T, ...]:
        if isinstance(value, dict):
            raise position.error(f"must be a list of tables; write [[{position.key}]]")
        return listed(item)(value, position)

    return parse
