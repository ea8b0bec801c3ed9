"""Values as SQL text that any SQLite reads back as they were, to the last bit."""

import math
from fractions import Fraction

from sqlitekeeper.diff.compare import RawText, Value

# In the middle of a text; no shell takes a line of it for a command.
_PLAIN = "\n\t"
# Each piece nests the expression one deeper.
_MOST_PIECES = 100
# SQLite before 3.47 reads decimals with 64 bits, and rounds what it has to 53.
_MARGIN = Fraction(1, 2**58)
_INTEGER_BITS = 53


def literal(value: Value, codec: str = "utf-8") -> str:
    """A value as SQL text; `codec` is the database's own encoding."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if isinstance(value, RawText):
        return f"CAST(X'{value.content.hex()}' AS TEXT)"
    if isinstance(value, str):
        return _text(value, codec)
    return _real(value) if isinstance(value, float) else str(value)


def _text(value: str, codec: str) -> str:
    """Text between quotes; what no eye sees, and NUL, is written as char(...)."""
    if all(c.isprintable() or c in _PLAIN for c in value):
        return _quoted(value)
    pieces: list[str] = []
    shown, hidden = "", ""
    for c in value:
        if c.isprintable() or c in _PLAIN:
            if hidden:
                pieces.append(_chars(hidden))
                hidden = ""
            shown += c
        else:
            if shown:
                pieces.append(_quoted(shown))
                shown = ""
            hidden += c
    pieces.append(_quoted(shown) if shown else _chars(hidden))
    if len(pieces) > _MOST_PIECES:
        return f"CAST(X'{value.encode(codec).hex()}' AS TEXT)"
    joined = " || ".join(pieces)
    return f"({joined})" if len(pieces) > 1 else joined


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _chars(text: str) -> str:
    """SQLite's functions take 100 arguments at the least, since any version."""
    parts = [text[i : i + 100] for i in range(0, len(text), 100)]
    return " || ".join(f"char({', '.join(str(ord(c)) for c in part)})" for part in parts)


def _real(value: float) -> str:
    """The shortest decimal; where an SQLite might round it to a neighbour, a quotient.

    Whole numbers below 2**53 and powers of two are read exactly by all, and dividing by a
    power of two rounds nothing.
    """
    if math.isinf(value):
        return "9e999" if value > 0 else "-9e999"
    text = repr(value)
    if "." not in text and "e" in text:
        text = text.replace("e", ".0e")
    if value == 0 or (1e-15 < abs(value) < 1e22 and _is_safe(value)):
        return text
    numerator, denominator = abs(value).as_integer_ratio()
    # Both are a whole number of 53 bits at the most, and a power of two.
    shift = max(numerator.bit_length() - _INTEGER_BITS, 0)
    factors = [f"{numerator >> shift}.0", *_powers("*", shift)]
    factors += _powers("/", denominator.bit_length() - 1)
    sign = "-" if value < 0 else ""
    return f"({sign}{' '.join(factors)})"


def _powers(operator: str, exponent: int) -> list[str]:
    """`* 2**exponent` in steps that every SQLite reads exactly."""
    steps = [_INTEGER_BITS - 1] * (exponent // (_INTEGER_BITS - 1))
    steps += [exponent % (_INTEGER_BITS - 1)] if exponent % (_INTEGER_BITS - 1) else []
    return [f"{operator} {2**step}.0" for step in steps]


def _is_safe(value: float) -> bool:
    """Whether the shortest decimal is far enough from what rounds to another number."""
    exact, decimal = Fraction(value), Fraction(repr(value))
    # Below a power of two the neighbours are twice as close.
    to_middle = Fraction(math.ulp(value)) / (4 if abs(math.frexp(value)[0]) == 0.5 else 2)
    room = to_middle - abs(decimal - exact)
    return room > abs(exact) * _MARGIN
