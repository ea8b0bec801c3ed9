#!/usr/bin/env bash
# PRAGMA integrity_check(N) gives at most N lines, 100 without one; PRAGMA integrity_check(TABLE) looks at
# one table. Who divides the check of a large database by table has no way to say both: it stops after 100
# lines, so a hundred harmless ones (a NULL in a NOT NULL column, say) hide what comes after them in that
# table. A quoted number is a table's name. The whole file can be asked with a limit that is large enough.
# Seen with apsw 3.54.1.0 (SQLite 3.54.1).
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check apsw==3.54.1.0

timeout 60 "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import apsw

print(f"SQLite {apsw.sqlite_lib_version()}")
path = f"{sys.argv[1]}/app.db"
made = apsw.Connection(path)
made.execute("CREATE TABLE t (x)")
made.execute("WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150) INSERT INTO t SELECT NULL FROM n")
made.execute("PRAGMA writable_schema = 1")
made.execute("UPDATE sqlite_schema SET sql = 'CREATE TABLE t (x NOT NULL)' WHERE name = 't'")
made.close()
reader = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)


def lines(argument):
    try:
        return len(reader.execute(f"PRAGMA integrity_check{argument}").fetchall())
    except apsw.Error as error:
        return str(error)


found = {one: lines(one) for one in ("", "(1000)", "('t')", "(t)")}
print("lines of 150:", ", ".join(f"integrity_check{one}: {count}" for one, count in found.items()))
if found != {"": 100, "(1000)": 150, "('t')": 100, "(t)": 100}:
    sys.exit("not as the head says: after how many lines a check stops")
PYTHON
