"""Statements of `keeper diff --sql`, run by real shells."""

import os
import shutil
import struct
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sqlitekeeper.database.snapshot.snapshot import take_snapshot
from sqlitekeeper.diff.literals import literal
from tests.diff.databases import SHELLS, apply, comparison, make, opened, script_of
from tests.faults.strange import SOUND, make_strange

TABLES = {
    "rowid": ("CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)", "id, a, b"),
    "keyless": ("CREATE TABLE t (a, b TEXT COLLATE NOCASE, c NUMERIC)", "a, b, c"),
    "nullable key": ("CREATE TABLE t (a TEXT PRIMARY KEY, b, c)", "a, b, c"),
    "NOCASE key": (
        "CREATE TABLE t (a TEXT COLLATE NOCASE, b, c, PRIMARY KEY (a, b))",
        "a, b, c",
    ),
    "WITHOUT ROWID": ("CREATE TABLE t (a, b, c, PRIMARY KEY (b, a)) WITHOUT ROWID", "a, b, c"),
    "UNIQUE": ("CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE, b, UNIQUE (b))", "id, a, b"),
    "partly UNIQUE": (
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b); CREATE UNIQUE INDEX u ON t (a) WHERE b > 0",
        "id, a, b",
    ),
    "STRICT": ("CREATE TABLE t (a INTEGER PRIMARY KEY, b REAL, c ANY) STRICT", "a, b, c"),
    "generated": (
        "CREATE TABLE t (a, b, c, d AS (a || b), e AS (b) STORED, PRIMARY KEY (a))",
        "a, b, c",
    ),
    "odd names": (
        'CREATE TABLE t ("ro""w", [o id] PRIMARY KEY, "rowid")',
        '"ro""w", [o id], rowid',
    ),
    "fts5": ("CREATE VIRTUAL TABLE t USING fts5 (a, b UNINDEXED)", "rowid, a, b"),
    "fts4": ("CREATE VIRTUAL TABLE t USING fts4 (a, b)", "rowid, a, b"),
    "rtree": ("CREATE VIRTUAL TABLE t USING rtree (id, a, b, +c)", "id, a, b"),
}
WRITTEN = st.text("aAbB'\";-\n\r\t\0\x1a\x85\u2028\u00df\U0001f600", max_size=8) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=40
)
# Few values, so that keys meet; and any at all.
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.integers(-3, 3),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([1.0, 0.1, -2.5, 2.0**53, 1e22, 5e-324, 1.7976931348623157e308]),
    st.floats(allow_nan=False),
    st.sampled_from(["a", "A", "1", "", "-- x\n.quit\n;"]),
    WRITTEN,
    st.binary(max_size=8),
)
EXAMPLES = int(os.environ.get("KEEPER_TEST_DIFF", "5"))
ROWS = st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=8)


@pytest.mark.parametrize("kind", TABLES)
@given(
    shell=st.sampled_from(sorted(SHELLS)),
    before=ROWS,
    here=ROWS,
    there=ROWS,
    encoding=st.sampled_from(["UTF-8", "UTF-16le"]),
)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_statements_leave_no_difference(
    kind: str,
    shell: str,
    before: list[Any],
    here: list[Any],
    there: list[Any],
    encoding: str,
) -> None:
    """Whatever the values, and whatever the table's triggers would do."""
    create, columns = TABLES[kind]
    sql = f"INSERT INTO t ({columns}) VALUES (?, ?, ?)"
    with tempfile.TemporaryDirectory() as folder:
        schema = [f"PRAGMA encoding = '{encoding}'", *create.split("; "), "CREATE TABLE log (x)"]
        if "VIRTUAL" not in create:
            schema += ["CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO log VALUES (1); END"]
        both = [(sql, row) for row in before]
        ours = make(Path(folder, "here"), *schema, rows=[*both, *((sql, row) for row in here)])
        theirs = make(Path(folder, "there"), *schema, rows=[*both, *((sql, row) for row in there)])

        done = apply(shell, ours, script := script_of(ours, theirs))

        assert (done.returncode, done.stderr) == (0, ""), script
        with comparison(ours, theirs) as found:
            assert found.same, script


