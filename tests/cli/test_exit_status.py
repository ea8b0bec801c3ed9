"""One exit status out of many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlitekeeper.cli.exit_status import combined


@pytest.mark.parametrize(
    ("codes", "status"),
    [
        ([], 0),
        ([0, 0], 0),
        ([1], 1),
        ([1, 1], 1),
        ([0, 1], 3),
        ([2], 2),
        ([1, 2], 1),
        ([11], 11),
        ([0, 11], 3),
        ([12], 12),
        ([0, 12], 12),
        ([1, 12, 11], 12),
    ],
)
def test_statuses_combine(codes: list[int], status: int) -> None:
    """12 over 3, 3 over 1; what all have in common is kept."""
    assert combined(codes) == status


@given(st.lists(st.sampled_from([0, 1, 2, 11, 12])))
def test_failure_never_hides(codes: list[int]) -> None:
    """The status is 0 exactly when every database's is."""
    assert (combined(codes) == 0) == (not any(codes))
