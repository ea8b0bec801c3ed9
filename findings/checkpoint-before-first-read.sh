#!/usr/bin/env bash
# Connection.wal_checkpoint of apsw (sqlite3_wal_checkpoint_v2) is expected to do what PRAGMA
# wal_checkpoint does. On a connection that has read nothing yet it does nothing, raises nothing and
# returns (-1, -1), which is also its answer for a database that is not in WAL mode. The pragma on an
# equally new connection works, since it reads the schema first. A maintenance job that does so beside an
# application that keeps its database open can run for years while the WAL stays: read something first
# (`PRAGMA user_version` is enough), or use the pragma, and don't take (-1, -1) for "no WAL".
# Seen with apsw 3.54.1.0 (SQLite 3.54.1).
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check apsw==3.54.1.0

timeout 60 "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import os
import sys

import apsw

print(f"apsw {apsw.apsw_version()}, SQLite {apsw.sqlite_lib_version()}")
path = f"{sys.argv[1]}/app.db"
application = apsw.Connection(path)
application.pragma("journal_mode", "wal")
application.execute("CREATE TABLE note (body)")
TRUNCATE = apsw.SQLITE_CHECKPOINT_TRUNCATE


def by_method(connection):
    return connection.wal_checkpoint(mode=TRUNCATE)


def by_method_after_a_read(connection):
    connection.pragma("user_version")
    return connection.wal_checkpoint(mode=TRUNCATE)


def by_pragma(connection):
    return connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0]


emptied = {}
for way in (by_method, by_method_after_a_read, by_pragma):
    application.execute("INSERT INTO note VALUES ('one more')")
    before = os.path.getsize(f"{path}-wal")
    connection = apsw.Connection(path)
    said = way(connection)
    connection.close()
    after = os.path.getsize(f"{path}-wal")
    print(f"{way.__name__}: returns {said}, WAL {before} -> {after} bytes")
    emptied[way] = after == 0

if list(emptied.values()) != [False, True, True]:
    sys.exit("not as the head says: a checkpoint on a new connection does its work")
PYTHON