@pytest.mark.parametrize("shell", SHELLS)
@given(st.lists(st.floats(allow_nan=False), min_size=50, max_size=50))
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
def test_reals_are_read_to_the_last_bit(shell: str, values: list[float]) -> None:
    """By every SQLite: the older read decimals with less care than Python writes them."""
    script = "CREATE TABLE r (x);\n"
    script += "".join(f"INSERT INTO r VALUES ({literal(value)});\n" for value in values)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "reals")
        assert apply(shell, file, script).stderr == ""
        with opened(file) as connection:
            found = [x for (x,) in connection.execute("SELECT x FROM r ORDER BY rowid")]
    assert [struct.pack(">d", x) for x in found if x] == [struct.pack(">d", x) for x in values if x]


@pytest.mark.parametrize("shell", SHELLS)
def test_text_that_is_none_is_written_as_bytes(shell: str, tmp_path: Path) -> None:
    """SQLite takes any bytes for text."""
    create = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)"
    here = make(tmp_path / "here", create)
    there = make(tmp_path / "there", create, "INSERT INTO t VALUES (1, CAST(X'ff00fe' AS TEXT))")

    assert apply(shell, here, script_of(here, there)).stderr == ""

    with opened(here) as connection:
        found = connection.execute("SELECT CAST(a AS BLOB), typeof(a) FROM t").get
    assert found == (b"\xff\0\xfe", "text")


@pytest.mark.parametrize("shell", SHELLS)
def test_script_that_fails_leaves_everything_as_it_was(shell: str, tmp_path: Path) -> None:
    """The shell would go on, and commit what it has."""
    create = "CREATE TABLE t (id INTEGER PRIMARY KEY, a)"
    here = make(tmp_path / "here", create, "INSERT INTO t VALUES (1, 'gone')")
    there = make(tmp_path / "there", create, "INSERT INTO t VALUES (2, 'a'), (3, 'b')")
    script = script_of(here, there)
    # The application went on meanwhile.
    make(here, "INSERT INTO t VALUES (3, 'new')")

    assert apply(shell, here, script).returncode != 0

    with opened(here) as connection:
        assert connection.execute("SELECT * FROM t").fetchall() == [(1, "gone"), (3, "new")]


def test_lost_table_comes_back_with_its_indexes(tmp_path: Path) -> None:
    """A migration has dropped it."""
    here = make(tmp_path / "here", "CREATE TABLE other (x)")
    there = make(
        tmp_path / "there",
        "CREATE TABLE other (x)",
        "CREATE TABLE posts (id INTEGER PRIMARY KEY, title)",
        "CREATE INDEX by_title ON posts (title)",
        "INSERT INTO posts VALUES (1, 'a')",
        "CREATE VIRTUAL TABLE search USING fts5 (words)",
        "INSERT INTO search VALUES ('some words')",
    )

    assert apply("apsw", here, script_of(here, there)).stderr == ""

    with comparison(here, there) as found:
        assert found.same


def test_index_of_another_tables_content_is_rebuilt(tmp_path: Path) -> None:
    """Its triggers are dropped for the time being, so nothing else would tell it."""
    schema = (
        "CREATE TABLE posts (id INTEGER PRIMARY KEY, title)",
        "CREATE VIRTUAL TABLE search USING fts5 (title, content='posts', content_rowid='id')",
        """CREATE TRIGGER ai AFTER INSERT ON posts
        BEGIN INSERT INTO search (rowid, title) VALUES (new.id, new.title); END""",
    )
    here = make(tmp_path / "here", *schema, "INSERT INTO posts VALUES (1, 'one')")
    there = make(tmp_path / "there", *schema, "INSERT INTO posts VALUES (2, 'two')")

    assert apply("apsw", here, script_of(here, there)).stderr == ""

    with opened(here) as connection:
        connection.execute(
            "INSERT INTO search (search, rank) VALUES ('integrity-check', 1)"
        ).fetchall()
        assert connection.execute("SELECT rowid FROM search ('two')").get == 2
        assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'ai'").get == 1


def test_no_statement_writes_to_a_shadow_table(tmp_path: Path) -> None:
    """SQLite keeps them itself."""
    schema = (
        "CREATE VIRTUAL TABLE f5 USING fts5 (a)",
        "CREATE VIRTUAL TABLE f4 USING fts4 (a)",
        "CREATE VIRTUAL TABLE r USING rtree (id, x, y)",
    )
    rows = (
        "INSERT INTO f5 VALUES ('some'), ('words')",
        "INSERT INTO f4 VALUES ('some'), ('words')",
        "INSERT INTO r VALUES (1, 2, 3)",
    )
    here, there = make(tmp_path / "here", *schema), make(tmp_path / "there", *schema, *rows)

    script = script_of(here, there)

    assert script.count("INSERT") == 5
    with opened(here) as connection:
        shadows = connection.execute("SELECT name FROM pragma_table_list WHERE type = 'shadow'")
        assert not [name for (name,) in shadows if f'"{name}"' in script]


