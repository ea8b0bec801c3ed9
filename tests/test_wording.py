"""Numbers as people read them."""

import pytest

from sqlitekeeper.wording import span

HOUR, DAY = 3600, 86400


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 minutes"),
        (59 * 60, "59 minutes"),
        (HOUR, "1.0 hours"),
        (25.5 * HOUR, "25.5 hours"),
        (47 * HOUR, "47.0 hours"),
        (2 * DAY, "2.0 days"),
        (16 * DAY, "16.0 days"),
        (45 * DAY, "45.0 days"),
        (400 * DAY, "400.0 days"),
        (-2 * HOUR, "-2.0 hours"),
    ],
)
def test_age_is_exact_enough_to_choose_a_backup_by(seconds: float, words: str) -> None:
    """Hours up to two days, days from then on: no two weeks are called a month."""
    assert span(seconds) == words
