"""The user's own words in messages: always on one line, never raw bytes."""

import re
from collections.abc import Iterable
from datetime import date, time
from pathlib import Path

_LONGEST = 60


def readable(text: str | Path) -> str:
    """A text or path as it is, or quoted and escaped when it would upset a terminal."""
    plain = str(text)
    return plain if plain.isprintable() else repr(plain)


def readable_key(key: str) -> str:
    """A TOML key as one writes it: bare where that is possible."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else repr(key)


def described(value: object) -> str:
    """A value of a TOML document, short enough for a message."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            quoted = f'"{value}"' if value.isprintable() else repr(value)
            return quoted if len(quoted) <= _LONGEST else f"{quoted[:_LONGEST]}..."
        case int() if abs(value) >= 2**63:
            return "a number that large"
        case int() | float():
            return str(value)
        case date() | time():
            return "a date or time"
        case dict():
            return "a table"
        case _:
            return "a list"


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The one of `words` that `word` was probably meant to be."""
    import difflib  # only ever needed on the way to an error

    return next(iter(difflib.get_close_matches(word, words, n=1)), None)