def test_table_with_an_applications_collation_has_no_statements(tmp_path: Path) -> None:
    """No shell could run them; it is said, and the others have theirs."""
    for name, value in (("here", 1), ("there", 2)):
        with opened(tmp_path / name) as connection:
            connection.create_collation("german", lambda a, b: (a > b) - (a < b))
            for sql in (
                "CREATE TABLE t (a TEXT COLLATE german PRIMARY KEY, b) WITHOUT ROWID",
                "CREATE TABLE u (a)",
                f"INSERT INTO t VALUES ('x', {value})",
                f"INSERT INTO u VALUES ({value})",
            ):
                connection.execute(sql).fetchall()

    script = script_of(tmp_path / "here", tmp_path / "there")

    assert "-- t: no statements: only the application has the collation german" in script
    assert script.count("INSERT INTO") == 1


def test_columns_that_only_one_has_are_left_alone(tmp_path: Path) -> None:
    """What both have is brought over, and the rest is said."""
    here = make(
        tmp_path / "here",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE, new DEFAULT 'kept')",
        "INSERT INTO t (id, a) VALUES (1, 'x'), (2, 'y')",
    )
    there = make(
        tmp_path / "there",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, old, a UNIQUE)",
        "INSERT INTO t (id, a) VALUES (1, 'z'), (3, 'w')",
    )

    script = script_of(here, there)

    assert "the column new is only in what these statements are for: it stays" in script
    assert "the column old is only in the other: it is not made" in script
    assert apply("apsw", here, script).stderr == ""
    with opened(here) as connection:
        found = connection.execute("SELECT * FROM t").fetchall()
    assert found == [(1, "z", "kept"), (3, "w", "kept")]


def test_hostile_names_stay_in_their_comment(tmp_path: Path) -> None:
    """A table's name may hold a line of SQL."""
    name = '"x\n.shell echo hacked\n"'
    here = make(tmp_path / "here", f"CREATE TABLE {name} (a)")
    there = make(tmp_path / "there", f"CREATE TABLE {name} (a)", f"INSERT INTO {name} VALUES (1)")
    shutil.copy(here, tmp_path / "before")

    script = script_of(here, there)

    for shell in SHELLS:
        shutil.copy(tmp_path / "before", here)
        done = apply(shell, here, script)
        assert "hacked" not in done.stdout
        with opened(here) as connection:
            assert connection.execute(f"SELECT a FROM {name}").get == 1


def test_rows_may_swap_what_is_unique(tmp_path: Path) -> None:
    """Changed one after the other, the first would have what the second still has."""
    schema = (
        "CREATE TABLE t (id INTEGER PRIMARY KEY, rank UNIQUE, seat, taken)",
        "CREATE UNIQUE INDEX u ON t (seat) WHERE taken",
    )
    here = make(tmp_path / "here", *schema, "INSERT INTO t VALUES (1, 1, 5, 0), (2, 2, 5, 1)")
    there = make(tmp_path / "there", *schema, "INSERT INTO t VALUES (1, 2, 5, 1), (2, 1, 5, 0)")

    assert apply("apsw", here, script_of(here, there)).stderr == ""

    with comparison(here, there) as found:
        assert found.same


@pytest.mark.parametrize("kind", [kind for kind in SOUND if "unknown" in kind])
def test_what_only_the_application_has_stops_no_other_table(kind: str, tmp_path: Path) -> None:
    """A table that no shell can write to has no statements, and that is said."""
    strange = make_strange(tmp_path / "strange", kind)
    here, there = tmp_path / "here", tmp_path / "there"
    take_snapshot(strange, there)
    make(there, "CREATE TABLE plain (a)", "INSERT INTO plain VALUES (1)")
    make(here, "CREATE TABLE plain (a)")

    done = apply("apsw", here, script_of(here, there))

    assert (done.returncode, done.stderr) == (0, "")
    with opened(here) as connection:
        assert connection.execute("SELECT a FROM plain").get == 1
