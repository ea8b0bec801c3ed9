"""Durations as people write them: 90s, 26h, 7d, 2w, 1h30m."""

import re

_UNIT_SECONDS = {"w": 7 * 86400, "d": 86400, "h": 3600, "m": 60, "s": 1}
_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>{_NUMBER}){unit})?" for unit in _UNIT_SECONDS))
_LONGEST_SECONDS = 100 * 366 * 86400


def parse_duration(text: str) -> float:
    """Read a duration such as `26h` or `1h30m` and return its seconds.

    Raises:
        ValueError: it is none, not longer than nothing, or longer than a century.
    """
    found = _DURATION.fullmatch(text.strip())
    parts = {unit: number for unit, number in found.groupdict().items() if number} if found else {}
    if not parts:
        raise ValueError(
            f"{text!r} is not a duration; write a number and a unit (w, d, h, m or s),"
            " such as 26h, 7d or 1h30m"
        )
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for unit, number in parts.items())
    if not 0 < seconds <= _LONGEST_SECONDS:
        raise ValueError(f"{text!r} must be more than 0s and at most a century")
    return seconds
