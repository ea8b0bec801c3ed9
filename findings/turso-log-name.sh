#!/usr/bin/env bash
# Turso in MVCC mode keeps commits in a log beside the database. One would expect the log's name to
# hold the whole name of its database, as SQLite's -wal does. Turso puts .db-log in place of the
# ending: the log of app.sqlite3, app.db and app alike is app.db-log. So an ordinary app.db cannot be
# opened by Turso once app.sqlite3 beside it is in MVCC mode: "The database may be corrupted". It is
# sound; SQLite reads it. Whoever backs up, moves or restores such a file must work out the log's name
# and whose log it is. A second database of such a name in MVCC mode is refused in the same words.
# Seen with pyturso 0.8.3, apsw 3.54.1.0 (SQLite 3.54.1).
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pyturso==0.8.3 apsw==3.54.1.0

timeout 60 "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys
from importlib.metadata import version
from pathlib import Path

import apsw
import turso

print(f"pyturso {version('pyturso')}, SQLite {apsw.sqlite_lib_version()}")


def make(path, mode):
    connection = turso.connect(str(path))
    connection.execute(f"PRAGMA journal_mode = '{mode}'").fetchall()
    connection.execute("CREATE TABLE note (body)")
    connection.execute(f"INSERT INTO note VALUES ('in {mode} mode')")
    connection.commit()
    connection.close()


def read(path):
    connection = turso.connect(str(path))
    rows = connection.execute("SELECT body FROM note").fetchall()
    connection.close()
    return rows


logs = set()
for name in ("app.sqlite3", "app.db", "app"):
    (home := Path(sys.argv[1], f"home of {name}")).mkdir()
    make(home / name, "mvcc")
    found = sorted(file.name for file in home.iterdir())
    print(f"alone in its folder: {name:12} files: {', '.join(found)}")
    logs.update(file for file in found if file.endswith("-log"))

(both := Path(sys.argv[1], "both")).mkdir()
make(both / "app.db", "wal")
print("app.db, ordinary, alone:", read(both / "app.db"))
make(both / "app.sqlite3", "mvcc")
print("app.sqlite3, MVCC, made beside it:", read(both / "app.sqlite3"))


def said(action, *arguments):
    try:
        return f"works: {action(*arguments)}"
    except turso.DatabaseError as error:
        return str(error).replace(f"{both}/", "")


opening, making = said(read, both / "app.db"), said(make, both / "app", "mvcc")
print("app.db in Turso now:", opening)
print("a new database app, MVCC:", making)
connection = apsw.Connection(str(both / "app.db"))
rows = connection.execute("SELECT body FROM note").fetchall()
print("app.db in SQLite now:", rows, connection.pragma("integrity_check"))

refused = all("MVCC logical log file exists" in words for words in (opening, making))
if logs != {"app.db-log"} or not refused or rows != [("in wal mode",)]:
    sys.exit("not as the head says: each database has a log of its own, or app.db opens")
PYTHON
