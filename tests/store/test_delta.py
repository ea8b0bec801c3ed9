"""Deltas: what changed since another snapshot."""

import random
from contextlib import suppress
from pathlib import Path

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sqlitekeeper.store.base import BaseFile
from sqlitekeeper.store.delta import make_delta, stretches_of
from sqlitekeeper.store.frames import compress
from sqlitekeeper.store.landmarks import Hit, Landmarks, cells, landmark
from sqlitekeeper.store.library import StoreError
from sqlitekeeper.store.pieces import PIECE_BYTES, PREFIX_BYTES, parse_pieces
from sqlitekeeper.store.restore import restore_delta
from tests.store.snapshots import fill, make_snapshot, run, stored_delta

EDITS = {
    "nothing": "SELECT 1",
    "appends": "INSERT INTO posts (key, body) SELECT key || '+', randomblob(900) FROM posts"
    " WHERE id % 60 = 0",
    "updates": "UPDATE posts SET body = randomblob(700) WHERE id % 100 = 3",
    "deletes": "DELETE FROM posts WHERE id < 200; PRAGMA incremental_vacuum",
    "renames": "ALTER TABLE posts RENAME TO articles",
    "moves": "CREATE TABLE z AS SELECT * FROM posts; DROP TABLE posts;"
    " ALTER TABLE z RENAME TO posts",
    "drops": "DROP TABLE events",
    "adds": "CREATE TABLE aaa AS SELECT id, hex(randomblob(20)) FROM posts",
    "indexes": "CREATE INDEX events_by_at ON events (at, kind)",
    "columns": "ALTER TABLE posts ADD COLUMN note TEXT; UPDATE posts SET note = 'x'",
}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of 13 MB, for a copy of it to be written to."""
    path = tmp_path_factory.mktemp("live") / "live.sqlite3"
    fill(path, 12_000)
    return path


@pytest.fixture(scope="module")
def before(live: Path) -> Path:
    """Its snapshot."""
    return make_snapshot(live, live.with_name("before.sqlite3"))


def changed(live: Path, sql: str, folder: Path) -> Path:
    """A snapshot of the database after it was written to."""
    copy = folder / "copy.sqlite3"
    copy.write_bytes(live.read_bytes())
    run(copy, sql)
    return make_snapshot(copy, folder / "after.sqlite3")


@pytest.mark.parametrize("edit", EDITS)
def test_restores_what_was_edited(edit: str, live: Path, before: Path, tmp_path: Path) -> None:
    """Byte for byte, and it is much smaller than a whole one."""
    after = changed(live, EDITS[edit], tmp_path)
    base, delta, made = stored_delta(before, after, tmp_path)
    with BaseFile(base) as opened:
        restored = restore_delta(delta, opened, made.pieces, tmp_path / "again.sqlite3")
    assert (tmp_path / "again.sqlite3").read_bytes() == after.read_bytes()
    assert (restored.bytes, restored.sha256) == (made.bytes, made.sha256)
    assert made.stored_bytes == delta.stat().st_size < base.stat().st_size / 6


@pytest.mark.parametrize("sizes", [(512, 4096), (4096, 65536), (65536, 1024)])
def test_restores_another_page_size(sizes: tuple[int, int], tmp_path: Path) -> None:
    """The same rows are found all the same, what a smaller page broke up apart."""
    snapshots = []
    for size in sizes:
        live = tmp_path / f"live{size}"
        fill(live, 6000, page_size=size)
        snapshots.append(make_snapshot(live, tmp_path / f"{size}"))
    base, delta, made = stored_delta(snapshots[0], snapshots[1], tmp_path)
    with BaseFile(base) as opened:
        restore_delta(delta, opened, made.pieces, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == snapshots[1].read_bytes()
    assert delta.stat().st_size < base.stat().st_size * (0.9 if sizes[1] < sizes[0] else 0.5)


def test_restores_another_encoding(tmp_path: Path) -> None:
    """A database made anew in UTF-16."""
    snapshots = []
    for encoding in ("UTF-8", "UTF-16"):
        live = tmp_path / encoding
        run(live, f"PRAGMA encoding = '{encoding}'; CREATE TABLE early (x)")
        fill(live, 6000)
        snapshots.append(make_snapshot(live, tmp_path / f"{encoding}.sqlite3"))
    base, delta, made = stored_delta(snapshots[0], snapshots[1], tmp_path)
    with BaseFile(base) as opened:
        restore_delta(delta, opened, made.pieces, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == snapshots[1].read_bytes()


def test_no_delta_of_another_database(before: Path, tmp_path: Path) -> None:
    """A whole one would be no larger; nothing is left."""
    fill(tmp_path / "other", 12_000, seed=9)
    other = make_snapshot(tmp_path / "other", tmp_path / "other.sqlite3")
    compress(before, tmp_path / "base")
    with BaseFile(tmp_path / "base") as base:
        assert make_delta(other, base, tmp_path / "delta") is None
    assert not (tmp_path / "delta").exists()


def test_a_wrong_base_is_told(live: Path, before: Path, tmp_path: Path) -> None:
    """By the checksum of each piece; nothing is left."""
    after = changed(live, EDITS["updates"], tmp_path)
    _, delta, made = stored_delta(before, after, tmp_path)
    compress(after, tmp_path / "wrong.zst")
    with BaseFile(tmp_path / "wrong.zst") as base, pytest.raises(StoreError, match="damaged"):
        restore_delta(delta, base, made.pieces, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_what_follows_the_last_piece_is_refused(live: Path, before: Path, tmp_path: Path) -> None:
    """A delta is its pieces, and nothing else."""
    base, delta, made = stored_delta(before, changed(live, "SELECT 1", tmp_path), tmp_path)
    delta.write_bytes(delta.read_bytes() + b"more")
    with BaseFile(base) as opened, pytest.raises(StoreError, match="goes on behind"):
        restore_delta(delta, opened, made.pieces, tmp_path / "again")


def test_a_base_without_landmarks_serves(live: Path, before: Path, tmp_path: Path) -> None:
    """At worst the delta is larger."""
    after = changed(live, EDITS["updates"], tmp_path)
    base, _, _ = stored_delta(before, after, tmp_path)
    data = base.read_bytes()
    base.write_bytes(data.replace(b"KLM1", b"KLM0"))
    with BaseFile(base) as opened:
        assert opened.landmarks() is None
        made = make_delta(after, opened, tmp_path / "delta")
        assert made is not None
        restore_delta(tmp_path / "delta", opened, made.pieces, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == after.read_bytes()


STATEMENTS = st.sampled_from(
    [
        "INSERT INTO t SELECT NULL, hex(randomblob(:n % 90)), randomblob(:n * 7) FROM t LIMIT :n",
        "UPDATE t SET b = randomblob(:n) WHERE id % (:n + 1) = 0",
        "DELETE FROM t WHERE id % (:n + 2) = 1",
        "UPDATE t SET a = :n WHERE id > :n * 3",
        "INSERT INTO t VALUES (NULL, :n, zeroblob(:n * 5000))",
        "DELETE FROM t WHERE length(b) > :n * 20",
        "PRAGMA incremental_vacuum",
        "REINDEX",
    ]
)


@settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))
@given(
    page_size=st.sampled_from([512, 1024, 4096, 16384, 65536]),
    rows=st.integers(0, 3000),
    edits=st.lists(st.tuples(STATEMENTS, st.integers(0, 500)), max_size=6),
)
def test_whatever_was_edited_is_restored(
    page_size: int,
    rows: int,
    edits: list[tuple[str, int]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Byte for byte, for any edits and page size."""
    folder = tmp_path_factory.mktemp("edits")
    connection = apsw.Connection(str(folder / "live"))
    connection.execute(
        f"PRAGMA page_size = {page_size}; PRAGMA auto_vacuum = incremental;"
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b); CREATE INDEX i ON t (a, b)"
    ).fetchall()
    source = random.Random(rows)
    with connection:
        connection.executemany(
            "INSERT INTO t VALUES (NULL, ?, ?)",
            [(source.random(), source.randbytes(source.randrange(2000))) for _ in range(rows)],
        )
    before = make_snapshot(folder / "live", folder / "before")
    for sql, number in edits:
        connection.execute(sql, {"n": number}, can_cache=False).fetchall()
    connection.close()
    after = make_snapshot(folder / "live", folder / "after")
    compress(before, folder / "base")
    with BaseFile(folder / "base") as base:
        made = make_delta(after, base, folder / "delta")
        if made is None:
            return
        pieces = parse_pieces(
            [piece.to_json() for piece in made.pieces], made.bytes, made.stored_bytes
        )
        assert pieces == made.pieces
        restore_delta(folder / "delta", base, pieces, folder / "again")
    assert (folder / "again").read_bytes() == after.read_bytes()


