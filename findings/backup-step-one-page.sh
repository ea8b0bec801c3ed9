#!/usr/bin/env bash
# The backup API is used in steps: step(1) takes the write lock of the target, a look at things while
# nobody can write, then the rest, or finish() to leave the target as it was. One would expect finish()
# to be what decides. The step that copies the last page commits: on a source of one page (a new
# database that has a user_version and no table) step(1) has already replaced the target, and finish()
# takes nothing back. step(0) is what takes the lock and copies nothing, whatever the size. Whoever puts
# a database in place of another should begin with step(0).
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


def connect(name):
    return apsw.Connection(f"{sys.argv[1]}/{name}")


def can_write(connection):
    try:
        connection.execute("BEGIN IMMEDIATE; ROLLBACK")
    except apsw.BusyError:
        return False
    return True


def given_up_after(pages, tables):
    """Who may write after one step, and what the target holds once it is given up."""
    label = f"{tables}-{pages}"
    source, target, other = connect(f"source-{label}"), connect(f"target-{label}"), None
    source.pragma("user_version", 7)
    for number in range(tables):
        source.execute(f"CREATE TABLE new{number} (body)")
    target.execute("CREATE TABLE old (body); INSERT INTO old VALUES ('dear')")
    other = connect(f"target-{label}")
    backup = target.backup("main", source, "main")
    backup.step(pages)
    locked = not can_write(other)
    backup.finish()
    kept = [name for (name,) in other.execute("SELECT name FROM sqlite_schema")]
    print(
        f"source of {source.pragma('page_count')} page(s), step({pages}):"
        f" others {'are kept out' if locked else 'may write'},"
        f" after finish() the target's tables are {kept}"
    )
    return locked, kept


found = [given_up_after(1, 3), given_up_after(1, 0), given_up_after(0, 0)]
if found != [(True, ["old"]), (False, []), (True, ["old"])]:
    sys.exit("not as the head says: a step that copies the only page can be taken back")
PYTHON
