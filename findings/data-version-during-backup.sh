#!/usr/bin/env bash
# PRAGMA data_version tells whether another connection has committed, and reads no row. One would expect
# to be able to ask it at any time, above all while a backup into the database keeps writers out, to see
# whether somebody wrote just before. In WAL mode it answers. In rollback-journal mode the backup's lock
# is an exclusive one, and the pragma fails with "database is locked", while for an ordinary write
# transaction it answers. A restore that looks for late commits under the lock needs another way there:
# the change counter at offset 24 of the file, through Connection.read, which asks for no lock.
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


def ask(connection):
    try:
        return f"answers {connection.pragma('data_version')}"
    except apsw.BusyError as error:
        return f"fails: {error}"


found = []
for mode in ("delete", "wal"):
    source = apsw.Connection(f"{sys.argv[1]}/source-{mode}.db")
    source.execute("CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(20000))")
    target = apsw.Connection(f"{sys.argv[1]}/target-{mode}.db")
    target.pragma("journal_mode", mode)
    target.execute("CREATE TABLE t (x); INSERT INTO t VALUES (1)")
    other = apsw.Connection(f"{sys.argv[1]}/target-{mode}.db")
    print(f"journal_mode {mode}, nothing going on: {ask(other)}")

    target.execute("BEGIN IMMEDIATE; INSERT INTO t VALUES (2)")
    beside_writer = ask(other)
    target.execute("ROLLBACK")
    print(f"journal_mode {mode}, a write transaction is open: {beside_writer}")

    backup = target.backup("main", source, "main")
    backup.step(1)
    beside_backup = ask(other)
    _, counter = other.read("main", 0, 24, 4)
    backup.finish()
    print(f"journal_mode {mode}, a backup into it holds its lock: {beside_backup}")
    print(f"  (change counter in the file: {int.from_bytes(counter)})")
    found.append([beside_writer.split()[0], beside_backup.split()[0]])

if found != [["answers", "fails:"], ["answers", "answers"]]:
    sys.exit("not as the head says: data_version is not busy in rollback mode only")
PYTHON
