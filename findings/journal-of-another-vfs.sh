#!/usr/bin/env bash
# An application may open its database through SQLite's own unix-dotfile or unix-none, as is done on
# disks without file locks. One would expect the journal of its open transaction to be left alone while
# it works. These two take no POSIX lock, so to an ordinary connection the journal looks like one that a
# crash has left: the first plain SELECT plays it back under the living transaction and deletes it. The
# application's commit then fails and its database is damaged. A tool that looks at such a file must see
# NAME.lock or an open journal first, and must not open it (read-only it may not play back).
# Seen with apsw 3.54.1.0 (SQLite 3.54.1).
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check apsw==3.54.1.0

cat > "$folder/application.py" <<'PYTHON'
"""Begins a transaction that is larger than its cache, waits for a line, and commits."""

import sys

import apsw

connection = apsw.Connection(sys.argv[1], vfs=sys.argv[2])
connection.execute("CREATE TABLE note (body); INSERT INTO note VALUES ('committed before')")
connection.pragma("cache_size", 5)
connection.execute("BEGIN IMMEDIATE")
connection.executemany("INSERT INTO note VALUES (?)", [("x" * 3000,)] * 100)
print("in the middle", flush=True)
sys.stdin.readline()
try:
    connection.execute("COMMIT")
    print("its commit went through")
except apsw.Error as error:
    print(f"its commit failed: {error}")
PYTHON

timeout 60 "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import os
import subprocess
import sys

import apsw

print(f"apsw {apsw.apsw_version()}, SQLite {apsw.sqlite_lib_version()}")


def look_at(vfs, flags):
    kind = "read-only" if flags == apsw.SQLITE_OPEN_READONLY else "ordinary"
    path = f"{sys.argv[1]}/{vfs}-{kind}.db"
    application = subprocess.Popen(
        [sys.executable, f"{sys.argv[1]}/application.py", path, vfs],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    application.stdout.readline()
    before = os.path.exists(f"{path}-journal")
    connection = apsw.Connection(path, flags=flags)
    try:
        said = f"reads {connection.execute('SELECT count(*) FROM note').fetchone()[0]} row(s)"
    except apsw.Error as error:
        said = f"is told {error!s}"
    connection.close()
    after = os.path.exists(f"{path}-journal")
    told = application.communicate("go on\n")[0].strip()
    print(f"{vfs}: {kind} connection {said}; journal there before: {before}, after: {after}; {told}")
    return before, after, "went through" in told


found = {
    (vfs, flags): look_at(vfs, flags)
    for vfs in ("unix", "unix-dotfile", "unix-none")
    for flags in (apsw.SQLITE_OPEN_READWRITE, apsw.SQLITE_OPEN_READONLY)
}
for (vfs, flags), seen in found.items():
    harmed = vfs != "unix" and flags == apsw.SQLITE_OPEN_READWRITE
    if seen != ((True, False, False) if harmed else (True, True, True)):
        sys.exit(f"not as the head says: {vfs} gave {seen}")
PYTHON
