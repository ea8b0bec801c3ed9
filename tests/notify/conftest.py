"""A server for pings."""

from collections.abc import Iterator

import pytest

from tests.listening import Listening, listening


@pytest.fixture
def server() -> Iterator[Listening]:
    """Where pings arrive."""
    with listening() as found:
        yield found
