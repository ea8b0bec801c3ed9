"""The ERB that Rails' own database.yml templates use, and nothing more: nothing is executed.

Understood are comments and `<%= %>` around `ENV["X"]`, `ENV.fetch("X")` with or
without a default, and literals, chained by `||`. Any other expression leaves a
mark, from which the reader of the value knows its line.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sqlitekeeper.config.quoting import readable
from sqlitekeeper.errors import ConfigError

# U+E000 and U+E001 are for private use: no configuration has them.
_MARK = re.compile("\ue000([0-9]+)\ue001")

_TEXT = r"""(?:"[^"\\#]*"|'[^'\\]*')"""
_LITERAL = rf"(?:{_TEXT}|-?[0-9]{{1,18}}(?:\.[0-9]{{1,18}})?|true|false|nil)"
_TERM = re.compile(
    rf"""\s*(?:
        ENV\[\s*(?P<variable>{_TEXT})\s*\]
      | ENV\.fetch\(\s*(?P<fetched>{_TEXT})\s*
            (?:,\s*(?P<argument>{_LITERAL})\s*\)|\)(?:\s*\{{\s*(?P<block>{_LITERAL})\s*\}})?)
      | (?P<literal>{_LITERAL})
    )\s*""",
    re.VERBOSE,
)


class _NotUnderstoodError(Exception):
    """An expression that is not among those that are understood."""


@dataclass(frozen=True, slots=True)
class Expanded:
    """A template with its expressions filled in; `foreign` has those that were not, by line."""

    text: str
    foreign: Mapping[int, str]

    def foreign_in(self, value: object) -> tuple[int, str] | None:
        """The line and the words of an expression that this value would have needed."""
        mark = _MARK.search(value) if isinstance(value, str) else None
        if mark is None:
            return None
        line = int(mark[1])
        return line, self.foreign.get(line, "")


def expand(template: str, environ: Mapping[str, str], name: str) -> Expanded:
    """Fill in a template called `name` (for messages), without executing any of it.

    Raises:
        ConfigError: a tag that has no end, or a statement (`<% if ... %>`): what it
            does to the file cannot be told.
    """
    out: list[str] = []
    foreign: dict[int, str] = {}
    template = _MARK.sub("", template)
    position = 0
    while (start := template.find("<%", position)) >= 0:
        out.append(template[position:start])
        line = template.count("\n", 0, start) + 1
        if template.startswith("<%%", start):
            out.append("<%")
            position = start + 3
            continue
        end = template.find("%>", start + 2)
        if end < 0:
            raise ConfigError(f"{name}: line {line}: <% without its %>")
        code = template[start + 2 : end].removesuffix("-")
        position = end + 2
        if code.startswith("="):
            filled = _filled(code[1:], environ)
            if filled is None:
                foreign.setdefault(line, _shortened(template[start:position]))
                filled = f"\ue000{line}\ue001"
            out.append(filled)
        elif not code.lstrip("-").strip() or code.startswith("#"):
            # The lines after a comment keep their numbers.
            out.append("\n" * code.count("\n"))
        else:
            tag = _shortened(template[start:position])
            raise ConfigError(
                f"{name}: line {line}: {tag} is Ruby, which keeper does not execute",
                hint="`keeper config init DIR` finds the databases without it",
            )
    out.append(template[position:])
    return Expanded("".join(out), foreign)


def _filled(code: str, environ: Mapping[str, str]) -> str | None:
    """What an expression puts into the text; None when that takes a Ruby."""
    try:
        return _value(code, environ) or ""
    except _NotUnderstoodError:
        return None


def _value(code: str, environ: Mapping[str, str]) -> str | None:
    """The value of terms that are chained by `||`: the first that is neither nil nor false."""
    terms: list[re.Match[str]] = []
    position = 0
    while True:
        match = _TERM.match(code, position)
        if match is None:
            raise _NotUnderstoodError
        terms.append(match)
        position = match.end()
        if position == len(code):
            break
        if not code.startswith("||", position):
            raise _NotUnderstoodError
        position += 2
    value = None
    for term in terms:
        value = _term(term, environ)
        if value is not None and value != "false":
            return value
    return value


def _term(match: re.Match[str], environ: Mapping[str, str]) -> str | None:
    if match["literal"]:
        return _literal(match["literal"])
    if match["variable"]:
        return environ.get(match["variable"][1:-1])
    name = match["fetched"][1:-1]
    if name in environ:
        return environ[name]
    default = match["argument"] or match["block"]
    if default is None:
        # Ruby raises here: without the variable there is no value.
        raise _NotUnderstoodError
    return _literal(default)


def _literal(text: str) -> str | None:
    if text[0] in "\"'":
        return text[1:-1]
    return None if text == "nil" else text


def _shortened(tag: str) -> str:
    words = readable(" ".join(tag.split()))
    return words if len(words) <= 80 else f"{words[:77]}..."
