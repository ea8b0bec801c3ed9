"""`python -m tests.applications`: the shortest of its cases, and that it notices what is lost."""

from collections.abc import Iterator

import pytest

from tests.applications.cycle import holds, whole_cycle
from tests.applications.diskcache import DiskCache
from tests.applications.host import FailedError, Host, is_installed, new_host


@pytest.fixture
def host() -> Iterator[Host]:
    """Where diskcache need not be downloaded."""
    if not is_installed(f"diskcache=={DiskCache.version}"):
        pytest.skip(f"needs diskcache {DiskCache.version}: pip install -e '.[dev]'")
    with new_host() as host:
        yield host


def test_whole_cycle_beside_diskcache(host: Host) -> None:
    """All that was acknowledged is there, says diskcache itself."""
    row = whole_cycle(host, DiskCache(host))

    assert row.passed
    assert "no write failed" in row.result


@pytest.mark.parametrize("lost", [1, 3, 6])
def test_a_note_that_is_lost_is_noticed(host: Host, lost: int) -> None:
    """The first, one between others, the last."""
    cache = DiskCache(host)
    cache.open(host.folder)
    for number in range(1, 7):
        cache.write(number)
    assert holds(cache, 1, 6, 6) == 6

    cache.forget([lost])

    with pytest.raises(FailedError, match="has 5 notes"):
        holds(cache, 1, 6, 6)
