#!/usr/bin/env bash
# auto_vacuum is kept in a database's header, and one would expect that a mode set by hand stays. Each
# opening of a diskcache.Cache sets it to 1 (FULL) again: a cache.db that was turned to INCREMENTAL is
# FULL as soon as the application starts. From then on each commit moves pages and cuts the file, and
# incremental_vacuum has nothing left to do. Maintenance that turns such a file has to do so for ever,
# or ask the application to pass sqlite_auto_vacuum=2, which diskcache remembers in its Settings table.
# Seen with diskcache 5.6.3, apsw 3.54.1.0 (SQLite 3.54.1).
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check diskcache==5.6.3 apsw==3.54.1.0

timeout 60 "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import apsw
import diskcache

NAMES = {0: "NONE", 1: "FULL", 2: "INCREMENTAL"}
home = f"{sys.argv[1]}/cache"
seen = []
print(f"diskcache {diskcache.__version__}, SQLite {apsw.sqlite_lib_version()}")


def tell(moment):
    connection = apsw.Connection(f"{home}/cache.db")
    seen.append(connection.pragma("auto_vacuum"))
    connection.close()
    print(f"{moment}: auto_vacuum = {seen[-1]} ({NAMES[seen[-1]]})")


with diskcache.Cache(home) as cache:
    cache["greeting"] = "hello"
tell("made by diskcache")

connection = apsw.Connection(f"{home}/cache.db")
connection.pragma("auto_vacuum", 2)
connection.close()
tell("set by hand")

with diskcache.Cache(home) as cache:
    assert cache["greeting"] == "hello"
tell("opened by diskcache, one value read")

with diskcache.Cache(home, sqlite_auto_vacuum=2):
    pass
tell("opened with sqlite_auto_vacuum=2")
with diskcache.Cache(home):
    pass
tell("opened as before")

if seen != [1, 2, 1, 2, 2]:
    sys.exit("not as the head says: the mode set by hand stayed, or the option did not")
PYTHON
