#!/usr/bin/env bash
# A plain SQLite connection without the key can read nothing of an encrypted SQLCipher database: "file
# is not a database". One would expect that such a failed look changes nothing. When the connection is
# closed, as the last one, it still copies the WAL's pages into the file and removes the WAL: page
# numbers and checksums of a WAL are not encrypted. Nothing is lost, but a tool that only looks has
# written to the file, and a copy of file and WAL taken at that moment does not fit together. A read-only
# connection, or one with SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, leaves the WAL where it is.
# Seen with sqlcipher3-binary 0.6.0 (SQLCipher 4.12.0), apsw 3.54.1.0 (SQLite 3.54.1).
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check sqlcipher3-binary==0.6.0 apsw==3.54.1.0

cat > "$folder/application.py" <<'PYTHON'
"""Commits a row, and ends without closing, as a killed application does; or counts the rows."""

import os
import sys

import sqlcipher3

connection = sqlcipher3.connect(sys.argv[1])
connection.execute("PRAGMA key = 'a secret'")
if sys.argv[2] == "count":
    print(connection.execute("SELECT count(*) FROM note").fetchone()[0])
else:
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("CREATE TABLE note (body)")
    connection.execute("INSERT INTO note VALUES ('confidential')")
    connection.commit()
    os._exit(0)
PYTHON

timeout 60 "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import os
import subprocess
import sys

import apsw
import sqlcipher3

cipher = sqlcipher3.connect(":memory:").execute("PRAGMA cipher_version").fetchone()[0]
print(f"SQLCipher {cipher}, SQLite {apsw.sqlite_lib_version()}")


def application(path, task):
    command = [sys.executable, f"{sys.argv[1]}/application.py", path, task]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def sizes(path):
    files = (path, f"{path}-wal")
    return [os.path.getsize(file) if os.path.exists(file) else None for file in files]


def look(name, flags, keep_wal=False):
    """Look without a key, and say whether file and WAL are as before."""
    path = f"{sys.argv[1]}/{name}.db"
    application(path, "write")
    before = sizes(path)
    connection = apsw.Connection(path, flags=flags)
    if keep_wal:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    try:
        connection.execute("SELECT * FROM sqlite_schema").fetchall()
        said = "it could be read"
    except apsw.NotADBError as error:
        said = str(error)
    connection.close()
    after = sizes(path)
    print(f"{name}: {said!r}; [file, WAL] {before}, after close {after};", end=" ")
    print(f"rows for the application: {application(path, 'count')}")
    return after == before, after[1]


READ_WRITE = apsw.SQLITE_OPEN_READWRITE
found = [
    look("plain", READ_WRITE),
    look("readonly", apsw.SQLITE_OPEN_READONLY),
    look("no-checkpoint", READ_WRITE, keep_wal=True),
]
if found[0] != (False, None) or not found[1][0] or not found[2][0]:
    sys.exit("not as the head says: who closes or keeps the WAL is another")
PYTHON
