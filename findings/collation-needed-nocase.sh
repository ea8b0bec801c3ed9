#!/usr/bin/env bash
# A tool that opens databases of other programs answers SQLite's collation-needed hook with a stand-in for
# each collation that it does not know. The documentation speaks of "unknown" collations, so one would
# expect the hook never to hear of NOCASE. In a UTF-16 database it does: SQLite has its own NOCASE for UTF-8
# only, and asks for a UTF-16 one before it makes do with that. A stand-in that answers for every name has
# replaced NOCASE then: lookups through an index find nothing, and rows that are written are out of order.
# In a UTF-8 database of the same content nobody asks.
# Seen with apsw 3.54.1.0 (SQLite 3.54.1).
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check apsw==3.54.1.0

timeout 60 "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import apsw

print(f"apsw {apsw.apsw_version()}, SQLite {apsw.sqlite_lib_version()}")


def asked_for(encoding):
    """The collations that the hook hears of, and whether a lookup then finds its row."""
    path = f"{sys.argv[1]}/{encoding}.db"
    made = apsw.Connection(path)
    made.execute(f"PRAGMA encoding = '{encoding}'")
    made.execute("CREATE TABLE users (name TEXT COLLATE NOCASE UNIQUE)")
    made.execute("INSERT INTO users VALUES ('Ada'), ('bob'), ('Carol')")
    made.close()
    names = []

    def stand_in(connection, name):
        names.append(name)
        connection.create_collation(name, lambda one, other: (one > other) - (one < other))

    reader = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    reader.collation_needed(stand_in)
    found = reader.execute("SELECT count(*) FROM users WHERE name = 'BOB'").get
    print(f"{encoding}: the hook is asked for {names or 'nothing'}, name = 'BOB' finds {found} row(s)")
    return names, found


if (asked_for("UTF-8"), asked_for("UTF-16le")) != (([], 1), (["NOCASE"], 0)):
    sys.exit("not as the head says: who is asked for NOCASE, and what is found")
PYTHON
