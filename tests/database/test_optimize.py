"""Statistics for the query planner, without holding anyone up."""

import apsw

from sqlitekeeper.database.optimize import GIVEN_UP, optimize
from tests.conftest import MakeDatabase


def test_what_takes_too_long_is_rolled_back(make_database: MakeDatabase) -> None:
    """Nothing of it is left, and no lock."""
    connection = apsw.Connection(str(make_database(rows=3000)))
    connection.execute("CREATE INDEX bodies ON t (body)").fetchall()

    reason, longest = optimize(connection, 0.0)

    assert reason == GIVEN_UP
    assert longest < 1
    assert not connection.in_transaction
    assert (
        connection.execute("SELECT count(*) FROM sqlite_schema WHERE name LIKE '%stat1'").get == 0
    )


def test_what_is_in_time_is_done(make_database: MakeDatabase) -> None:
    """The planner knows the index."""
    connection = apsw.Connection(str(make_database(rows=3000)))
    connection.execute("CREATE INDEX bodies ON t (body)").fetchall()

    reason, _ = optimize(connection, 10.0)

    assert reason is None
    assert connection.execute("SELECT idx FROM sqlite_stat1").get == "bodies"
