"""The pieces of a manifest, which anyone may have written."""

import resource
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sqlitekeeper.store.base import BaseFile
from sqlitekeeper.store.delta import Delta
from sqlitekeeper.store.library import StoreError
from sqlitekeeper.store.pieces import Piece, Stretch, parse_pieces
from sqlitekeeper.store.restore import restore_delta
from tests.store.snapshots import fill, make_snapshot, run, stored_delta

MORE_MEMORY_KIB = 120 * 1024


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Delta]:
    """A delta of two pieces, and its base."""
    folder = tmp_path_factory.mktemp("stored")
    live = folder / "live.sqlite3"
    fill(live, 5000)
    before = make_snapshot(live, folder / "before.sqlite3")
    run(live, "UPDATE posts SET body = randomblob(900) WHERE id % 20 = 0")
    return stored_delta(before, make_snapshot(live, folder / "after.sqlite3"), folder)


def test_pieces_are_read_as_they_were_written() -> None:
    """From the manifest."""
    pieces = (Piece(4096, 20, (Stretch(0, 8192), Stretch(9000, 1))), Piece(1, 1, ()))
    assert parse_pieces([one.to_json() for one in pieces], 4097, 21) == pieces


WRONG = {
    "no list": {},
    "no object": [7],
    "too large": [{"bytes": 2**40, "stored_bytes": 5, "stretches": []}],
    "negative": [{"bytes": -1, "stored_bytes": 5, "stretches": []}],
    "a boolean": [{"bytes": True, "stored_bytes": 5, "stretches": []}],
    "a fraction": [{"bytes": 5.0, "stored_bytes": 5, "stretches": []}],
    "stored too large": [{"bytes": 5, "stored_bytes": 2**30, "stretches": []}],
    "no stretches": [{"bytes": 5, "stored_bytes": 5}],
    "many stretches": [{"bytes": 5, "stored_bytes": 5, "stretches": [[0, 1]] * 9}],
    "long stretches": [{"bytes": 5, "stored_bytes": 5, "stretches": [[0, 2**23]] * 3}],
    "a long stretch": [{"bytes": 5, "stored_bytes": 5, "stretches": [[0, 2**60]]}],
    "a negative offset": [{"bytes": 5, "stored_bytes": 5, "stretches": [[-5, 6]]}],
    "three numbers": [{"bytes": 5, "stored_bytes": 5, "stretches": [[1, 2, 3]]}],
    "another size": [{"bytes": 6, "stored_bytes": 5, "stretches": []}],
    "another stored size": [{"bytes": 5, "stored_bytes": 6, "stretches": []}],
}


@pytest.mark.parametrize("pieces", WRONG.values(), ids=WRONG)
def test_wrong_pieces_are_refused(pieces: object) -> None:
    """In one clear line."""
    with pytest.raises(StoreError, match=r"^pieces.*: "):
        parse_pieces(pieces, 5, 5)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["bytes", "stored_bytes", "stretches"]), inner)
    ),
    max_leaves=20,
)


@given(value=JSON)
def test_any_json_is_read_or_refused(value: object) -> None:
    """Nothing else happens."""
    with suppress(StoreError):
        assert isinstance(parse_pieces(value, 5, 5), tuple)


NUMBERS = st.integers(-(2**64), 2**64) | st.integers(-5, 5) | st.integers(0, 2**23)


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    changes=st.lists(
        st.tuples(
            st.integers(0, 1),
            st.sampled_from(["bytes", "stored_bytes", "offset", "length"]),
            NUMBERS,
            st.booleans(),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_forged_pieces_restore_nothing_else(
    changes: list[tuple[int, str, int, bool]],
    stored: tuple[Path, Path, Delta],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A clear refusal, or the very snapshot, within the memory that pieces may take."""
    base, delta, made = stored
    pieces: list[dict[str, Any]] = [piece.to_json() for piece in made.pieces]
    for index, field, number, is_added in changes:
        piece = pieces[index]
        holder: Any = piece
        key: Any = field
        if field in ("offset", "length"):
            holder, key = piece["stretches"][0], ("offset", "length").index(field)
        holder[key] = holder[key] + number if is_added else number
    size = sum(piece["bytes"] for piece in pieces)
    stored_size = sum(piece["stored_bytes"] for piece in pieces)
    target = tmp_path_factory.mktemp("forged") / "restored"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with BaseFile(base) as opened:
        try:
            parsed = parse_pieces(pieces, size, stored_size)
            restored = restore_delta(delta, opened, parsed, target)
        except StoreError:
            assert not target.exists()
        else:
            assert restored.sha256 == made.sha256
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < MORE_MEMORY_KIB
