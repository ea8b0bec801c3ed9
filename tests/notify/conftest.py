"""A server for pings."""

from collections.abc import Iterator

import pytest

from tests.listening import Listening, listening


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine needs for the world, these tests stay on it."""
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server() -> Iterator[Listening]:
    """Where pings arrive."""
    with listening() as found:
        yield found