HITS = st.lists(
    st.builds(Hit, st.integers(0, PIECE_BYTES), st.integers(0, 2**26)), min_size=1, max_size=50
)


@given(hits=HITS, base_size=st.integers(0, 2**26))
def test_stretches_lie_in_the_base(hits: list[Hit], base_size: int) -> None:
    """They do not overlap, and are no longer than a prefix may be."""
    hits.sort(key=lambda hit: hit.offset)
    stretches = stretches_of(hits, PIECE_BYTES, base_size)
    end = 0
    for one in stretches:
        assert one.length > 0
        assert end <= one.offset <= one.offset + one.length <= base_size
        end = one.offset + one.length
    assert sum(one.length for one in stretches) <= PREFIX_BYTES


@given(page=st.binary(min_size=512, max_size=512))
def test_any_page_has_landmarks_or_none(page: bytes) -> None:
    """Its pointers may lead anywhere."""
    for kind in (b"\x0a", b"\x0d", b""):
        one = (kind + page)[:512]
        assert len(landmark(one, 0, 512)) <= 64
        assert all(8 <= len(cell) <= 64 for cell in cells(one))


@given(data=st.binary(max_size=100))
def test_any_landmarks_are_read_or_refused(data: bytes) -> None:
    """Those that were written are read again."""
    for one in (data, b"KLM1" + data):
        with suppress(StoreError):
            assert Landmarks.decode(one).encode() == one
