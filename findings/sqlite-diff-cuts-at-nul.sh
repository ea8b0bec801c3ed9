#!/usr/bin/env bash
# SQLite's own sqldiff prints the statements that turn one database into another; apsw brings it as
# sqlite3_diff. One would expect the outcome to equal the target. For text with a NUL in it (char(0), which
# SQLite stores) the literal ends at the NUL, so the row comes out shorter, and asked again the tool
# prints the same statement as an UPDATE, for ever. And of a table without a primary key rows are matched by rowid: the same rows
# in another order are changes.
# Seen with apsw 3.54.1.0 (SQLite 3.54.1).
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check apsw==3.54.1.0

timeout 60 "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import subprocess
import sys

import apsw
import apsw.sqlite_extra

print(f"apsw {apsw.apsw_version()}, SQLite {apsw.sqlite_lib_version()}")
one, other = (f"{sys.argv[1]}/{name}.db" for name in ("one", "other"))
setup = "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT); CREATE TABLE log (line TEXT)"
for path, rows in ((one, "('b'), ('a')"), (other, "('a'), ('b')")):
    connection = apsw.Connection(path)
    for _ in connection.execute(f"{setup}; INSERT INTO log VALUES {rows}"):
        pass
    if path == other:
        connection.execute("INSERT INTO notes VALUES (1, 'x' || char(0) || 'y')")
    connection.close()


def diff(*options):
    tool = apsw.sqlite_extra.path("sqlite3_diff")
    return subprocess.run([tool, *options, one, other], capture_output=True, text=True).stdout


statements = diff()
print(statements.strip())
summary = diff("--summary")
connection = apsw.Connection(one)
for _ in connection.execute(statements):
    pass
length = connection.execute("SELECT length(CAST(body AS BLOB)) FROM notes").get
again = diff("--table", "notes")
print(f"again: {again.strip()}")
print(f"body has {length} byte(s) after the statements, 3 in the other database")
print(summary.strip())
if length != 1 or "UPDATE notes" not in again or "log: 2 changes" not in summary:
    sys.exit("not as the head says: what is left of text with a NUL, or how keyless rows are matched")
PYTHON
