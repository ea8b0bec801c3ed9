"""Durations as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlitekeeper.config import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("26h", 93600),
        ("7d", 604800),
        ("2w", 1209600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (" 26h ", 93600),
    ],
)
def test_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    """Every unit, and several of them in a row, count in seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "26",
        "h",
        "26x",
        "26 hours",
        "-1h",
        "1h-5m",
        "30m1h",
        "1h1h",
        "h26",
        "1e3s",
        "٣h",
        "nans",
    ],
)
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    """The message shows what was written and what it could look like."""
    with pytest.raises(ValueError, match=r"is not a duration; .* such as 26h") as caught:
        parse_duration(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["0s", "0w0d", "5000000w", "101000000h"])
def test_nothing_and_more_than_a_century_are_refused(text: str) -> None:
    """A duration is usable in a subtraction from now."""
    with pytest.raises(ValueError, match="must be more than 0s and at most a century"):
        parse_duration(text)


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.integers(1, 99))
def test_parts_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    """A duration is the sum of its parts."""
    total = days * 86400 + hours * 3600 + minutes * 60 + seconds
    assert parse_duration(f"{days}d{hours}h{minutes}m{seconds}s") == total
